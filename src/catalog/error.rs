//! What SQLite's errors mean to the gateway: a [`Fault`] for a call, an [`OpenError`] for a catalog that cannot be opened.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ffi;

use crate::fault::{Fault, FaultKind};

/// Why the catalog cannot be opened. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot write to the catalog's folder `{}`", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("the catalog `{}` is held by another gateway; each needs a data folder of its own", path.display())]
    HeldByAnother { path: PathBuf },
    #[error(
        "the catalog `{}` was written by a newer gateway (schema {found}, this one knows {known}); start that one",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("`{}` is a database, but not a catalog; nothing in it was changed", path.display())]
    Foreign { path: PathBuf },
    #[error("the catalog `{}` is damaged; nothing in it was changed", path.display())]
    Damaged { path: PathBuf, source: rusqlite::Error },
    #[error("no room is left for the catalog `{}`", path.display())]
    Full { path: PathBuf, source: rusqlite::Error },
    #[error("cannot keep a write-ahead log for the catalog `{}`: it must lie on a local disk", path.display())]
    NoWriteAheadLog { path: PathBuf },
    #[error("cannot open the catalog `{}`", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("cannot bring the catalog `{}` up to date", path.display())]
    Migration { path: PathBuf, source: rusqlite_migration::Error },
    #[error("cannot start the catalog's threads")]
    Thread { source: io::Error },
}

impl OpenError {
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path, source },
            _ if kind(&source) == FaultKind::Full => Self::Full { path, source },
            _ => Self::Sqlite { path, source },
        }
    }

    pub(super) fn from_migration(path: &Path, source: rusqlite_migration::Error) -> Self {
        match source {
            rusqlite_migration::Error::RusqliteError { err, .. } => Self::from_sqlite(path, err),
            source => Self::Migration { path: path.to_owned(), source },
        }
    }
}

/// The way in which SQLite failed.
pub(super) fn kind(error: &rusqlite::Error) -> FaultKind {
    use rusqlite::ErrorCode;
    let Some(failure) = error.sqlite_error() else { return FaultKind::Broken };
    match failure.code {
        ErrorCode::DiskFull => FaultKind::Full,
        // The index of the write-ahead log could not grow.
        ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => FaultKind::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => FaultKind::Unavailable,
        _ => FaultKind::Broken,
    }
}

pub(super) fn fault(operation: &'static str, error: rusqlite::Error) -> Fault {
    fault_of(operation, kind(&error), error)
}

pub(super) fn fault_of(
    operation: &'static str,
    kind: FaultKind,
    source: impl Into<Box<dyn StdError + Send + Sync>>,
) -> Fault {
    Fault { kind, operation: operation.to_owned(), source: Some(source.into()) }
}
