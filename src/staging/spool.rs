//! One file in staging: positioned writes, the seal, the shared `fdatasync`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::fault::{Fault, FaultKind};
use crate::kernel;
use crate::upload::port::{Hold, SpoolFile};

/// A write that takes longer than this has met a disk that does not keep up.
const SLOW_WRITE: Duration = Duration::from_millis(20);
/// For so long after a slow write the writes go to the blocking pool.
const SLOW_FOR: Duration = Duration::from_secs(1);

/// Whether the disk keeps up. One for all files of a staging folder: they share the disk.
pub(super) struct Pace {
    start: Instant,
    slow_until: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { start: Instant::now(), slow_until: AtomicU64::new(0) }
    }
}

impl Pace {
    fn is_slow(&self) -> bool {
        let until = self.slow_until.load(Ordering::Relaxed);
        until != 0 && (self.start.elapsed().as_millis() as u64) < until
    }

    fn note(&self, took: Duration) {
        if took > SLOW_WRITE {
            let until = self.start.elapsed() + SLOW_FOR;
            self.slow_until.store(until.as_millis() as u64, Ordering::Relaxed);
        }
    }
}

/// What happens to the file when its last handle goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remove {
    WhenDropped,
    Never,
}

pub(super) struct LocalFile {
    path: PathBuf,
    file: Arc<File>,
    pace: Arc<Pace>,
    /// `true` once sealed. Each write holds it shared until it has returned, on whatever thread that is.
    sealed: RwLock<bool>,
    remove: AtomicBool,
    sync: Mutex<SyncState>,
    /// Held by whoever runs the `fdatasync` that the others wait for.
    syncing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct SyncState {
    asked: u64,
    done: u64,
    failed: bool,
}

impl LocalFile {
    pub(super) fn new(path: PathBuf, file: File, pace: Arc<Pace>, remove: Remove) -> Self {
        Self {
            path,
            file: Arc::new(file),
            pace,
            sealed: RwLock::new(false),
            remove: AtomicBool::new(remove == Remove::WhenDropped),
            sync: Mutex::default(),
            syncing: tokio::sync::Mutex::default(),
        }
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> Result<bool, Fault> {
        let sealed = self.sealed.read();
        if *sealed {
            return Ok(false);
        }
        let begun = Instant::now();
        self.file.write_all_at(data, offset).map_err(|error| Fault::io("write to staging", error))?;
        self.pace.note(begun.elapsed());
        Ok(true)
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if self.remove.load(Ordering::Relaxed)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "a staging file was not removed");
        }
    }
}

/// Runs `work` on the blocking pool.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::broken(operation, error))?
}

#[async_trait]
impl SpoolFile for LocalFile {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    async fn write_at(self: Arc<Self>, offset: u64, data: Bytes, hold: Hold) -> Result<bool, Fault> {
        if self.pace.is_slow() {
            blocking("write to staging", move || {
                let written = self.write_now(offset, &data);
                drop(hold);
                written
            })
            .await
        } else {
            self.write_now(offset, &data)
        }
    }

    async fn sync(self: Arc<Self>) -> Result<(), Fault> {
        let failed =
            || Fault::new(FaultKind::Broken, "have staged bytes on disk: an earlier fdatasync of this file failed");
        let ticket = {
            let mut state = self.sync.lock();
            state.asked += 1;
            state.asked
        };
        let _syncing = self.syncing.lock().await;
        let covers = {
            let state = self.sync.lock();
            if state.failed {
                return Err(failed());
            }
            if state.done >= ticket {
                return Ok(());
            }
            state.asked
        };
        let file = self.file.clone();
        let synced = blocking("have staged bytes on disk", move || {
            file.sync_data().map_err(|error| Fault::io("have staged bytes on disk", error))
        })
        .await;
        let mut state = self.sync.lock();
        match &synced {
            Ok(()) => state.done = covers,
            // The kernel reports a lost page once; a second fdatasync would say that all is well.
            Err(_) => state.failed = true,
        }
        synced
    }

    async fn seal(self: Arc<Self>) {
        // On the blocking pool: a write under way may wait for the disk while this waits for it.
        let sealed = tokio::task::spawn_blocking(move || *self.sealed.write() = true).await;
        debug_assert!(sealed.is_ok());
    }

    fn is_sealed(&self) -> bool {
        *self.sealed.read()
    }

    async fn copy_from(
        self: Arc<Self>,
        from: Arc<dyn SpoolFile>,
        from_offset: u64,
        offset: u64,
        length: u64,
    ) -> Result<(), Fault> {
        let source = from.file();
        blocking("copy in staging", move || {
            kernel::copy_range(&source, from_offset, &self.file, offset, length)
                .map_err(|error| Fault::io("copy in staging", error))
        })
        .await
    }

    async fn set_len(self: Arc<Self>, length: u64) -> Result<(), Fault> {
        blocking("set the length of a staging file", move || {
            self.file.set_len(length).map_err(|error| Fault::io("set the length of a staging file", error))
        })
        .await
    }

    fn keep(&self) {
        self.remove.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &tempfile::TempDir, remove: Remove) -> Arc<LocalFile> {
        let path = folder.path().join("spool");
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        Arc::new(LocalFile::new(path, file, Arc::default(), remove))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_write_touches_the_file_after_the_seal() {
        let folder = tempfile::tempdir().unwrap();
        let spool = file(&folder, Remove::Never);
        let writers: Vec<_> = (0..8u64)
            .map(|slot| {
                let spool = spool.clone();
                tokio::spawn(async move {
                    let mut written = 0;
                    while spool.clone().write_at(slot * 8, Bytes::from_static(b"12345678"), Arc::new(())).await.unwrap()
                    {
                        written += 1;
                        tokio::task::yield_now().await;
                    }
                    written
                })
            })
            .collect();
        tokio::task::yield_now().await;
        spool.clone().seal().await;
        let modified = fs::metadata(spool.path()).unwrap().modified().unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(fs::metadata(spool.path()).unwrap().modified().unwrap(), modified);
        assert!(!spool.clone().write_at(0, Bytes::from_static(b"x"), Arc::new(())).await.unwrap());
    }

    #[tokio::test]
    async fn a_whole_body_vanishes_with_its_handle_unless_kept() {
        let folder = tempfile::tempdir().unwrap();
        let spool = file(&folder, Remove::WhenDropped);
        let path = spool.path();
        drop(spool);
        assert!(!path.exists());
        let spool = file(&folder, Remove::WhenDropped);
        spool.keep();
        drop(spool);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn syncs_that_wait_together_share_one() {
        let folder = tempfile::tempdir().unwrap();
        let spool = file(&folder, Remove::Never);
        let held = spool.syncing.lock().await;
        let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(spool.clone().sync())).collect();
        while spool.sync.lock().asked < 10 {
            tokio::task::yield_now().await;
        }
        drop(held);
        for sync in waiting {
            sync.await.unwrap().unwrap();
        }
        assert_eq!(spool.sync.lock().done, 10);
    }
}
