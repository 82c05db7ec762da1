//! The relay's WebSocket over real connections, against a log in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use parking_lot::Mutex;
use poem::listener::TcpAcceptor;
use poem::web::websocket::WebSocket;
use poem::web::{Data, Query};
use poem::{EndpointExt, IntoResponse, Route, Server, handler};
use serde_json::{Value, json};
use tidegate::events::{Event, EventKind, EventLog, Events, Filter, LogBounds, NewEvent, Position};
use tidegate::fault::Fault;
use tidegate::http::api::relay::socket::{Patience, Sockets, Terms, upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

struct MemoryLog {
    events: Mutex<Vec<Event>>,
    head: watch::Sender<Position>,
}

impl MemoryLog {
    fn append(&self, collection: &str, file_name: &str) -> Position {
        let mut events = self.events.lock();
        let position = events.len() as Position + 1;
        let event = NewEvent {
            kind: EventKind::FileUploaded,
            collection: collection.to_owned(),
            tenant: "Société".to_owned(),
            file_name: file_name.to_owned(),
            version: None,
            size: Some(1),
            files_count: None,
            at: Timestamp::now(),
        };
        events.push(Event { position, event });
        drop(events);
        self.head.send_replace(position);
        position
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn read_after(&self, position: Position, limit: usize) -> Result<Vec<Event>, Fault> {
        let events = self.events.lock();
        Ok(events.iter().skip(usize::try_from(position).unwrap_or(usize::MAX)).take(limit).cloned().collect())
    }

    async fn bounds(&self) -> Result<LogBounds, Fault> {
        Ok(LogBounds { head: *self.head.borrow(), ..LogBounds::default() })
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    async fn prune(&self, _before: Timestamp) -> Result<u64, Fault> {
        Ok(0)
    }
}

/// A gateway with nothing but the socket.
struct Gateway {
    log: Arc<MemoryLog>,
    terms: Terms,
    address: std::net::SocketAddr,
}

#[derive(serde::Deserialize)]
struct Ask {
    after: Option<Position>,
}

#[handler]
async fn open(
    request: WebSocket,
    Query(ask): Query<Ask>,
    events: Data<&Arc<Events>>,
    terms: Data<&Terms>,
) -> poem::Result<impl IntoResponse> {
    let filter = Filter::collection(&*terms.collection);
    let subscription = events.subscribe(ask.after, filter).await.map_err(poem::error::InternalServerError)?;
    Ok(upgrade(request, subscription, terms.clone()))
}

impl Gateway {
    async fn start(patience: Patience) -> Self {
        let log = Arc::new(MemoryLog { events: Mutex::default(), head: watch::Sender::new(0) });
        let events = Events::start(log.clone(), Duration::from_secs(3600));
        let terms = Terms {
            collection: "societes".into(),
            sockets: Arc::new(Sockets::default()),
            draining: CancellationToken::new(),
            patience,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app = Route::new().at("/ws", open.data(events).data(terms.clone()));
        let acceptor = TcpAcceptor::from_tokio(listener).expect("an acceptor");
        tokio::spawn(Server::new_with_acceptor(acceptor).run(app));
        Self { log, terms, address }
    }

    async fn connect(&self, after: Option<Position>) -> Client {
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let (socket, _) = connect_async(format!("ws://{}/ws{query}", self.address)).await.expect("connects");
        Client(socket)
    }

    /// A client that speaks the handshake and then does nothing on its own.
    async fn connect_raw(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        let ask = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.expect("writes");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        stream
    }

    async fn wait_for_open(&self, count: usize) {
        let counted = async {
            while self.terms.sockets.open() != count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(20), counted).await;
        assert!(in_time.is_ok(), "{} sockets are open, not {count}", self.terms.sockets.open());
    }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn next(&mut self) -> Message {
        loop {
            let next = timeout(Duration::from_secs(20), self.0.next()).await.expect("a message comes");
            match next.expect("the socket is open").expect("the socket works") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    async fn json(&mut self) -> Value {
        let message = self.next().await;
        let text = message.to_text().expect("text");
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {message:?}"))
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("sends");
    }
}

#[tokio::test]
async fn greets_then_tells_of_its_own_collection_alone() {
    let gateway = Gateway::start(Patience::default()).await;
    gateway.log.append("societes", "before.json");
    let mut client = gateway.connect(None).await;
    let hello = client.json().await;
    assert_eq!(
        (&hello["type"], &hello["id"], &hello["collection"]),
        (&json!("connection"), &json!(1), &json!("societes"))
    );
    assert!(hello["message"].is_string() && hello["timestamp"].as_str().is_some_and(|at| at.ends_with("+00:00")));
    gateway.log.append("largefiles", "other.bin");
    gateway.log.append("societes", "été 2024.json");
    let told = client.json().await;
    assert_eq!(told["type"], "file_uploaded");
    assert_eq!((&told["societe"], &told["filename"]), (&json!("Société"), &json!("été 2024.json")));
    assert_eq!((&told["id"], &told["collection"]), (&json!(3), &json!("societes")));
}

#[tokio::test]
async fn who_comes_back_with_a_position_hears_what_was_missed_or_is_told_to_reload() {
    let gateway = Gateway::start(Patience::default()).await;
    (0..600).for_each(|number| {
        let _ = gateway.log.append("societes", &format!("{number}.json"));
    });
    let mut client = gateway.connect(Some(100)).await;
    assert_eq!(client.json().await["id"], 100);
    for position in 101..=600 {
        assert_eq!(client.json().await["id"], position);
    }
    let mut lost = gateway.connect(Some(9_999)).await;
    assert_eq!(lost.json().await["type"], "connection");
    let reload = lost.json().await;
    assert_eq!((&reload["type"], &reload["id"]), (&json!("reload"), &json!(600)));
    gateway.log.append("societes", "new.json");
    assert_eq!(lost.json().await["id"], 601);
}

#[tokio::test]
async fn what_clients_say_is_ignored_unless_it_is_a_command() {
    let gateway = Gateway::start(Patience::default()).await;
    let mut client = gateway.connect(None).await;
    client.json().await;
    for text in ["", "hello", "{\"type\":\"subscribe\"}", "[]", "{", "\u{1f600}"] {
        client.say(text).await;
    }
    client.0.send(Message::binary(vec![0, 159])).await.expect("sends");
    client.say("{\"type\":\"ping\"}").await;
    assert_eq!(client.json().await, json!({"type": "pong"}));
    client.say(&"x".repeat(100_000)).await;
    let Message::Close(Some(close)) = client.next().await else { panic!("not closed") };
    assert_eq!(close.code, CloseCode::Policy);
    drop(client);
    gateway.wait_for_open(0).await;
}

#[tokio::test]
async fn who_does_not_answer_pings_is_gone_and_who_does_stays() {
    let patience = Patience { ping_every: Duration::from_millis(100), silence: Duration::from_millis(1_500) };
    let gateway = Gateway::start(patience).await;
    let mut silent = gateway.connect_raw().await;
    let mut client = gateway.connect(None).await;
    client.json().await;
    gateway.wait_for_open(2).await;
    let heard = tokio::spawn(async move { client.json().await });
    gateway.wait_for_open(1).await;
    sleep(patience.silence + patience.ping_every * 5).await;
    assert_eq!(gateway.terms.sockets.open(), 1);
    gateway.log.append("societes", "late.json");
    assert_eq!(heard.await.expect("no panic")["filename"], "late.json");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(5), silent.read_to_end(&mut rest)).await.expect("closed").expect("reads");
}

/// So many events of more than 300 bytes are more than the kernel takes for one who does not read.
const MORE_THAN_KERNELS_HOLD: usize = 60_000;

fn append_more_than_kernels_hold(gateway: &Gateway) {
    let name = "n".repeat(200);
    (0..MORE_THAN_KERNELS_HOLD).for_each(|_| {
        let _ = gateway.log.append("societes", &name);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_gets_everything_and_delays_nobody() {
    let gateway = Gateway::start(Patience::default()).await;
    let mut slow = gateway.connect(None).await;
    slow.json().await;
    let mut quick = gateway.connect(None).await;
    quick.json().await;
    append_more_than_kernels_hold(&gateway);
    for position in 1..=MORE_THAN_KERNELS_HOLD {
        assert_eq!(quick.json().await["id"], position);
    }
    let mut waits = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        gateway.log.append("societes", "a.json");
        quick.json().await;
        waits.push(began.elapsed());
    }
    waits.sort();
    assert!(waits[25] < Duration::from_millis(50), "{waits:?}");
    for position in 1..=MORE_THAN_KERNELS_HOLD + 50 {
        assert_eq!(slow.json().await["id"], position);
    }
}

#[tokio::test]
async fn a_draining_gateway_sends_clients_away_and_waits_for_no_stuck_one() {
    let gateway = Gateway::start(Patience::default()).await;
    let mut client = gateway.connect(None).await;
    client.json().await;
    let _stuck = gateway.connect_raw().await;
    gateway.wait_for_open(2).await;
    append_more_than_kernels_hold(&gateway);
    for position in 1..=MORE_THAN_KERNELS_HOLD {
        assert_eq!(client.json().await["id"], position);
    }
    gateway.terms.draining.cancel();
    let reconnect = client.json().await;
    assert_eq!(reconnect["type"], "reconnect");
    assert!((500..5_500).contains(&reconnect["after_ms"].as_u64().expect("a number")));
    let Message::Close(Some(close)) = client.next().await else { panic!("not closed") };
    assert_eq!(close.code, CloseCode::Restart);
    drop(client);
    gateway.wait_for_open(0).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_no_more() {
    let gateway = Gateway::start(Patience::default()).await;
    let mut polite = gateway.connect(None).await;
    let rude = gateway.connect_raw().await;
    gateway.wait_for_open(2).await;
    polite.0.close(None).await.expect("closes");
    while let Some(Ok(_)) = polite.0.next().await {}
    gateway.wait_for_open(1).await;
    drop(rude);
    gateway.wait_for_open(0).await;
}

/// How much anonymous memory this process has, in KiB.
#[cfg(target_os = "linux")]
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// A measurement, to be asked for by name: `SOCKETS=2000 cargo test --release --test it crowd -- --ignored --nocapture`.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_crowd_of_sockets_is_small_and_hears_soon() {
    let count: usize = std::env::var("SOCKETS").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000);
    let gateway = Gateway::start(Patience::default()).await;
    let before = anonymous_kib();
    let mut crowd = Vec::new();
    for _ in 0..count {
        crowd.push(gateway.connect_raw().await);
    }
    gateway.wait_for_open(count).await;
    let connected = anonymous_kib();
    // Each of the crowd tells when something has come; what it is, the other tests look at.
    let (told, mut hear) = tokio::sync::mpsc::channel(1_024);
    for mut stream in crowd {
        let told = told.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 1_024];
            while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                if told.send(()).await.is_err() {
                    return;
                }
            }
        });
    }
    // The greetings.
    for _ in 0..count {
        hear.recv().await.expect("the crowd lives");
    }
    let mut waits = Vec::new();
    for _ in 0..15 {
        sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        gateway.log.append("societes", "a.json");
        for _ in 0..count {
            hear.recv().await.expect("the crowd lives");
        }
        waits.push(began.elapsed());
    }
    waits.sort();
    let kib = connected.saturating_sub(before) as f64 / count as f64;
    println!(
        "{count} sockets: {kib:.1} KiB a pair of client and server; last after {:?} (median), {waits:?}",
        waits[7]
    );
}
