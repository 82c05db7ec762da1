//! The accept loop: as many connections as are allowed, each with its deadlines, until the gateway is told to stop; then
//! what is under way may end.
//!
//! poem's own server sets neither buffer size nor header deadline nor TCP_NODELAY, and knows no limit.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use poem::Addr;
use poem::http::uri::Scheme;
use poem::http::{self, StatusCode};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::again::Again;
use super::app::Site;
use super::config::Deadlines;
use super::incoming::watch_body;
use super::listen::Listeners;
use super::log::{AccessLine, until_sent};
use super::read_room::{self, ReadRoom};
use super::request_id::{self, RequestId};
use super::wire::{Activity, Wire};

/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the end of the time for draining, and were cut.
    pub cut: usize,
}

/// Serves until `stop`, then lets requests under way end within the drain deadline. WebSockets must watch `stop` themselves:
/// their connections are waited for like all others.
pub async fn serve(listeners: Listeners, site: Arc<Site>, max_connections: u32, stop: CancellationToken) -> Drained {
    let permits = Arc::new(Semaphore::new(max_connections as usize));
    let connections =
        Connections { site, room: Arc::default(), graceful: GracefulShutdown::new(), cut: CancellationToken::new() };
    tokio::select! {
        () = accept_all(&listeners, &connections, &permits) => {}
        () = stop.cancelled() => {}
    }
    drop(listeners);
    let limit = *connections.site.current().deadlines.drain;
    let all_gone = async {
        connections.graceful.shutdown().await;
        // The graceful part does not know upgraded connections; the permits do.
        let _ = permits.acquire_many(max_connections).await;
    };
    // A future of its own statement: what it took of the permits is back before they are counted.
    let in_time = tokio::time::timeout(limit, all_gone).await.is_ok();
    let cut = if in_time { 0 } else { max_connections as usize - permits.available_permits() };
    connections.cut.cancel();
    Drained { cut }
}

struct Connections {
    site: Arc<Site>,
    room: Arc<ReadRoom>,
    graceful: GracefulShutdown,
    /// The end of all patience.
    cut: CancellationToken,
}

async fn accept_all(listeners: &Listeners, connections: &Connections, permits: &Arc<Semaphore>) {
    let mut turn = 0;
    loop {
        // At the limit nothing is accepted: the kernel's queue waits.
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
        match accept(listeners, &mut turn).await {
            Ok((socket, remote)) => connections.begin(socket, remote, permit),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted for now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection of any listener; they take turns, so that a busy one cannot starve the others.
async fn accept(listeners: &Listeners, turn: &mut usize) -> io::Result<(TcpStream, SocketAddr)> {
    let sockets = &listeners.sockets;
    if sockets.is_empty() {
        return std::future::pending().await;
    }
    std::future::poll_fn(|context| {
        for _ in 0..sockets.len() {
            *turn = (*turn + 1) % sockets.len();
            if let Poll::Ready(accepted) = sockets[*turn].poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// The client went away between its first packet and our accept.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl Connections {
    fn begin(&self, socket: TcpStream, remote: SocketAddr, permit: OwnedSemaphorePermit) {
        // Without it small answers wait for the client's delayed acknowledgements.
        let _ = socket.set_nodelay(true);
        let local = socket.local_addr().unwrap_or(remote);
        let deadlines = self.site.current().deadlines.clone();
        let activity = Activity::new();
        let room = Arc::clone(&self.room);
        let wire =
            Wire::new(socket, Arc::clone(&activity), room, *deadlines.headers, *deadlines.idle_connection, permit);
        let connection = Arc::new(Connection { site: Arc::clone(&self.site), activity, local, remote });
        let service = hyper::service::service_fn(move |request| {
            let connection = Arc::clone(&connection);
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        });
        let served = builder(&deadlines).serve_connection_with_upgrades(TokioIo::new(wire), service).into_owned();
        let served = self.graceful.watch(served);
        let cut = self.cut.clone();
        tokio::spawn(Again::new(async move {
            tokio::select! {
                ended = served => if let Err(error) = ended {
                    tracing::debug!(%remote, error = %error, "a connection broke");
                },
                () = cut.cancelled() => {}
            }
        }));
    }
}

fn builder(deadlines: &Deadlines) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // It runs between requests as well, so it is the idle time; heads have the wire's deadline.
        .header_read_timeout(*deadlines.idle_connection)
        .max_buf_size(read_room::MOST)
        // A client that has sent all may close its side; its handler must not be dropped for that.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(128)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}

struct Connection {
    site: Arc<Site>,
    activity: Arc<Activity>,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Connection {
    async fn answer(&self, request: http::Request<Incoming>) -> http::Response<BoxBody<Bytes, io::Error>> {
        let in_flight = self.activity.begin();
        let app = self.site.current();
        let local = LocalAddr(Addr::SocketAddr(self.local));
        let remote = RemoteAddr(Addr::SocketAddr(self.remote));
        let mut request = poem::Request::from((request, local, remote, Scheme::HTTP));
        let id = RequestId::of(request.headers());
        let body = watch_body(&mut request, *app.deadlines.idle_body);
        let mut line = AccessLine {
            id: id.clone(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            remote: self.remote,
            started: Instant::now(),
            status: None,
            body: body.clone(),
            bytes_out: 0,
        };
        let span = tracing::info_span!("request", id = id.as_str());
        let mut response = app.respond(request, &id, body.as_deref()).instrument(span).await;
        response.headers_mut().insert(request_id::HEADER, id.header_value());
        line.status = Some(response.status());
        let (head, body) = http::Response::<BoxBody<Bytes, io::Error>>::from(response).into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            in_flight.upgraded();
            return http::Response::from_parts(head, body);
        }
        http::Response::from_parts(head, until_sent(line, in_flight, body))
    }
}
