//! What tests of plugins need: files that are made up, so that no gateway has to run.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use crate::admit::Announcement;
use crate::file::{ByteStream, FileHandle, Metadata};
use crate::post_assembly::Publication;

/// What a client says of a file of the collection `test` and the tenant `tenant`.
pub fn announcement(file_name: &str) -> Announcement {
    Announcement::new("question-1", "test", "tenant", file_name)
}

/// The publication of a file, at its first attempt.
pub fn publication(event_id: &str) -> Publication {
    Publication::new(event_id, "0199c3a2f5d27b3e9a4c1d2e3f405162", "2026-01-02T03:04:05.678+00:00", 1)
}

/// A file in memory, of the collection `test` and the tenant `tenant`.
#[derive(Debug, Clone)]
pub struct MemoryFile {
    metadata: Metadata,
    content: Bytes,
    /// How long the pieces of its stream are.
    piece: usize,
    /// Reading past this byte fails.
    breaks_at: Option<usize>,
    path: Option<PathBuf>,
}

impl MemoryFile {
    pub fn new(file_name: &str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let metadata = Metadata::new("test", "tenant", file_name, content.len() as u64).with_id("question-1");
        Self { metadata, content, piece: 64 * 1024, breaks_at: None, path: None }
    }

    /// With the media type that its client declared.
    #[must_use]
    pub fn declared(mut self, content_type: &str) -> Self {
        self.metadata = self.metadata.with_content_type(content_type);
        self
    }

    /// With a stream in pieces of `length` bytes.
    #[must_use]
    pub fn in_pieces_of(mut self, length: usize) -> Self {
        self.piece = length.max(1);
        self
    }

    /// On a storage that fails there.
    #[must_use]
    pub fn breaking_at(mut self, offset: usize) -> Self {
        self.breaks_at = Some(offset);
        self
    }

    /// Announced with another size than it has.
    #[must_use]
    pub fn announced_as(mut self, size: u64) -> Self {
        self.metadata.size = size;
        self
    }

    /// That lies on this machine, too.
    #[must_use]
    pub fn at_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    fn read(&self, offset: usize, length: usize) -> io::Result<Bytes> {
        let end = offset.saturating_add(length).min(self.content.len());
        if self.breaks_at.is_some_and(|limit| end > limit) {
            return Err(io::Error::other("the disk is gone"));
        }
        Ok(self.content.slice(offset.min(end)..end))
    }
}

#[async_trait]
impl FileHandle for MemoryFile {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.read(usize::try_from(offset).unwrap_or(usize::MAX), length)
    }

    fn stream(&self) -> ByteStream<'_> {
        Box::pin(Slices { file: self, offset: 0 })
    }

    fn local_path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

struct Slices<'a> {
    file: &'a MemoryFile,
    offset: usize,
}

impl futures_core::Stream for Slices<'_> {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        if self.offset >= self.file.content.len() {
            return std::task::Poll::Ready(None);
        }
        let piece = self.file.read(self.offset, self.file.piece);
        self.offset = match &piece {
            Ok(bytes) => self.offset + bytes.len(),
            Err(_) => self.file.content.len(),
        };
        std::task::Poll::Ready(Some(piece))
    }
}
