//! Publication into a store. What is larger than a piece is sent while it is prepared, as a multipart upload or
//! to a hidden name, and nothing shows until `place`; what fits in one piece is sent by `place` itself, in one
//! request that can carry the condition that nothing is there.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use opendal::options::WriteOptions;
use opendal::{Metadata, Operator, Writer};
use tokio::sync::OwnedSemaphorePermit;

use super::{HIDDEN_FOLDER, Label, Store, Way, fault, means_other_version};
use crate::fault::{Fault, FaultKind};
use crate::files::port::{Mark, Placed, Prepared, Staged, Version};

/// The key of the version in an object's metadata. Azure takes letters and digits only.
pub const VERSION_KEY: &str = "tidegateversion";

const MIB: u64 = 1 << 20;

/// Memory that publications into one storage may take, in MiB; further ones wait for their turn.
pub const BUDGET: usize = 72;
/// What is sent at a time. S3 wants 5 MiB at least.
const PIECE: u64 = 8 * MIB;
/// S3's limit; Azure takes 50,000.
const MOST_PIECES: u64 = 10_000;
/// Pieces of one file that are under way at once.
const CONCURRENT: u64 = 2;
/// What is read from staging at a time.
const READ: u64 = MIB;
/// The largest file for a store without multipart uploads: there it is in memory as a whole while it is sent.
const MOST_IN_ONE_REQUEST: u64 = 64 * MIB;

/// Behind [`Prepared::inner`].
struct Ready {
    content: Content,
    _memory: OwnedSemaphorePermit,
}

enum Content {
    /// The whole of a small file, not sent yet.
    Held { bytes: Bytes, options: Box<WriteOptions> },
    /// A multipart upload with all its parts.
    Sent { writer: Writer },
    /// Written under a hidden name.
    Aside(Aside),
}

/// A hidden name in a store. Dropping it removes what is there, as far as a runtime is at hand.
struct Aside {
    operator: Operator,
    path: String,
    is_placed: bool,
}

impl Drop for Aside {
    fn drop(&mut self) {
        if self.is_placed {
            return;
        }
        let (operator, path) = (self.operator.clone(), std::mem::take(&mut self.path));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = operator.delete(&path).await {
                    tracing::warn!(%error, path, "a file that was not published could not be removed");
                }
            });
        }
    }
}

pub async fn prepare(store: &Arc<Store>, staged: &Staged, path: &str, version: &Version) -> Result<Prepared, Fault> {
    if store.way == Way::Rename && staged.size > MOST_IN_ONE_REQUEST {
        let limit = "this service takes a file in one request, and so at most 64 MiB";
        return Err(Fault::broken(format!("send {path:?} of {} bytes", staged.size), limit));
    }
    let piece = piece_for(staged.size);
    let in_memory = if store.is_multipart() { piece.saturating_mul(CONCURRENT + 1) } else { u64::MAX };
    let memory = store.reserve(staged.size.min(in_memory)).await?;
    let options = options(store, version, piece);
    let content = match store.way {
        Way::Complete if staged.size <= piece || !store.is_multipart() => {
            Content::Held { bytes: read(staged, 0, staged.size).await?, options: Box::new(options) }
        }
        Way::Complete => Content::Sent { writer: send(&store.operator, staged, path, options).await? },
        Way::Rename => {
            let hidden = format!("{HIDDEN_FOLDER}{}", uuid::Uuid::now_v7().simple());
            let aside = Aside { operator: store.operator.clone(), path: hidden, is_placed: false };
            let bytes = read(staged, 0, staged.size).await?;
            let sent = store.operator.write_options(&aside.path, bytes, options).await;
            sent.map_err(|error| fault(format!("send {path:?}"), error))?;
            Content::Aside(aside)
        }
    };
    let mark = if store.label == Label::Nowhere { Mark::Content } else { Mark::Version };
    let inner = Box::new(Ready { content, _memory: memory });
    Ok(Prepared { path: path.to_owned(), version: version.clone(), mark, inner })
}

/// As many equal pieces as a store takes, in whole MiB.
fn piece_for(size: u64) -> u64 {
    size.div_ceil(MOST_PIECES).next_multiple_of(MIB).max(PIECE)
}

impl Store {
    fn is_multipart(&self) -> bool {
        self.operator.info().capability().write_can_multi
    }

