//! Reading an object: one version of it or an error, never a mix. In memory the open file holds the bytes; from a
//! store each range is one request on the condition that the version is still there.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use opendal::options::ReaderOptions;
use opendal::{Buffer, Reader};

use super::{Store, etag_of, is_memory, is_missing, means_other_version};
use crate::fault::Fault;
use crate::files::port::{Content, FileRecord, Identity, Opened};

pub async fn open(store: &Arc<Store>, path: &str, expected: Option<&Identity>) -> Result<Option<Opened>, Fault> {
    let is_expected = |identity: &Identity| expected.is_none_or(|expected| expected == identity);
    if is_memory(&store.operator) {
        return Ok(hold(store, path).await?.filter(|opened| is_expected(&opened.identity)));
    }
    let Some(metadata) = store.stat(path, expected.and_then(etag_of)).await? else { return Ok(None) };
    let identity = store.identity(&metadata);
    if !is_expected(&identity) {
        return Ok(None);
    }
    let content = Arc::new(StoredContent::new(store, path, &identity).await?);
    Ok(Some(Opened { identity, modified: store.modified(&metadata), content }))
}

/// Takes hold of an object in memory: its bytes are shared with the store, not copied.
async fn hold(store: &Arc<Store>, path: &str) -> Result<Option<Opened>, Fault> {
    let mut before = store.stat(path, None).await?;
    while let Some(metadata) = before {
        let read = store.operator.read(path).await;
        let after = store.stat(path, None).await?;
        match read {
            // What was read lies between two looks that saw the same.
            Ok(buffer) if after.as_ref().is_some_and(|after| store.identity(after) == store.identity(&metadata)) => {
                let (identity, modified) = (store.identity(&metadata), store.modified(&metadata));
                return Ok(Some(Opened { identity, modified, content: Arc::new(HeldContent { buffer }) }));
            }
            Err(error) if !is_missing(&error) => return Err(super::fault(format!("open {path:?}"), error)),
            _ => before = after,
        }
    }
    Ok(None)
}

/// Bytes in memory.
struct HeldContent {
    buffer: Buffer,
}

impl HeldContent {
    fn slice(&self, start: u64, end: u64) -> Buffer {
        let clamp = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.slice(clamp(start)..clamp(end).max(clamp(start)))
    }
}

#[async_trait]
impl Content for HeldContent {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        Ok(self.slice(offset, offset.saturating_add(length as u64)).to_bytes())
    }

    fn stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        let held = self.slice(range.start, range.end);
        let promised = range.end.saturating_sub(range.start);
        let pieces = stream::iter(Iterator::filter(held, |piece| !piece.is_empty())).map(Ok);
        exactly(pieces.boxed(), promised)
    }
}

/// An object in a store.
struct StoredContent {
    reader: Reader,
    size: u64,
}

impl StoredContent {
    async fn new(store: &Store, path: &str, identity: &Identity) -> Result<Self, Fault> {
        let can_match = store.operator.info().capability().read_with_if_match;
        let if_match = etag_of(identity).filter(|_| can_match).map(str::to_owned);
        // No chunk size: one request for the whole of a range, and so one version of it.
        let options = ReaderOptions { if_match, ..Default::default() };
        let reader = store.operator.reader_options(path, options).await;
        let reader = reader.map_err(|error| super::fault(format!("open {path:?}"), error))?;
        Ok(Self { reader, size: identity.size() })
    }
}

#[async_trait]
impl Content for StoredContent {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let end = offset.saturating_add(length as u64).min(self.size);
        if offset >= end {
            return Ok(Bytes::new());
        }
        Ok(self.reader.read(offset..end).await.map_err(broken_off)?.to_bytes())
    }

    fn stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        let promised = range.end - range.start;
        let reader = self.reader.clone();
        let begun = async move { reader.into_stream(range).await };
        let pieces = stream::once(begun).try_flatten().map_ok(|buffer| stream::iter(buffer).map(Ok)).try_flatten();
        exactly(pieces.map_err(broken_off).boxed(), promised)
    }
}

fn broken_off(error: opendal::Error) -> io::Error {
    if means_other_version(&error) || is_missing(&error) {
        return io::Error::new(io::ErrorKind::UnexpectedEof, "the object was replaced or removed while it was read");
    }
    io::Error::other(error)
}

/// Passes on what comes, and ends in an error if that is less than `promised`.
fn exactly(pieces: BoxStream<'static, io::Result<Bytes>>, promised: u64) -> BoxStream<'static, io::Result<Bytes>> {
    let state = Some((pieces, promised));
    stream::unfold(state, |state| async move {
        let (mut pieces, left) = state?;
        match pieces.next().await {
            Some(Ok(piece)) => {
                let left = left.saturating_sub(piece.len() as u64);
                Some((Ok(piece), Some((pieces, left))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None if left > 0 => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
            None => None,
        }
    })
    .boxed()
}

impl Store {
    /// Whether the object's bytes are those of the record, by reading them.
    pub(super) async fn holds(&self, metadata: &opendal::Metadata, record: &FileRecord) -> Result<bool, Fault> {
        if metadata.content_length() != record.size {
            return Ok(false);
        }
        let failed = |error| super::fault(format!("read {:?} back", record.path), error);
        let options = ReaderOptions::default();
        let reader = self.operator.reader_options(&record.path, options).await.map_err(failed)?;
        let mut pieces = reader.into_stream(0..record.size).await.map_err(failed)?;
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
        while let Some(mut piece) = pieces.try_next().await.map_err(failed)? {
            while piece.has_remaining() {
                let length = piece.chunk().len();
                digest.update(piece.chunk());
                piece.advance(length);
            }
        }
        Ok(digest.finalize() == record.crc)
    }
}
