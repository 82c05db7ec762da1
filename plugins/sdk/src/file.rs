//! A file as a plugin sees it: what is known of it, and its bytes. Where they lie is the gateway's business.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;

/// What is known of a file before a byte of it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metadata {
    /// Names what is asked of this file, the same at each try: the event's id after a publication.
    pub id: String,
    /// The collection that it was sent to.
    pub collection: String,
    /// Empty where the collection has no tenants.
    pub tenant: String,
    pub file_name: String,
    /// Bytes.
    pub size: u64,
    /// The media type that the client declared for the file, as it stood in the request.
    pub content_type: Option<String>,
}

impl Metadata {
    pub fn new(
        collection: impl Into<String>,
        tenant: impl Into<String>,
        file_name: impl Into<String>,
        size: u64,
    ) -> Self {
        Self {
            id: String::new(),
            collection: collection.into(),
            tenant: tenant.into(),
            file_name: file_name.into(),
            size,
            content_type: None,
        }
    }

    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }
}

/// The bytes of a file in order, in pieces of any size but none of them empty.
pub type ByteStream<'a> = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + 'a>>;

/// The next piece of a stream; `None` at its end.
pub async fn next_piece(stream: &mut ByteStream<'_>) -> Option<io::Result<Bytes>> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

/// A file that is complete and does not change while a plugin holds it. It may be larger than memory.
///
/// Reads are made so that a check in a loop of `read_at`, or over `stream`, is fair by itself: the handle lets other
/// tasks run every 256 KiB. A plugin that works for more than a millisecond on one piece yields on its own.
#[async_trait]
pub trait FileHandle: Send + Sync {
    fn metadata(&self) -> &Metadata;

    /// Bytes from `offset`: `length` of them, or less at the end of the file alone; none past the end. The caller
    /// chooses how much memory that takes.
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// The whole content. A file that turns out shorter than its size ends in an error, never early.
    fn stream(&self) -> ByteStream<'_>;

    /// A path on this machine that opens the content, where there is one: for this process and its children, as long as the handle
    /// lives, and this version of the file whatever happens to its own path meanwhile. It says nothing of the file's name. Later it
    /// may open another file, so nothing that was given it may outlive the handle. Never write to it, and never map it into memory.
    fn local_path(&self) -> Option<&Path>;
}
