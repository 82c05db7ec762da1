//! A receiver in a few lines, that can also misbehave in ways that no HTTP library would.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tidegate_plugin_sdk::Build;
use tidegate_plugin_webhook::{Config, Webhook};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What came, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub first_line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Request {
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

pub struct Receiver {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Gives each connection to `serve`.
    pub async fn with<F>(address: &str, serve: impl Fn(TcpStream, Seen) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, connections) = (Arc::default(), Arc::<Mutex<usize>>::default());
        let (seen, count) = (Seen(Arc::clone(&requests)), connections.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                tokio::spawn(serve(stream, seen.clone()));
            }
        });
        Self { port, requests, connections, task }
    }

    /// Answers each request with the bytes of `answer`, and keeps the connection.
    pub async fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::with("127.0.0.1:0", move |mut stream, seen| {
            let answer = answer.clone();
            async move {
                while seen.read(&mut stream).await.is_some() && stream.write_all(answer.as_bytes()).await.is_ok() {}
            }
        })
        .await
    }

    /// Answers with a status, further header lines, and a body.
    pub async fn saying(status: &str, headers: &str, body: &str) -> Self {
        Self::answering(answer(status, headers, body)).await
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?token=hunter2", self.port)
    }

    /// The instance that asks this receiver, with further options as TOML.
    pub fn asked_with(&self, options: &str) -> Webhook {
        webhook(&self.url(), &format!("allow_networks = ['127.0.0.0/8', '::1/128']\n{options}"))
    }

    pub fn asked(&self) -> Webhook {
        self.asked_with("")
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn request(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where requests are noted.
#[derive(Clone)]
pub struct Seen(Arc<Mutex<Vec<Request>>>);

impl Seen {
    /// The next request of a connection; `None` at its end.
    pub async fn read(&self, stream: &mut TcpStream) -> Option<()> {
        let mut read = Vec::new();
        let head = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let text = String::from_utf8(read[..head].to_vec()).unwrap();
        let mut lines = text.lines();
        let first_line = lines.next().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            headers.append(name.parse::<HeaderName>().unwrap(), value.trim().parse::<HeaderValue>().unwrap());
        }
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        while read.len() < head + length {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        assert_eq!(read.len(), head + length, "more than one request at once");
        self.0.lock().unwrap().push(Request { first_line, headers, body: read.split_off(head) });
        Some(())
    }
}

pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

pub fn webhook(url: &str, options: &str) -> Webhook {
    let config = Config { url: Some(url.to_owned()), ..toml::from_str(options).unwrap() };
    assert_eq!(Webhook::check(&config, Path::new(".")), []);
    Webhook::build(config, Path::new(".")).unwrap()
}

/// Fails where something takes so long that nothing bounds it.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.expect("it takes too long")
}
