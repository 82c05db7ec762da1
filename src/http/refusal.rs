//! A request that is refused, before anybody decided how that looks on the wire. Extractors, the guard and the
//! handlers make one; [`crate::http::errors`] renders it in the shape of the dialect that was spoken to.

use poem::error::ResponseError;
use poem::http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::fault::{Fault, FaultKind};

/// What the client is told, and beside it what only the log is told.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub status: StatusCode,
    /// For the client. With a status of 500 it is not shown: there it is the log's.
    pub message: String,
    /// Beside the message in the answer's JSON, as the relay's `issues` or the chunk upload's `missing`.
    pub members: Map<String, Value>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log alone.
    pub cause: Option<String>,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), members: Map::new(), headers: Vec::new(), cause: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn too_large(what: &str, limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{what} is larger than {limit} bytes"))
    }

    /// A failure of ours whose text is for the log alone.
    pub fn internal(cause: impl Into<String>) -> Self {
        let mut refusal = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
        refusal.cause = Some(cause.into());
        refusal
    }

    #[must_use]
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl ResponseError for Refusal {
    fn status(&self) -> StatusCode {
        self.status
    }
}

/// The status that tells a client what an adapter's failure means for it.
pub fn fault_status(kind: FaultKind) -> StatusCode {
    match kind {
        FaultKind::Full => StatusCode::INSUFFICIENT_STORAGE,
        FaultKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        FaultKind::Obstructed => StatusCode::CONFLICT,
        FaultKind::Mismatch | FaultKind::Broken => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<&Fault> for Refusal {
    fn from(fault: &Fault) -> Self {
        let message = match fault.kind {
            FaultKind::Full => "there is no room left to store this; try again later",
            FaultKind::Unavailable => "not available at this moment; try again later",
            FaultKind::Obstructed => "something that is no file of this gateway stands in the file's place",
            FaultKind::Mismatch | FaultKind::Broken => "internal error",
        };
        let mut refusal = Self::new(fault_status(fault.kind), message);
        refusal.cause = Some(fault.to_string());
        refusal
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::from(&fault)
    }
}
