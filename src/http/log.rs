//! One line a request, written when its answer has gone out, and the count of bytes that it took.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use poem::http::{Method, StatusCode, Uri};

use super::incoming::BodyWatch;
use super::request_id::RequestId;
use super::wire::InFlight;

/// Up to here an answer of known length is taken as gone out when it is handed to the connection.
const SMALL: u64 = 64 << 10;

/// The line of one request. It is written when this is dropped: at the answer's end, or when the client went away.
pub struct AccessLine {
    pub id: RequestId,
    pub method: Method,
    pub uri: Uri,
    pub remote: SocketAddr,
    pub started: Instant,
    /// `None`: the client went away before there was an answer.
    pub status: Option<StatusCode>,
    pub body: Option<Arc<BodyWatch>>,
    pub bytes_out: u64,
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        tracing::info!(
            target: "tidegate::access",
            request_id = self.id.as_str(),
            remote = %self.remote.ip(),
            method = self.method.as_str(),
            path = self.uri.path(),
            // What nginx writes for a client that closed its connection.
            status = self.status.map_or(499, |status| status.as_u16()),
            duration_ms = self.started.elapsed().as_micros() as f64 / 1000.0,
            bytes_in = self.body.as_ref().map_or(0, |body| body.bytes()),
            bytes_out = self.bytes_out,
            "request"
        );
    }
}

/// Lets the line be written, and the connection count as idle, when the body has gone out.
pub fn until_sent(
    mut line: AccessLine,
    in_flight: InFlight,
    body: BoxBody<Bytes, io::Error>,
) -> BoxBody<Bytes, io::Error> {
    match body.size_hint().exact() {
        Some(length) if length <= SMALL => {
            line.bytes_out = length;
            body
        }
        _ => BoxBody::new(OutgoingBody { inner: body, line, _in_flight: in_flight }),
    }
}

struct OutgoingBody {
    inner: BoxBody<Bytes, io::Error>,
    line: AccessLine,
    _in_flight: InFlight,
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &polled {
            Some(Ok(frame)) => self.line.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(error)) => {
                let request_id = self.line.id.as_str();
                tracing::warn!(request_id, path = self.line.uri.path(), %error, "an answer broke off");
            }
            None => {}
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
