//! A body for the append-only file: received whole first, so that it is appended whole or not at all.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Uploads;
use super::error::UploadError;
use super::port::SpoolFile;
use crate::collection::Collection;
use crate::digest::Crc;
use crate::files::Appended;
use crate::files::port::{AppendSource, Staged};

/// Up to here a body stays in memory.
const SMALL: usize = 256 * 1024;

/// A body that is being received. Dropping it leaves no trace.
pub struct AppendIntake {
    uploads: Uploads,
    collection: Arc<Collection>,
    held: BytesMut,
    file: Option<Arc<dyn SpoolFile>>,
    crc: Crc,
    length: u64,
}

/// What came of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// Bytes that were appended.
    Appended { size: u64 },
    /// The body was empty; nothing was done.
    Empty,
}

impl Uploads {
    pub fn append(&self, collection: &Arc<Collection>) -> AppendIntake {
        AppendIntake {
            uploads: self.clone(),
            collection: collection.clone(),
            held: BytesMut::new(),
            file: None,
            crc: Crc::default(),
            length: 0,
        }
    }
}

impl AppendIntake {
    /// Takes the next bytes.
    pub async fn write(&mut self, data: Bytes) -> Result<(), UploadError> {
        let end = self.length + data.len() as u64;
        if end > self.collection.max_file_size {
            return Err(UploadError::TooLarge { limit: self.collection.max_file_size });
        }
        if self.file.is_none() && self.held.len() + data.len() > SMALL {
            let file = self.uploads.core.staging.create_whole().await?;
            let held = self.held.split().freeze();
            self.crc.update(&held);
            file.clone().write_at(0, held, Arc::new(())).await?;
            self.file = Some(file);
        }
        match &self.file {
            Some(file) => {
                self.crc.update(&data);
                file.clone().write_at(self.length, data, Arc::new(())).await?;
            }
            None => self.held.extend_from_slice(&data),
        }
        self.length = end;
        Ok(())
    }

    /// All bytes have come: appends them.
    pub async fn finish(self) -> Result<AppendOutcome, UploadError> {
        if self.length == 0 {
            return Ok(AppendOutcome::Empty);
        }
        let source = match &self.file {
            Some(file) => AppendSource::Staged(Staged {
                path: file.path(),
                file: file.file(),
                size: self.length,
                crc: self.crc.finish(),
                sha256: None,
            }),
            None => AppendSource::Memory(self.held.freeze()),
        };
        match self.uploads.files.append(&self.collection, source).await? {
            Appended::Done { .. } => Ok(AppendOutcome::Appended { size: self.length }),
            Appended::TooLarge { limit } => Err(UploadError::TooLarge { limit }),
        }
    }
}
