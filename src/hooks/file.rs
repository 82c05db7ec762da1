//! A file as a plugin sees it, and the fairness that a plugin need not think of: whoever reads a large file
//! through this handle lets other tasks run in between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tidegate_plugin_sdk::{ByteStream, FileHandle, Metadata};

use crate::files::port::{Candidate, Content, PublishedFile};

/// So much is handed out before other tasks have their turn. At 1 GB/s a plugin is through with it in a quarter of a
/// millisecond.
pub(super) const STRIDE: u64 = 256 * 1024;

pub(super) struct HandedFile {
    metadata: Metadata,
    /// `None`: the plugin said that it needs none.
    content: Option<Arc<dyn Content>>,
    local_path: Option<PathBuf>,
    handed_out: AtomicU64,
}

impl HandedFile {
    /// A file that is to be checked; `id` names the question.
    pub(super) fn candidate(file: Candidate, id: &str) -> Self {
        let Candidate { collection, tenant, file_name, size, content_type, content } = file;
        let metadata = Metadata::new(collection, tenant, file_name, size).with_id(id);
        let metadata = match content_type {
            Some(content_type) => metadata.with_content_type(content_type),
            None => metadata,
        };
        Self::new(metadata, Some(content))
    }

    /// A file that was published.
    pub(super) fn published(file: PublishedFile) -> Self {
        let PublishedFile { collection, tenant, file_name, size, event_id, content, .. } = file;
        Self::new(Metadata::new(collection, tenant, file_name, size).with_id(event_id), content)
    }

    fn new(metadata: Metadata, content: Option<Arc<dyn Content>>) -> Self {
        let local_path = content.as_ref().and_then(|content| content.local_path());
        Self { metadata, content, local_path, handed_out: AtomicU64::new(0) }
    }

    fn content(&self) -> io::Result<&Arc<dyn Content>> {
        let unopened = || io::Error::new(io::ErrorKind::Unsupported, "the plugin said that it reads no content");
        self.content.as_ref().ok_or_else(unopened)
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
impl FileHandle for HandedFile {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let bytes = self.content()?.read_at(offset, length).await?;
        self.take_turns(bytes.len()).await;
        Ok(bytes)
    }

    fn stream(&self) -> ByteStream<'_> {
        let content = match self.content() {
            Ok(content) => content.clone().stream(0..self.metadata.size),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        };
        Box::pin(stream::unfold(Pieces { content, rest: Bytes::new() }, async |mut pieces| {
            let piece = pieces.next().await?;
            if let Ok(bytes) = &piece {
                self.take_turns(bytes.len()).await;
            }
            Some((piece, pieces))
        }))
    }

    fn local_path(&self) -> Option<&Path> {
        self.local_path.as_deref()
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
