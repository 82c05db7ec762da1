//! The bytes of an open file. What the page cache has is read on the spot, and never waits; for the rest there is the
//! blocking pool, one piece ahead of the reader. Of a file in the cache this is twice the throughput of the pool
//! alone, for no piece goes from one core to the other.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::task::JoinHandle;

use super::port::{Content, Identity};
use crate::kernel;

/// One piece of a stream. Measured against 64 KiB and 1 MiB: the first costs a quarter of the throughput, the
/// second brings a fifth and takes four times the memory a reader.
const PIECE: u64 = 256 << 10;
/// A range that is answered in one piece.
const SMALL: u64 = 64 << 10;
/// Pieces that are read ahead on the blocking pool after the page cache had not one, before it is asked again.
const FROM_DISK: u32 = 16;

/// An open local file, in a storage or in staging. Whatever happens to its path, these bytes stay.
pub struct FileContent {
    file: Arc<File>,
    /// Where others can write to the file: what it was like when it was opened.
    version: Option<Identity>,
}

impl FileContent {
    /// A file that nobody writes to but the gateway.
    pub fn new(file: Arc<File>) -> Self {
        Self { file, version: None }
    }

    /// A file that other programs can write to: a stream of it ends as an error when one did so meanwhile.
    pub fn of_version(file: Arc<File>, version: Identity) -> Self {
        Self { file, version: Some(version) }
    }
}

#[async_trait]
impl Content for FileContent {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if length as u64 <= PIECE
            && let Some(data) = read_on_the_spot(&self.file, offset, length)?
        {
            return Ok(data);
        }
        let file = self.file.clone();
        joined(tokio::task::spawn_blocking(move || read(&file, offset, length))).await
    }

    fn local_path(&self) -> Option<PathBuf> {
        kernel::path_of(&self.file)
    }

    fn stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        if range.end - range.start <= SMALL {
            return stream::once(self.whole(range)).boxed();
        }
        let start = Reading { ahead: None, from_disk: 0, next: range.start, end: range.end };
        stream::unfold((self, start), |(content, mut reading)| async move {
            // A reader that only computes would never let anybody else on its thread otherwise.
            tokio::task::coop::consume_budget().await;
            let mut piece = content.advance(&mut reading).await?;
            if reading.is_at_end() {
                piece = piece.and_then(|piece| content.unless_changed(piece));
            }
            if piece.is_err() {
                // Nothing comes after an error.
                reading.next = reading.end;
            }
            Some((piece, (content, reading)))
        })
        .boxed()
    }
}

/// A stream under way.
struct Reading {
    /// The piece before `next`, while it is read on the blocking pool.
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    /// How many pieces more are read there unasked.
    from_disk: u32,
    next: u64,
    end: u64,
}

impl Reading {
    /// The next piece that nobody reads yet, or `None` at the end.
    fn take_piece(&mut self) -> Option<Range<u64>> {
        let piece = self.next..piece_end(&(self.next..self.end));
        self.next = piece.end;
        (!piece.is_empty()).then_some(piece)
    }

    fn is_at_end(&self) -> bool {
        self.next == self.end && self.ahead.is_none()
    }
}

fn piece_end(range: &Range<u64>) -> u64 {
    range.end.min(range.start.saturating_add(PIECE))
}

impl FileContent {
    async fn whole(self: Arc<Self>, range: Range<u64>) -> io::Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        let data = self.read_at(range.start, usize::try_from(length).unwrap_or(usize::MAX)).await?;
        self.unless_changed(complete(data, length)?)
    }

    /// The last piece of a stream. Without it nobody has all the bytes that were promised, and so nobody takes what may be of two
    /// versions for a whole one. The time of the inode's last change says nothing here: a replacement changes it.
    fn unless_changed(&self, piece: Bytes) -> io::Result<Bytes> {
        let Some(Identity::Local { size, mtime, .. }) = self.version else { return Ok(piece) };
        let found = self.file.metadata()?;
        if (found.len(), found.mtime() * 1_000_000_000 + found.mtime_nsec()) == (size, mtime) {
            return Ok(piece);
        }
        Err(io::Error::other("another program wrote into the file while it was read"))
    }

    fn begin(&self, piece: Range<u64>) -> JoinHandle<io::Result<Bytes>> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || {
            let length = piece.end - piece.start;
            complete(read(&file, piece.start, usize::try_from(length).unwrap_or(usize::MAX))?, length)
        })
    }

    async fn advance(&self, reading: &mut Reading) -> Option<io::Result<Bytes>> {
        let task = match reading.ahead.take() {
            Some(task) => task,
            None => {
                let piece = reading.take_piece()?;
                let length = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX);
                if let Some(read) = read_on_the_spot(&self.file, piece.start, length).transpose() {
                    return Some(read);
                }
                reading.from_disk = FROM_DISK;
                self.begin(piece)
            }
        };
        let piece = joined(task).await;
        if piece.is_ok() && reading.from_disk > 0 {
            reading.from_disk -= 1;
            reading.ahead = reading.take_piece().map(|piece| self.begin(piece));
        }
        Some(piece)
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
        // A tmpfs cannot be asked, and need not be.
        None if kernel::is_in_memory(file) => read(file, offset, length).map(Some),
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
