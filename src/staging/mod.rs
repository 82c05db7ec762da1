//! Where the bytes of unfinished uploads lie: a folder on the gateway's own disk.
//!
//! ```text
//! staging/whole/7               a body that comes whole in one request
//! staging/uploads/12/spool      upload 12: parts whose place is known, at their place
//! staging/uploads/12/part.3     a part whose place was not known or not free
//! staging/uploads/12/assembled  made where the parts are not in order
//! ```
//!
//! This module knows files and folders; which part goes where is decided by [`crate::upload`].

pub mod config;
mod spool;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::fault::Fault;
use crate::files::port::UploadId;
use crate::upload::port::{SpoolFile, Staging};
use spool::{LocalFile, Pace, Remove};

/// Staging in a local folder.
pub struct LocalStaging {
    whole: PathBuf,
    uploads: PathBuf,
    next_whole: AtomicU64,
    pace: Arc<Pace>,
    durable: bool,
}

impl LocalStaging {
    /// Opens the folder, made if missing. With `durable`, folders are fsynced when an entry is made.
    pub fn open(root: &Path, durable: bool) -> Result<Self, Fault> {
        let (whole, uploads) = (root.join("whole"), root.join("uploads"));
        for folder in [&whole, &uploads] {
            fs::create_dir_all(folder).map_err(|error| Fault::io(format!("make {}", folder.display()), error))?;
        }
        Ok(Self { whole, uploads, next_whole: AtomicU64::new(0), pace: Arc::new(Pace::default()), durable })
    }

    fn folder(&self, upload: UploadId) -> PathBuf {
        self.uploads.join(upload.0.to_string())
    }

    /// Opens a file of an upload, and makes it and its folder when they are missing and `create` says so.
    fn open_file(&self, path: PathBuf, create: bool, remove: Remove) -> Result<Arc<dyn SpoolFile>, Fault> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(|error| Fault::io("make a staging folder", error))?;
                }
                options.open(&path)
            }
            other => other,
        }
        .map_err(|error| Fault::io(format!("open the staging file {}", path.display()), error))?;
        if self.durable && create {
            self.sync_folders(&path)?;
        }
        Ok(Arc::new(LocalFile::new(path, file, self.pace.clone(), remove)))
    }

    /// The entry of a new file, and that of its folder.
    fn sync_folders(&self, path: &Path) -> Result<(), Fault> {
        for folder in path.ancestors().skip(1).take(2) {
            fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| Fault::io(format!("have the folder {} on disk", folder.display()), error))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Staging for LocalStaging {
    async fn create_whole(&self) -> Result<Arc<dyn SpoolFile>, Fault> {
        let path = self.whole.join(self.next_whole.fetch_add(1, Ordering::Relaxed).to_string());
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|error| Fault::io(format!("make the staging file {}", path.display()), error))?;
        Ok(Arc::new(LocalFile::new(path, file, self.pace.clone(), Remove::WhenDropped)))
    }

    async fn open_spool(&self, upload: UploadId) -> Result<Arc<dyn SpoolFile>, Fault> {
        self.open_file(self.folder(upload).join("spool"), true, Remove::Never)
    }

    async fn create_overflow(&self, upload: UploadId, number: u32) -> Result<Arc<dyn SpoolFile>, Fault> {
        self.open_file(self.folder(upload).join(format!("part.{number}")), true, Remove::WhenDropped)
    }

    async fn open_overflow(&self, upload: UploadId, number: u32) -> Result<Arc<dyn SpoolFile>, Fault> {
        self.open_file(self.folder(upload).join(format!("part.{number}")), false, Remove::Never)
    }

    async fn last_overflow(&self, upload: UploadId) -> Result<u32, Fault> {
        let entries = match fs::read_dir(self.folder(upload)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(Fault::io("list a staging folder", error)),
        };
        let numbers = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.strip_prefix("part.")?.parse().ok()));
        Ok(numbers.max().unwrap_or(0))
    }

    async fn remove_overflow(&self, upload: UploadId, number: u32) {
        let path = self.folder(upload).join(format!("part.{number}"));
        if let Err(error) = fs::remove_file(&path) {
            tracing::debug!(path = %path.display(), %error, "a staging file was not removed");
        }
    }

    async fn create_assembled(&self, upload: UploadId) -> Result<Arc<dyn SpoolFile>, Fault> {
        let path = self.folder(upload).join("assembled");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Fault::io("remove an earlier assembled file", error));
            }
            _ => self.open_file(path, true, Remove::Never),
        }
    }

    async fn remove_upload(&self, upload: UploadId) -> Result<(), Fault> {
        remove_folder(self.folder(upload)).await
    }

    async fn sweep(&self, live: &[UploadId]) -> Result<(), Fault> {
        for path in entries(&self.whole)? {
            fs::remove_file(&path).map_err(|error| Fault::io(format!("remove {}", path.display()), error))?;
        }
        let live: std::collections::HashSet<String> = live.iter().map(|id| id.0.to_string()).collect();
        for path in entries(&self.uploads)? {
            if !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| live.contains(name)) {
                remove_folder(path).await?;
            }
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let read = |error| Fault::io(format!("list {}", folder.display()), error);
    fs::read_dir(folder).map_err(read)?.map(|entry| entry.map(|entry| entry.path()).map_err(read)).collect()
}

/// Unlinking a large file takes long on ext4, so it is done on the blocking pool.
async fn remove_folder(path: PathBuf) -> Result<(), Fault> {
    let removed = tokio::task::spawn_blocking(move || match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Fault::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    });
    removed.await.map_err(|error| Fault::broken("remove a staging folder", error))?
}
