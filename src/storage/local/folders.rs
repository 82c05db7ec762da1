//! Folders under the root: finding them, making them, having them on disk.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Disk, HIDDEN_FOLDER, Root};
use crate::kernel;

/// A folder that is open to work in, and those on the way that had to be made.
pub struct Made {
    pub folder: OwnedFd,
    /// Paths from the root, outermost first.
    pub new: Vec<String>,
}

impl Disk {
    /// Opens `folder`, and makes what is missing of it.
    pub fn make_folders(&self, root: &Root, folder: &str, durable: bool) -> io::Result<Made> {
        match self.open_beneath(root, folder, kernel::FOLDER) {
            Ok(folder) => Ok(Made { folder, new: Vec::new() }),
            Err(error) if super::is_missing(&error) => walk(root, folder, durable),
            Err(error) => Err(error),
        }
    }

    /// Removes folders that [`Disk::make_folders`] made, as far as nothing is in them.
    pub fn remove_folders(&self, root: &Root, new: &[String]) {
        for folder in new.iter().rev() {
            let (outer, name) = super::split(folder);
            let Ok(outer) = self.open_beneath(root, outer, kernel::FOLDER) else { return };
            if rustix::fs::unlinkat(&outer, name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }

    /// The hidden folder, made if it is missing.
    pub fn hidden(&self, root: &Root) -> io::Result<Arc<OwnedFd>> {
        match rustix::fs::mkdirat(&root.folder, HIDDEN_FOLDER, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Arc::new(rustix::fs::openat(&root.folder, HIDDEN_FOLDER, kernel::FOLDER, Mode::empty())?))
    }
}

fn walk(root: &Root, path: &str, durable: bool) -> io::Result<Made> {
    let mut new = Vec::new();
    let mut folder: Option<OwnedFd> = None;
    let mut end = 0;
    for name in path.split('/') {
        end += name.len() + usize::from(end > 0);
        let outer = folder.as_ref().map_or(root.folder.as_fd(), |folder| folder.as_fd());
        let opened = rustix::fs::openat(outer, name, kernel::FOLDER, Mode::empty());
        let inner = match opened {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(outer, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                    Ok(()) => new.push(path[..end].to_owned()),
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                if durable {
                    sync(outer)?;
                }
                rustix::fs::openat(outer, name, kernel::FOLDER, Mode::empty())?
            }
            opened => opened?,
        };
        folder = Some(inner);
    }
    folder.map(|folder| Made { folder, new }).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Has the entries of a folder on disk. A folder opened to work in cannot be synced itself.
pub fn sync(folder: impl AsFd) -> io::Result<()> {
    let readable =
        rustix::fs::openat(folder, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::fsync(&readable)?)
}
