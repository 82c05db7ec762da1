//! Who the `webhook` plugin tells, well-behaved or not, on a thread of its own: what it does is not to be in what the client measures.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, oneshot};

use crate::Result;
use crate::http::find;

const GIGABYTE: usize = 1_000_000_000;

/// What it does with a question.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Says yes.
    Takes,
    NeverAnswers,
    AnswersGigabyte,
    /// To itself, which would be a loop for whoever follows.
    Redirects,
}

/// A receiver that is down: its port is taken, and connections to it are refused.
pub struct Down {
    socket: TcpSocket,
    pub address: SocketAddr,
}

impl Down {
    pub fn new() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub fn start(self, manner: Manner) -> Result<Receiver> {
        let listener = self.socket.listen(1024)?.into_std()?;
        let (stop, stopped) = oneshot::channel();
        let told = Arc::new(AtomicUsize::new(0));
        let counting = told.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let seen = Arc::new(Mutex::new(HashSet::new()));
                let accepting = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream, manner, seen.clone(), counting.clone()));
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Receiver { address: self.address, told, stop: Some(stop), thread: Some(thread) })
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    told: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub fn start(manner: Manner) -> Result<Self> {
        Down::new()?.start(manner)
    }

    /// How many different questions it has heard.
    pub fn told(&self) -> usize {
        self.told.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Ids that were heard.
type Seen = Arc<Mutex<HashSet<Vec<u8>>>>;

/// One connection, until the gateway closes it.
async fn serve(mut stream: TcpStream, manner: Manner, seen: Seen, told: Arc<AtomicUsize>) {
    let mut buffer = Vec::with_capacity(4096);
    let moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
    while let Ok(id) = question(&mut stream, &mut buffer).await {
        if seen.lock().await.insert(id) {
            told.fetch_add(1, Ordering::Relaxed);
        }
        let answered = match manner {
            Manner::Takes => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await,
            Manner::Redirects => stream.write_all(moved.as_bytes()).await,
            Manner::AnswersGigabyte => gigabyte(&mut stream).await,
            Manner::NeverAnswers => std::future::pending().await,
        };
        if answered.is_err() {
            return;
        }
    }
}

/// Reads one question and gives its id.
async fn question(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut whole = None;
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            let length: usize = header(&buffer[..end], "content-length").ok_or("no length")?.parse()?;
            whole = Some(end + 4 + length);
        }
        if let Some(whole) = whole.filter(|whole| buffer.len() >= *whole) {
            let id = header(buffer, "webhook-id").ok_or("no id")?.as_bytes().to_vec();
            buffer.drain(..whole);
            return Ok(id);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err("the gateway closed the connection".into());
        }
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(head).ok()?.split("\r\n");
    lines
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

async fn gigabyte(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIGABYTE}\r\n\r\n").as_bytes()).await?;
    let piece = vec![b' '; 64 * 1024];
    let mut left = GIGABYTE;
    while left > 0 {
        let length = left.min(piece.len());
        stream.write_all(&piece[..length]).await?;
        left -= length;
    }
    Ok(())
}
