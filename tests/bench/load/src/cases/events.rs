//! One event to many sockets: from sending the upload that causes it until the last of them has heard, and what a socket costs.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::arena::{Arena, Place};
use crate::http::{Connection, find};
use crate::measure::median;
use crate::report::{Report, Row, Target, mebibytes};
use crate::{Options, Result, documents, form};

const TARGETS: [(usize, f64); 2] = [(2_000, 40.0), (10_000, 150.0)];
const KIB_A_SOCKET: f64 = 8.0;
/// Sockets that are opened at the same time.
const AT_ONCE: usize = 50;
/// An address has about 28,000 ports, and those of the last run are not free yet.
const ADDRESSES: u8 = 8;
const PATIENCE: Duration = Duration::from_secs(20);

/// What the listeners have heard.
#[derive(Default)]
struct Heard {
    open: Cell<usize>,
    told: Cell<usize>,
    /// Rung by the last one.
    all: Notify,
    goal: Cell<usize>,
}

impl Heard {
    fn expect(&self, goal: usize) {
        self.told.set(0);
        self.goal.set(goal);
    }

    fn count(&self) {
        self.told.set(self.told.get() + 1);
        if self.told.get() == self.goal.get() {
            self.all.notify_one();
        }
    }
}

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    for (sockets, target) in TARGETS {
        LocalSet::new().run_until(measure(options, report, sockets, target)).await?;
    }
    Ok(())
}

async fn measure(options: &Options, report: &mut Report, sockets: usize, target: f64) -> Result<()> {
    let arena = Arena::start(options, Place::Tmpfs, &[])?;
    let server = &arena.gateway;
    // What the first upload allocates is not the sockets'.
    upload(server.address, "warm-up.json").await?;
    let before = server.processes.memory();
    let heard = Rc::new(Heard::default());
    heard.expect(sockets);
    open_all(server.address, sockets, &heard).await?;
    let each = (server.processes.memory() as f64 - before as f64) / sockets as f64;
    let (mut waits, mut cpus) = (Vec::new(), Vec::new());
    let mut connection = Connection::open(server.address).await?;
    for round in 0..=options.rounds {
        heard.expect(sockets);
        let document = documents::accounts(1_000);
        let request = form::file("Acme", &format!("comptes_{round}.json"), document.len()).whole(&document);
        let cpu = server.processes.cpu();
        let begun = Instant::now();
        let uploaded = async { connection.exchange(&[&request]).await?.expect_success().map(drop) };
        let told = async {
            tokio::time::timeout(PATIENCE, heard.all.notified()).await?;
            Result::Ok(begun.elapsed())
        };
        let ((), told) = tokio::try_join!(uploaded, told)?;
        if round > 0 {
            waits.push(told.as_secs_f64() * 1e3);
            cpus.push(server.processes.cpu() - cpu);
        }
    }
    let longest = waits.iter().copied().fold(0.0, f64::max);
    let after = server.processes.memory();
    report.add(Row {
        work: format!("one event to {sockets} sockets, to the last"),
        target: Target::Under(target, "ms"),
        measured: median(waits.into_iter()),
        cpu: format!("{:.0} ms an event", median(cpus.into_iter()) * 1e3),
        memory: mebibytes(after),
        detail: format!("longest {longest:.1} ms"),
    });
    report.add(Row {
        work: format!("memory of {sockets} sockets, each"),
        target: Target::Under(KIB_A_SOCKET, "KiB"),
        measured: each,
        cpu: String::new(),
        memory: mebibytes(after),
        detail: format!("{:.1} KiB after {} events", (after as f64 - before as f64) / sockets as f64, options.rounds),
    });
    Ok(())
}

async fn upload(address: SocketAddr, name: &str) -> Result<()> {
    let document = documents::accounts(1_000);
    let request = form::file("Acme", name, document.len()).whole(&document);
    Connection::open(address).await?.exchange(&[&request]).await?.expect_success().map(drop)
}

/// Opens the sockets, each of which then listens on a task of its own, and waits until all were greeted.
async fn open_all(address: SocketAddr, sockets: usize, heard: &Rc<Heard>) -> Result<()> {
    let next = Rc::new(Cell::new(0));
    let mut openers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, heard) = (next.clone(), heard.clone());
        openers.spawn_local(async move {
            while next.get() < sockets {
                let number = next.replace(next.get() + 1);
                let listener = Listener::open(address, number).await?;
                heard.open.set(heard.open.get() + 1);
                tokio::task::spawn_local(listener.listen(heard.clone()));
            }
            Result::Ok(())
        });
    }
    while let Some(opened) = openers.join_next().await {
        opened??;
    }
    if heard.open.get() == sockets { Ok(()) } else { Err("not all sockets were opened".into()) }
}

/// One socket's client. It holds as little as it can: ten thousand of them share two cores with the server.
struct Listener {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Listener {
    /// Upgrades, and reads the greeting.
    async fn open(address: SocketAddr, number: usize) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let host = 2 + (number % usize::from(ADDRESSES)) as u8;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)))?;
        let stream = socket.connect(address).await?;
        let mut listener = Self { stream, buffer: Vec::with_capacity(1024) };
        let request = b"GET /api/files/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        listener.stream.write_all(request).await?;
        let head = loop {
            if let Some(end) = find(&listener.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            listener.read().await?;
        };
        if !listener.buffer.starts_with(b"HTTP/1.1 101 ") {
            return Err(format!("no WebSocket: {}", String::from_utf8_lossy(&listener.buffer)).into());
        }
        listener.buffer.drain(..head);
        let greeting = listener.message().await?;
        if find(&greeting, b"\"connection\"").is_none() { Err("no greeting".into()) } else { Ok(listener) }
    }

    async fn listen(mut self, heard: Rc<Heard>) {
        while let Ok(message) = self.message().await {
            if find(&message, b"\"file_uploaded\"").is_some() {
                heard.count();
            }
        }
    }

    /// The content of the next frame, which a server sends unmasked and we get whole.
    async fn message(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some((start, end)) = frame(&self.buffer) {
                let content = self.buffer[start..end].to_vec();
                self.buffer.drain(..end);
                return Ok(content);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        self.buffer.reserve(256);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err("the socket was closed".into()),
            _ => Ok(()),
        }
    }
}

/// Where the first frame's content lies, if it is all there.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127.. => return None,
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + length).then_some((start, start + length))
}