    /// Waits for room for so many bytes on their way. What is larger than the whole budget goes alone.
    async fn reserve(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Fault> {
        let wanted = usize::try_from(bytes.div_ceil(MIB)).unwrap_or(BUDGET).min(BUDGET);
        let permit = self.budget.clone().acquire_many_owned(wanted as u32).await;
        permit.map_err(|error| Fault::broken("wait for memory to publish with", error))
    }
}

fn options(store: &Store, version: &Version, piece: u64) -> WriteOptions {
    let metadata = || HashMap::from([(VERSION_KEY.to_owned(), version.clone())]);
    WriteOptions {
        user_metadata: (store.label == Label::UserMetadata).then(metadata),
        cache_control: (store.label == Label::CacheControl).then(|| format!("{version} {}", Timestamp::now())),
        chunk: usize::try_from(piece).ok().filter(|_| store.is_multipart()),
        concurrent: CONCURRENT as usize,
        ..Default::default()
    }
}

async fn read(staged: &Staged, offset: u64, length: u64) -> Result<Bytes, Fault> {
    let file = staged.file.clone();
    let reading = tokio::task::spawn_blocking(move || {
        use std::os::unix::fs::FileExt;
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut buffer, offset).map(|()| Bytes::from(buffer))
    });
    match reading.await {
        Ok(read) => read.map_err(|error| Fault::io("read the staged file", error)),
        Err(error) => Err(Fault::broken("read the staged file", error)),
    }
}

/// Sends all of the file; what was sent is given up if it cannot be done.
async fn send(operator: &Operator, staged: &Staged, path: &str, options: WriteOptions) -> Result<Writer, Fault> {
    let failed = |error| fault(format!("send {path:?}"), error);
    let mut writer = operator.writer_options(path, options).await.map_err(failed)?;
    let mut offset = 0;
    while offset < staged.size {
        let length = (staged.size - offset).min(READ);
        let sent = match read(staged, offset, length).await {
            Ok(bytes) => writer.write(bytes).await.map_err(failed),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            give_up(writer, path).await;
            return Err(error);
        }
        offset += length;
    }
    Ok(writer)
}

async fn give_up(mut writer: Writer, path: &str) {
    if let Err(error) = writer.abort().await {
        tracing::warn!(%error, path, "an unfinished upload into the store could not be given up");
    }
}

pub async fn abandon(prepared: Prepared) {
    if let Ok(ready) = prepared.inner.downcast::<Ready>()
        && let Content::Sent { writer } = ready.content
    {
        give_up(writer, &prepared.path).await;
    }
}

pub async fn place(store: &Arc<Store>, prepared: Prepared, expected_absent: bool) -> Result<Placed, Fault> {
    let Ok(ready) = prepared.inner.downcast::<Ready>() else {
        return Err(Fault::new(FaultKind::Broken, "go on with a publication of another storage"));
    };
    let path = &prepared.path;
    // The condition on the request is the better one; not all ways of writing can carry it.
    if expected_absent && store.stat(path, None).await?.is_some() {
        if let Content::Sent { writer } = ready.content {
            give_up(writer, path).await;
        }
        return Err(Fault::new(FaultKind::Mismatch, format!("place {path:?}: a file is there")));
    }
    let done = match ready.content {
        Content::Held { bytes, options } => put(store, path, bytes, *options, expected_absent).await,
        Content::Sent { mut writer } => writer.close().await.map(drop),
        Content::Aside(mut aside) => {
            let renamed = store.operator.rename(&aside.path, path).await;
            aside.is_placed = renamed.is_ok();
            renamed
        }
    };
    let metadata = store.stat(path, None).await?;
    let is_ours = |metadata: &Metadata| store.version_in(metadata) == Some(prepared.version.as_str());
    match (done, metadata) {
        (Ok(()), Some(metadata)) if store.label == Label::Nowhere || is_ours(&metadata) => {
            Ok(Placed { path: path.clone(), identity: store.identity(&metadata), inner: Box::new(()) })
        }
        // The answer was lost, not the request.
        (Err(_), Some(metadata)) if is_ours(&metadata) => {
            Ok(Placed { path: path.clone(), identity: store.identity(&metadata), inner: Box::new(()) })
        }
        (Ok(()), _) => Err(Fault::new(FaultKind::Mismatch, format!("place {path:?}: it was replaced at once"))),
        (Err(error), _) => Err(fault(format!("place {path:?}"), error)),
    }
}

async fn put(
    store: &Store,
    path: &str,
    bytes: Bytes,
    mut options: WriteOptions,
    expected_absent: bool,
) -> opendal::Result<()> {
    options.if_not_exists = expected_absent && store.operator.info().capability().write_with_if_not_exists;
    match store.operator.write_options(path, bytes, options).await {
        Ok(_) => Ok(()),
        Err(error) if means_other_version(&error) => Err(error.set_permanent()),
        Err(error) => Err(error),
    }
}
