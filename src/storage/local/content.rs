//! The bytes of an open file. Small reads that the page cache can answer happen on the spot; everything else on
//! the blocking pool, one piece ahead of the reader.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::task::JoinHandle;

use crate::files::port::Content;
use crate::kernel;

/// One piece of a stream. Measured against 64 KiB and 1 MiB: the first costs a quarter of the throughput, the
/// second brings a fifth and takes four times the memory a reader.
const PIECE: u64 = 256 << 10;
/// What is read on the spot, if it is in the page cache.
const SMALL: u64 = 64 << 10;

pub struct LocalContent {
    file: Arc<File>,
}

impl LocalContent {
    pub fn new(file: Arc<File>) -> Self {
        Self { file }
    }
}

#[async_trait]
impl Content for LocalContent {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if length as u64 <= SMALL
            && let Some(data) = read_on_the_spot(&self.file, offset, length)?
        {
            return Ok(data);
        }
        let file = self.file.clone();
        joined(tokio::task::spawn_blocking(move || read(&file, offset, length))).await
    }

    fn stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        if range.end - range.start <= SMALL {
            return stream::once(self.whole(range)).boxed();
        }
        let start =
            Reading { ahead: Some(self.begin(range.start, range.end)), next: piece_end(&range), end: range.end };
        stream::unfold((self, start), |(content, reading)| async move {
            let (piece, reading) = content.advance(reading).await?;
            Some((piece, (content, reading)))
        })
        .boxed()
    }
}

/// A stream under way: the piece that is being read, and where the one after it starts.
struct Reading {
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    next: u64,
    end: u64,
}

fn piece_end(range: &Range<u64>) -> u64 {
    range.end.min(range.start.saturating_add(PIECE))
}

impl LocalContent {
    async fn whole(self: Arc<Self>, range: Range<u64>) -> io::Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        let data = self.read_at(range.start, usize::try_from(length).unwrap_or(usize::MAX)).await?;
        complete(data, length)
    }

    fn begin(&self, from: u64, end: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || {
            let length = piece_end(&(from..end)) - from;
            complete(read(&file, from, usize::try_from(length).unwrap_or(usize::MAX))?, length)
        })
    }

    async fn advance(&self, mut reading: Reading) -> Option<(io::Result<Bytes>, Reading)> {
        let piece = joined(reading.ahead.take()?).await;
        if piece.is_ok() && reading.next < reading.end {
            reading.ahead = Some(self.begin(reading.next, reading.end));
            reading.next = piece_end(&(reading.next..reading.end));
        }
        Some((piece, reading))
    }
}

async fn joined(task: JoinHandle<io::Result<Bytes>>) -> io::Result<Bytes> {
    task.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Another program cut the file: an error, so that nobody takes a part for the whole.
fn complete(data: Bytes, length: u64) -> io::Result<Bytes> {
    if data.len() as u64 == length {
        return Ok(data);
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was when it was opened"))
}

/// `None`: a disk may have to be waited for.
fn read_on_the_spot(file: &File, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
    let mut buffer = vec![0; length];
    match kernel::read_cached(file, &mut buffer, offset)? {
        Some(count) if count == length => Ok(Some(buffer.into())),
        _ => Ok(None),
    }
}

/// Reads up to the end of the file.
fn read(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(length);
    while buffer.len() < length {
        let at = offset + buffer.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(length);
    Ok(buffer.into())
}
