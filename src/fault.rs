//! What an adapter says when it could not do what a port asked (a leaf).
//!
//! Storage, catalog and staging fail in the same few ways, and the domain acts on the way alone: it never
//! looks into an `io::Error` or an SQLite code. What is wrong with the *request* is a domain error and does
//! not stand here.

use std::error::Error as StdError;
use std::fmt;

/// The way in which an adapter failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No room is left (disk, quota, memory of a memory storage). Ends by itself when somebody makes room: 507.
    Full,
    /// Not reachable, or too busy for now. A retry can help: 503.
    Unavailable,
    /// The stored thing is not what the record says (another writer, a lost object).
    Mismatch,
    /// Where a file was to go stands something else (a folder, a link) that another program put there, and it is not ours to
    /// remove: 409.
    Obstructed,
    /// Everything else: we are broken, or the operator's set-up is: 500.
    Broken,
}

/// An adapter's failure: kind, operation, and what lay under it.
#[derive(Debug)]
pub struct Fault {
    pub kind: FaultKind,
    /// What was being done, in words for a log line, as `"commit a receipt"`.
    pub operation: String,
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Fault {
    pub fn new(kind: FaultKind, operation: impl Into<String>) -> Self {
        Self { kind, operation: operation.into(), source: None }
    }

    pub fn broken(operation: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind: FaultKind::Broken, operation: operation.into(), source: Some(source.into()) }
    }

    /// From an I/O error; the kind is read off the operating system's code.
    pub fn io(operation: impl Into<String>, error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FaultKind::Full,
            _ => FaultKind::Broken,
        };
        Self { kind, operation: operation.into(), source: Some(Box::new(error)) }
    }

    /// Whether the same call can succeed later without anybody mending the set-up.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, FaultKind::Full | FaultKind::Unavailable)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "could not {}", self.operation)?;
        let mut source: Option<&(dyn StdError + 'static)> = self.source.as_ref().map(|s| &**s as _);
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Fault {}
