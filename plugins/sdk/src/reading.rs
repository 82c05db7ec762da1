//! The two ways in which a plugin reads a file, with the errors that the contract asks for: a content that is cut must never pass for the
//! shorter one that it then is, as `1` of `12`.

use bytes::Bytes;

use crate::error::{ErrorKind, PluginError};
use crate::file::{ByteStream, FileHandle, next_piece};

/// The first `length` bytes, or an error; the caller chooses how much memory that takes.
pub async fn read_beginning(file: &dyn FileHandle, length: usize) -> Result<Bytes, PluginError> {
    let content = file.read_at(0, length).await.map_err(|error| cannot_read(0, error))?;
    match content.len() == length {
        true => Ok(content),
        false => Err(ends_early(content.len() as u64, file)),
    }
}

/// The whole content in pieces.
pub struct Pieces<'a> {
    file: &'a dyn FileHandle,
    stream: ByteStream<'a>,
    read: u64,
}

impl<'a> Pieces<'a> {
    pub fn of(file: &'a dyn FileHandle) -> Self {
        Self { file, stream: file.stream(), read: 0 }
    }

    /// `None` when all that was announced has come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PluginError> {
        match next_piece(&mut self.stream).await {
            Some(Ok(piece)) => {
                self.read += piece.len() as u64;
                Ok(Some(piece))
            }
            Some(Err(error)) => Err(cannot_read(self.read, error)),
            None if self.read == self.file.metadata().size => Ok(None),
            None => Err(ends_early(self.read, self.file)),
        }
    }
}

fn cannot_read(offset: u64, error: std::io::Error) -> PluginError {
    PluginError::read(format!("could not read the content at byte {offset}"), error)
}

fn ends_early(read: u64, file: &dyn FileHandle) -> PluginError {
    let size = file.metadata().size;
    PluginError::permanent(ErrorKind::Read, format!("the content ends at {read} of {size}"))
}
