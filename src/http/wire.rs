//! A connection's socket with the deadlines that hyper does not have: for the first bytes, for the head of each request, and
//! for HTTP/2 connections that do nothing. (hyper's own header deadline serves as the idle time of HTTP/1: it runs
//! between requests too, and it does not run before the protocol is known.)

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::read_room::{ReadRoom, Share};

/// How an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What goes on on one connection; the service tells, the socket looks.
pub struct Activity {
    /// Requests whose answer is not out yet. An upgraded connection counts as one for good.
    in_flight: AtomicUsize,
    /// Requests that have begun, ever.
    begun: AtomicU64,
    last_end: Mutex<Instant>,
}

impl Activity {
    pub fn new() -> Arc<Self> {
        let last_end = Mutex::new(Instant::now());
        Arc::new(Self { in_flight: AtomicUsize::new(0), begun: AtomicU64::new(0), last_end })
    }

    /// A request's head is complete; drop the guard when its answer is out.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

pub struct InFlight(Arc<Activity>);

impl InFlight {
    /// The connection is no longer HTTP: its deadlines end.
    pub fn upgraded(self) {
        // One more than will ever be taken away.
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.last_end.lock() = Instant::now();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Protocol {
    /// This many bytes of the preface have come.
    Unknown(usize),
    Http1,
    Http2,
}

pub struct Wire {
    /// Limited to what the next read may bring.
    socket: Take<TcpStream>,
    share: Share,
    activity: Arc<Activity>,
    protocol: Protocol,
    /// The head that is being read: after how many requests it began, and until when it must be complete.
    head: Option<(u64, Instant)>,
    head_deadline: Duration,
    idle_deadline: Duration,
    timer: Pin<Box<Sleep>>,
    /// The connection counts until its socket closes, upgraded or not.
    _permit: OwnedSemaphorePermit,
}

impl Wire {
    pub fn new(
        socket: TcpStream,
        activity: Arc<Activity>,
        room: Arc<ReadRoom>,
        head_deadline: Duration,
        idle_deadline: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let first = Instant::now() + head_deadline;
        Self {
            socket: socket.take(0),
            share: Share::new(room),
            activity,
            protocol: Protocol::Unknown(0),
            head: Some((0, first)),
            head_deadline,
            idle_deadline,
            timer: Box::pin(tokio::time::sleep_until(first)),
            _permit: permit,
        }
    }

    fn saw(&mut self, bytes: &[u8]) {
        if let Protocol::Unknown(matched) = self.protocol {
            self.protocol = recognise(matched, bytes);
        }
        let begun = self.activity.begun.load(Ordering::Relaxed);
        let is_new_head = self.head.is_none_or(|(after, _)| after != begun);
        if !bytes.is_empty() && is_new_head && self.activity.in_flight.load(Ordering::Relaxed) == 0 {
            self.head = Some((begun, Instant::now() + self.head_deadline));
            self.share.give_back();
        }
    }

    /// Until when something must come.
    fn deadline(&self) -> Option<Instant> {
        if self.activity.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        match (&self.protocol, self.head) {
            (Protocol::Http2, _) => Some(*self.activity.last_end.lock() + self.idle_deadline),
            (_, Some((after, deadline))) if after == self.activity.begun.load(Ordering::Relaxed) => Some(deadline),
            _ => None,
        }
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(deadline) = self.deadline() else { return Poll::Pending };
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        std::task::ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not send a request in time")))
    }
}

fn recognise(matched: usize, bytes: &[u8]) -> Protocol {
    let expected = &PREFACE[matched..];
    let length = bytes.len().min(expected.len());
    if bytes[..length] != expected[..length] {
        Protocol::Http1
    } else if length == expected.len() {
        Protocol::Http2
    } else {
        Protocol::Unknown(matched + length)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        this.socket.set_limit(this.share.next_read() as u64);
        match Pin::new(&mut this.socket).poll_read(context, buffer) {
            Poll::Pending => this.poll_deadline(context),
            ready => {
                let read = &buffer.filled()[before..];
                this.share.record(read.len());
                this.saw(read);
                ready
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.socket.get_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.socket.get_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket.get_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_recognised_in_any_pieces() {
        for cut in 1..PREFACE.len() {
            let Protocol::Unknown(matched) = recognise(0, &PREFACE[..cut]) else { panic!("decided too early") };
            assert!(matches!(recognise(matched, &PREFACE[cut..]), Protocol::Http2));
            assert!(matches!(recognise(matched, b"x"), Protocol::Http1));
        }
        assert!(matches!(recognise(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"), Protocol::Http2));
        assert!(matches!(recognise(0, b"POST / HTTP/1.1"), Protocol::Http1));
        assert!(matches!(recognise(0, b""), Protocol::Unknown(0)));
    }
}
