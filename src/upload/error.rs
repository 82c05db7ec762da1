//! Why a request about an upload is refused. The domain knows no HTTP: each dialect gives these their status and shape.

use super::ledger::Incomplete;
use super::port::Issue;
use crate::collection::Collection;
use crate::fault::Fault;
use crate::files::port::{Denial, in_words};
use crate::name::NameError;

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A field that is missing or says what cannot be.
    #[error("{field}: {message}")]
    Field { field: &'static str, message: String },
    /// More bytes than the collection takes.
    #[error("a file may have at most {limit} bytes here")]
    TooLarge { limit: u64 },
    #[error("there is no such upload")]
    Unknown,
    /// What was asked contradicts the upload's state, or what was said of it before.
    #[error("{0}")]
    Conflict(String),
    /// Not all parts are there, or not as long as announced; the upload stays open.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// An admission hook said no.
    #[error("{}", .0.reason)]
    Denied(Denial),
    /// A validation said no.
    #[error("the file was refused: {}", in_words(.0))]
    Rejected(Vec<Issue>),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A name that is none for this collection.
pub(super) fn check_extension(collection: &Collection, file_name: &str) -> Result<(), UploadError> {
    match &collection.extension {
        Some(extension) if !collection.takes(file_name) => {
            Err(UploadError::Field { field: "file name", message: format!("it must end in `.{extension}`") })
        }
        _ => Ok(()),
    }
}

/// Why no more bytes are taken.
pub(super) fn sealed() -> UploadError {
    UploadError::Conflict("the upload is complete or ended and takes no more bytes".to_owned())
}
