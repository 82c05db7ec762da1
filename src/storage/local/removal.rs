//! Taking files away: one file if it is still the one that is meant, and at boot all that a crash left in the
//! hidden folder.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Disk, HIDDEN_FOLDER, blocking, check_path, fault, folders, identity_of, means_absent, split};
use crate::fault::Fault;
use crate::files::port::Identity;
use crate::kernel::{self, Entry};

pub async fn remove(disk: &Arc<Disk>, path: &str, expected: &Identity, durable: bool) -> Result<bool, Fault> {
    check_path(path)?;
    let failed = |error| fault(format!("remove {path:?}"), error);
    let (folder, name) = split(path);
    let folder = match disk.open_beneath(&disk.root(), folder, kernel::FOLDER) {
        Ok(folder) => folder,
        Err(error) if means_absent(&error) => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let removed = take(disk, &folder, name, expected).map_err(failed)?;
    if removed && durable {
        blocking("have the folder on disk", move || folders::sync(folder)).await?;
    }
    Ok(removed)
}

/// Looks, moves the file aside, looks again, and only then unlinks: what another program put there between the
/// first look and the move goes back to its path.
fn take(disk: &Disk, folder: &OwnedFd, name: &str, expected: &Identity) -> io::Result<bool> {
    let target = Entry::new(folder, name);
    match look(target)? {
        Some(found) if identity_of(&found) == *expected => {}
        _ => return Ok(false),
    }
    let hidden = disk.hidden(&disk.root())?;
    let aside_name = uuid::Uuid::now_v7().simple().to_string();
    let aside = Entry::new(&hidden, &aside_name);
    match rustix::fs::renameat(target.folder, target.name, aside.folder, aside.name) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(false),
        // Another filesystem is mounted there: no hidden folder is at hand, so only the first look counts.
        Err(Errno::XDEV) => {
            rustix::fs::unlinkat(target.folder, target.name, AtFlags::empty())?;
            return Ok(true);
        }
        Err(error) => return Err(error.into()),
    }
    if look(aside)?.is_some_and(|found| is_same_but_renamed(&found, expected)) {
        rustix::fs::unlinkat(aside.folder, aside.name, AtFlags::empty())?;
        return Ok(true);
    }
    match kernel::rename_new(aside, target) {
        Ok(()) => {}
        // A still newer one took the path: it would have replaced this one too.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            rustix::fs::unlinkat(aside.folder, aside.name, AtFlags::empty())?;
        }
        Err(error) => return Err(error),
    }
    Ok(false)
}

fn look(entry: Entry<'_>) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(entry.folder, entry.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A rename changes the ctime and nothing else.
fn is_same_but_renamed(found: &Stat, expected: &Identity) -> bool {
    match (identity_of(found), expected) {
        (
            Identity::Local { device, inode, size, mtime, .. },
            Identity::Local { device: device_then, inode: inode_then, size: size_then, mtime: mtime_then, .. },
        ) => (device, inode, size, mtime) == (*device_then, *inode_then, *size_then, *mtime_then),
        _ => false,
    }
}

/// Empties the hidden folder and removes it. Nothing in it outlives the process that made it.
pub fn sweep(disk: &Disk) -> io::Result<()> {
    let root = disk.root();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let hidden = match rustix::fs::openat(&root.folder, HIDDEN_FOLDER, flags, Mode::empty()) {
        Ok(hidden) => hidden,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in Dir::read_from(&hidden)? {
        let entry = entry?;
        if entry.file_type() != FileType::Directory {
            rustix::fs::unlinkat(hidden.as_fd(), entry.file_name(), AtFlags::empty())?;
        }
    }
    match rustix::fs::unlinkat(&root.folder, HIDDEN_FOLDER, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
