//! The body of a request on its way in: a deadline for the next byte (never for the whole), a count for the log, and
//! what is left of it when the handler has answered early.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use poem::Request;
use poem::http::header;
use tokio::time::{Instant, Sleep};

/// What is read of a body that nobody wants any more. Many clients write everything before they read: without this they
/// would see a broken connection in the place of the refusal.
const DRAIN_BYTES: usize = 32 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What is known of a body from outside.
#[derive(Default)]
pub struct BodyWatch {
    bytes: AtomicU64,
    stalled: AtomicBool,
}

impl BodyWatch {
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The client sent nothing for longer than the deadline.
    pub fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }
}

/// Puts the deadline on a request's body; `None` if it has none.
pub fn watch_body(request: &mut Request, idle: Duration) -> Option<Arc<BodyWatch>> {
    let inner = BoxBody::from(request.take_body());
    if inner.is_end_stream() {
        return None;
    }
    let watch = Arc::new(BodyWatch::default());
    let body = WatchedBody {
        inner: Some(inner),
        watch: Arc::clone(&watch),
        idle,
        waiting_since: None,
        timer: None,
        // Polling the body is what makes hyper send the 100.
        may_drain: !request.headers().contains_key(header::EXPECT),
    };
    request.set_body(BoxBody::new(body));
    Some(watch)
}

struct WatchedBody {
    /// `None` once it has ended, well or not.
    inner: Option<BoxBody<Bytes, io::Error>>,
    watch: Arc<BodyWatch>,
    idle: Duration,
    /// Since when the reader has been waiting. A body that nobody reads does not age.
    waiting_since: Option<Instant>,
    /// Moved only when it fires: it may be early, never late.
    timer: Option<Pin<Box<Sleep>>>,
    may_drain: bool,
}

impl WatchedBody {
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                self.watch.stalled.store(true, Ordering::Relaxed);
                self.inner = None;
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped sending"))));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        this.may_drain = true;
        match Pin::new(inner).poll_frame(context) {
            Poll::Pending => this.poll_idle(context),
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting_since = None;
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.watch.bytes.fetch_add(length as u64, Ordering::Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            ended => {
                this.inner = None;
                ended
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        let Some(rest) = self.inner.take() else { return };
        if !self.may_drain || rest.is_end_stream() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DRAIN_TIME, drain(rest)));
        }
    }
}

async fn drain(mut body: BoxBody<Bytes, io::Error>) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > DRAIN_BYTES {
            return;
        }
    }
}
