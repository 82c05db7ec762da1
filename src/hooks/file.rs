//! A candidate as a plugin sees it, and the fairness that a plugin need not think of: whoever reads a large file
//! through this handle lets other tasks run in between.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tidegate_plugin_sdk::{ByteStream, FileHandle, Metadata};

use crate::files::port::Candidate;

/// So much is handed out before other tasks have their turn. At 1 GB/s a plugin is through with it in a quarter of a
/// millisecond.
pub(super) const STRIDE: u64 = 256 * 1024;

pub(super) struct CandidateFile {
    metadata: Metadata,
    candidate: Candidate,
    handed_out: AtomicU64,
}

impl CandidateFile {
    pub(super) fn new(candidate: Candidate) -> Self {
        let metadata = Metadata::new(
            candidate.collection.as_str(),
            candidate.tenant.as_str(),
            candidate.file_name.as_str(),
            candidate.size,
        );
        let metadata = match &candidate.content_type {
            Some(content_type) => metadata.with_content_type(content_type),
            None => metadata,
        };
        Self { metadata, candidate, handed_out: AtomicU64::new(0) }
    }

    /// Counts bytes that are about to be handed out; yields when another stride is full.
    async fn take_turns(&self, length: usize) {
        let before = self.handed_out.fetch_add(length as u64, Ordering::Relaxed);
        if before / STRIDE != (before + length as u64) / STRIDE {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl FileHandle for CandidateFile {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let bytes = self.candidate.content.read_at(offset, length).await?;
        self.take_turns(bytes.len()).await;
        Ok(bytes)
    }

    fn stream(&self) -> ByteStream<'_> {
        let content = self.candidate.content.clone().stream(0..self.candidate.size);
        Box::pin(stream::unfold(Pieces { content, rest: Bytes::new() }, async |mut pieces| {
            let piece = pieces.next().await?;
            if let Ok(bytes) = &piece {
                self.take_turns(bytes.len()).await;
            }
            Some((piece, pieces))
        }))
    }

    /// The candidate's bytes are known by an open file alone, whose path may change under a reader.
    fn local_path(&self) -> Option<&Path> {
        None
    }
}

/// A storage's pieces, cut so that none is longer than a stride.
struct Pieces {
    content: BoxStream<'static, io::Result<Bytes>>,
    rest: Bytes,
}

impl Pieces {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        while self.rest.is_empty() {
            match self.content.next().await? {
                Ok(piece) => self.rest = piece,
                Err(error) => return Some(Err(error)),
            }
        }
        let length = self.rest.len().min(STRIDE as usize);
        Some(Ok(self.rest.split_to(length)))
    }
}
