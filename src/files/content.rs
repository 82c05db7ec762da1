//! Contents on this machine: a body in memory, an open local file. And reading any content once, for its digests.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
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

/// Up to here a file is read on the spot; past it on the blocking pool.
const SMALL: usize = 64 * 1024;
/// What one read takes. Measured: 256 KiB pieces keep up with sendfile, and ten thousand slow readers cost little.
const PIECE: usize = 256 * 1024;

/// An open local file. Whatever happens to its path, these bytes stay.
pub struct FileContent(Arc<File>);

impl FileContent {
    pub fn new(file: Arc<File>) -> Self {
        Self(file)
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if length <= SMALL {
            return read_full(&self.0, offset, length);
        }
        let file = self.0.clone();
        tokio::task::spawn_blocking(move || read_full(&file, offset, length)).await?
    }
}

/// Reads up to `length` bytes, less only at the end of the file.
fn read_full(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

#[async_trait]
impl Content for FileContent {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.read(offset, length).await
    }

    fn stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        // The piece after the one that is being sent is read already.
        let ahead = |content: Arc<Self>, offset: u64, end: u64| {
            let length = (end - offset).min(PIECE as u64) as usize;
            (length > 0).then(|| tokio::task::spawn_blocking(move || read_full(&content.0, offset, length)))
        };
        if range.end.saturating_sub(range.start) <= SMALL as u64 {
            let length = range.end.saturating_sub(range.start) as usize;
            return stream::once(async move { whole_piece(read_full(&self.0, range.start, length)?, length) }).boxed();
        }
        let first = ahead(self.clone(), range.start, range.end);
        stream::try_unfold((self, range.start, first), move |(content, offset, reading)| async move {
            let Some(reading) = reading else { return Ok(None) };
            let length = (range.end - offset).min(PIECE as u64) as usize;
            let piece = whole_piece(reading.await??, length)?;
            let offset = offset + length as u64;
            let next = ahead(content.clone(), offset, range.end);
            Ok(Some((piece, (content, offset, next))))
        })
        .boxed()
    }
}

/// A file that is shorter than was promised ends in an error, never early.
fn whole_piece(piece: Bytes, length: usize) -> io::Result<Bytes> {
    if piece.len() == length { Ok(piece) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
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
