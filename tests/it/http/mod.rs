//! The server's side of `http` over real sockets, with a few endpoints of its own in the place of the dialects.

mod deadlines;
mod download;
mod drain;
mod guard;
mod refusals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use poem::http::Method;
use poem::web::websocket::{Message, WebSocket};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, endpoint};
use tidegate::http::api::SHAPES;
use tidegate::http::app::{App, Site};
use tidegate::http::config::{Deadlines, ServerConfig};
use tidegate::http::errors::Errors;
use tidegate::http::listen;
use tidegate::http::refusal::Refusal;
use tidegate::http::routes::Routes;
use tidegate::http::server::{self, Drained};
use tidegate::http::typed::body;
use tidegate::units::Period;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Short enough to wait for, long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(600);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    address: SocketAddr,
    site: Arc<Site>,
    /// Lets one call of `/fileupload/wait` go on.
    gate: Arc<Semaphore>,
    /// Counts the calls of `/fileupload/wait` that have begun.
    waiting: Arc<Semaphore>,
    stop: CancellationToken,
    ended: JoinHandle<Drained>,
}

fn config() -> ServerConfig {
    let long = Period::seconds(60);
    ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        deadlines: Deadlines { headers: long, idle_body: long, idle_connection: long, drain: long },
        ..ServerConfig::default()
    }
}

async fn serve(config: ServerConfig) -> Served {
    let listeners = listen::bind(&config.listen).await.unwrap();
    let address = listeners.addresses()[0];
    let (gate, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let stop = CancellationToken::new();
    let routes = routes(&gate, &waiting, &stop);
    let site = Site::new(App::new(routes.build().unwrap(), Errors(SHAPES), &config));
    let ended = tokio::spawn(server::serve(listeners, Arc::clone(&site), config.max_connections, stop.clone()));
    Served { address, site, gate, waiting, stop, ended }
}

fn routes(gate: &Arc<Semaphore>, waiting: &Arc<Semaphore>, stop: &CancellationToken) -> Routes {
    let (gate, waiting, stop) = (Arc::clone(gate), Arc::clone(waiting), stop.clone());
    Routes::new()
        .at("/fileupload/hello", Method::GET, endpoint::make_sync(|_| "hello"))
        .at("/fileupload/length", Method::POST, endpoint::make(length))
        .at(
            "/fileupload/wait",
            Method::POST,
            endpoint::make(move |request| {
                let (gate, waiting) = (Arc::clone(&gate), Arc::clone(&waiting));
                async move {
                    waiting.add_permits(1);
                    gate.acquire_owned().await.unwrap().forget();
                    length(request).await
                }
            }),
        )
        .at(
            "/api/files/refuse",
            Method::POST,
            endpoint::make_sync(|_| Err::<Response, poem::Error>(Refusal::bad_request("not like this").into())),
        )
        .at("/write_chunk", Method::GET, endpoint::make_sync(panics))
        .at("/api/files/ws", Method::GET, endpoint::make(move |request| socket(request, stop.clone())))
        .at("/file", Method::GET, download::file_endpoint())
        .at(
            "/endless",
            Method::GET,
            endpoint::make_sync(|_| {
                let piece = bytes::Bytes::from_static(&[b'x'; 64 << 10]);
                poem::Body::from_bytes_stream(futures_util::stream::repeat_with(move || {
                    Ok::<_, std::io::Error>(piece.clone())
                }))
            }),
        )
}

fn panics(_request: Request) -> &'static str {
    panic!("the secret of the handler")
}

async fn length(request: Request) -> poem::Result<String> {
    let (request, mut body) = request.split();
    Ok(body::collect(&request, &mut body, 1 << 20).await?.len().to_string())
}

/// Echoes, and says goodbye when the server is told to stop.
async fn socket(request: Request, stop: CancellationToken) -> poem::Result<Response> {
    let (request, mut body) = request.split();
    let socket = <WebSocket as poem::FromRequest>::from_request(&request, &mut body).await?;
    Ok(socket
        .on_upgrade(move |mut stream| async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    message = stream.next() => match message {
                        Some(Ok(message @ Message::Text(_))) => { let _ = stream.send(message).await; }
                        Some(Ok(_)) => {}
                        _ => return,
                    }
                }
            }
            let _ = stream.send(Message::text("goodbye")).await;
            let _ = stream.close().await;
        })
        .into_response())
}

impl Served {
    async fn connect(&self) -> Client {
        Client::to(self.address).await
    }

    /// One request on a connection of its own.
    async fn ask(&self, head: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(head, b"").await;
        client.answer(head.starts_with("HEAD ")).await
    }

    async fn stop(self) -> Drained {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the server did not end").unwrap()
    }
}

/// A client that does exactly what it is told.
pub(crate) struct Client {
    stream: TcpStream,
    ahead: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), ahead: Vec::new() }
    }

    /// `head` is the request line and headers, without `Host` and without the empty line; lines end in `\n`.
    pub(crate) async fn send(&mut self, head: &str, body: &[u8]) {
        let host = if head.to_ascii_lowercase().contains("\nhost:") { "" } else { "\r\nhost: localhost" };
        let head = format!("{}{host}\r\n\r\n", head.trim_end().replace('\n', "\r\n"));
        self.write(head.as_bytes()).await;
        self.write(body).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn answer(&mut self, is_head: bool) -> Answer {
        let end = loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(
                self.read_more().await,
                "the connection ended within a head: {:?}",
                String::from_utf8_lossy(&self.ahead)
            );
        };
        let head = String::from_utf8(self.ahead.drain(..end).collect()).unwrap();
        let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let length = if is_head { 0 } else { length };
        while self.ahead.len() < length {
            assert!(self.read_more().await, "the connection ended within a body");
        }
        answer.body = self.ahead.drain(..length).collect();
        answer
    }

    /// `false` at the end of the connection.
    async fn read_more(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("nothing came");
        let length = read.unwrap_or(0);
        self.ahead.extend_from_slice(&buffer[..length]);
        length > 0
    }

    /// Waits for the server to close; gives what came before.
    pub(crate) async fn closed(mut self) -> Vec<u8> {
        while self.read_more().await {}
        self.ahead
    }
}
