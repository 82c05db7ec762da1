//! The service `fs`: a folder on a disk of this machine, by system calls instead of OpenDAL, because publishing
//! beside other programs needs inodes, exchanges and open handles. Putting files there is in `publish`, taking
//! them away in `removal`, reading in `content`, looking round in `listing`, the append-only file in `append`.
//!
//! Metadata calls run on the spot: they take microseconds, and a hop to the blocking pool takes more. What can
//! wait for a disk (copying, listing, fsync) runs on the blocking pool.
//!
//! Everything is reached from the open root folder, one path at a time, and no symlink on the way is followed.

mod append;
mod folders;
mod listing;
mod publish;
mod removal;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::fault::{Fault, FaultKind};
use crate::files::FileContent;
use crate::files::port::{
    AppendFile, Capabilities, FolderMark, Found, Identity, Intent, Mark, Opened, Placed, Prepared, Staged, Storage,
    Version,
};
use crate::kernel;

/// The folder under the root that holds what is on its way in or out. Never listed, swept at boot.
const HIDDEN_FOLDER: &str = ".tidegate";

/// Opens a file for reading; FIFOs and devices do not make it wait.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Which system calls are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// The best that this system has.
    Native,
    /// Only what POSIX has; for tests, so that the fallbacks run where the kernel would not need them.
    Portable,
}

pub struct LocalStorage {
    name: String,
    disk: Arc<Disk>,
}

impl LocalStorage {
    /// Opens the folder, which is made if it is missing.
    pub fn open(name: &str, root: &Path, calls: Calls) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let path = std::path::absolute(root)?;
        let opened = ArcSwap::from_pointee(Root::open(&path)?);
        Ok(Self { name: name.to_owned(), disk: Arc::new(Disk { path, root: opened, calls }) })
    }
}

/// What all parts of this storage share.
struct Disk {
    path: PathBuf,
    root: ArcSwap<Root>,
    calls: Calls,
}

/// The root folder, held open so that paths count from it and nothing else.
struct Root {
    folder: OwnedFd,
    device: u64,
    inode: u64,
}

impl Root {
    fn open(path: &Path) -> io::Result<Self> {
        let folder = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let found = rustix::fs::fstat(&folder)?;
        Ok(Self { folder, device: found.st_dev, inode: found.st_ino })
    }
}

impl Disk {
    fn root(&self) -> Arc<Root> {
        self.root.load_full()
    }

    /// Opens the root again if its path leads to another folder by now (moved away and made anew).
    fn follow_root(&self) -> io::Result<Arc<Root>> {
        let root = self.root();
        let found = rustix::fs::stat(&self.path)?;
        if (found.st_dev, found.st_ino) == (root.device, root.inode) {
            return Ok(root);
        }
        tracing::warn!(root = %self.path.display(), "the storage's root is another folder by now; going on in it");
        let root = Arc::new(Root::open(&self.path)?);
        self.root.store(root.clone());
        Ok(root)
    }

    fn open_beneath(&self, root: &Root, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = Path::new(if path.is_empty() { "." } else { path });
        match self.calls {
            Calls::Native => kernel::open_beneath(root.folder.as_fd(), path, flags, Mode::empty()),
            Calls::Portable => kernel::portable::open_beneath(root.folder.as_fd(), path, flags, Mode::empty()),
        }
    }

