//! The content of a body in memory; and reading any content once, for its digests.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};

use super::port::Content;
use crate::digest::Crc;
use crate::fault::Fault;

/// A small file in memory.
pub struct MemoryContent(pub Bytes);

#[async_trait]
impl Content for MemoryContent {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0.slice(start..start.saturating_add(length).min(self.0.len())))
    }

    fn stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        if range.end > self.0.len() as u64 || range.start > range.end {
            return stream::once(async { Err(io::ErrorKind::UnexpectedEof.into()) }).boxed();
        }
        let bytes = self.0.slice(range.start as usize..range.end as usize);
        stream::once(async { Ok(bytes) }).boxed()
    }
}

/// CRC-64/NVME of the first `size` bytes, and their SHA-256 where it is wanted.
pub(crate) async fn digest(
    content: Arc<dyn Content>,
    size: u64,
    sha256: bool,
) -> Result<(u64, Option<[u8; 32]>), Fault> {
    let mut crc = Crc::default();
    let mut sha = sha256.then(Sha256::new);
    let mut pieces = content.stream(0..size);
    while let Some(piece) = pieces.try_next().await.map_err(|error| Fault::io("read a file", error))? {
        crc.update(&piece);
        if let Some(sha) = &mut sha {
            sha.update(&piece);
        }
    }
    Ok((crc.finish(), sha.map(|sha| sha.finalize().into())))
}