    /// The state of a regular file, or `None`.
    fn stat(&self, path: &str) -> io::Result<Option<Stat>> {
        let root = self.root();
        let (folder, name) = split(path);
        let found = if folder.is_empty() {
            rustix::fs::statat(&root.folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)
        } else {
            let folder = self.open_beneath(&root, folder, kernel::FOLDER);
            folder.and_then(|folder| Ok(rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
        };
        match found {
            Ok(found) => Ok(is_regular(&found).then_some(found)),
            Err(error) if means_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Storage for LocalStorage {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        super::LOCAL
    }

    async fn prepare(&self, staged: &Staged, path: &str, version: &Version, durable: bool) -> Result<Prepared, Fault> {
        publish::prepare(&self.disk, staged, path, version, durable).await
    }

    async fn abandon(&self, prepared: Prepared) {
        drop(prepared);
    }

    async fn place(&self, prepared: Prepared, expected_absent: bool) -> Result<Placed, Fault> {
        publish::place(prepared, expected_absent).await
    }

    async fn undo(&self, placed: Placed) -> Result<bool, Fault> {
        publish::undo(placed).await
    }

    async fn settle(&self, placed: Placed) {
        publish::settle(placed);
    }

    async fn find_placed(&self, intent: &Intent) -> Result<Option<Found>, Fault> {
        let Mark::Inode { inode, .. } = intent.mark else { return Ok(None) };
        let found = self.stat(&intent.record.path).await?;
        // A disk can have another device number after a boot; the path says which disk is meant.
        Ok(found.filter(|found| {
            matches!(found.identity, Identity::Local { inode: there, size, .. } if there == inode && size == intent.record.size)
        }))
    }

    async fn sweep(&self) -> Result<(), Fault> {
        let disk = self.disk.clone();
        blocking("sweep the storage", move || removal::sweep(&disk)).await
    }

    async fn stat(&self, path: &str) -> Result<Option<Found>, Fault> {
        check_path(path)?;
        let found = self.disk.stat(path).map_err(|error| fault(format!("look at {path:?}"), error))?;
        Ok(found.map(|found| found_of(path, &found)))
    }

    async fn open(&self, path: &str, _expected: Option<&Identity>) -> Result<Option<Opened>, Fault> {
        check_path(path)?;
        let opened = self.disk.open_beneath(&self.disk.root(), path, READ);
        let file = match opened {
            Ok(file) => std::fs::File::from(file),
            Err(error) if means_absent(&error) => return Ok(None),
            Err(error) => return Err(fault(format!("open {path:?}"), error)),
        };
        let found = rustix::fs::fstat(&file).map_err(|error| fault(format!("open {path:?}"), error.into()))?;
        Ok(is_regular(&found).then(|| Opened {
            identity: identity_of(&found),
            modified: modified_of(&found),
            content: Arc::new(FileContent::of_version(Arc::new(file), identity_of(&found))),
        }))
    }

    async fn remove(&self, path: &str, expected: &Identity, durable: bool) -> Result<bool, Fault> {
        removal::remove(&self.disk, path, expected, durable).await
    }

    async fn list_files(&self, folder: &str) -> Result<BoxStream<'static, Result<Found, Fault>>, Fault> {
        listing::files(&self.disk, folder).await
    }

    async fn list_folders(&self, folder: &str) -> Result<BoxStream<'static, Result<String, Fault>>, Fault> {
        listing::folders(&self.disk, folder).await
    }

    async fn folder_mark(&self, folder: &str) -> Result<Option<FolderMark>, Fault> {
        listing::mark(&self.disk, folder)
    }

    async fn append(
        &self,
        path: &str,
        expected: Option<(u64, u64)>,
        length: u64,
        durable: bool,
    ) -> Result<Arc<dyn AppendFile>, Fault> {
        append::open(&self.disk, path, expected, length, durable).await
    }
}

// ---------------------------------------------------------------------------------------------------------
// Small things that all parts need

/// The folder and the name of a path; the folder is `""` at the root.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Names were checked long before. This is the last look at a path before it reaches the system.
fn check_path(path: &str) -> Result<(), Fault> {
    let is_bad = |part: &str| part.is_empty() || part == "." || part == ".." || part == HIDDEN_FOLDER;
    if path.split('/').any(is_bad) || path.contains('\0') {
        return Err(Fault::new(FaultKind::Broken, format!("use {path:?} as a path in a storage")));
    }
    Ok(())
}

fn check_folder(folder: &str) -> Result<(), Fault> {
    if folder.is_empty() { Ok(()) } else { check_path(folder) }
}

fn is_regular(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

/// Whether there is no regular file to be had there, as distinct from a failure: nothing, a file or symlink where
/// a folder should be, a symlink or socket where the file should be, a name longer than any file's.
fn means_absent(error: &io::Error) -> bool {
    let absent = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::NAMETOOLONG];
    Errno::from_io_error(error).is_some_and(|error| absent.contains(&error))
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn identity_of(found: &Stat) -> Identity {
    Identity::Local {
        device: found.st_dev,
        inode: found.st_ino,
        size: size_of(found),
        mtime: nanoseconds(found.st_mtime, found.st_mtime_nsec),
        ctime: nanoseconds(found.st_ctime, found.st_ctime_nsec),
    }
}

fn found_of(path: &str, found: &Stat) -> Found {
    Found { path: path.to_owned(), identity: identity_of(found), modified: modified_of(found) }
}

fn size_of(found: &Stat) -> u64 {
    u64::try_from(found.st_size).unwrap_or(0)
}

/// A file's time can be set to anything; what is outside of the calendar counts as the epoch.
fn modified_of(found: &Stat) -> Timestamp {
    let nanosecond = i32::try_from(found.st_mtime_nsec).unwrap_or(0);
    Timestamp::new(found.st_mtime, nanosecond).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn nanoseconds(seconds: i64, nanoseconds: u64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(nanoseconds).unwrap_or(0))
}

fn fault(operation: impl Into<String>, error: io::Error) -> Fault {
    let busy = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    let is_busy = Errno::from_io_error(&error).is_some_and(|error| busy.contains(&error));
    let in_the_way = [Errno::NOTDIR, Errno::ISDIR, Errno::LOOP];
    let is_obstructed = Errno::from_io_error(&error).is_some_and(|error| in_the_way.contains(&error));
    let mut fault = Fault::io(operation, error);
    if is_busy {
        fault.kind = FaultKind::Unavailable;
    } else if is_obstructed {
        fault.kind = FaultKind::Obstructed;
    }
    fault
}

/// Runs what can wait for a disk on the blocking pool.
async fn blocking<T: Send + 'static>(
    operation: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer.map_err(|error| fault(operation, error)),
        Err(error) => Err(Fault::broken(operation, error)),
    }
}
