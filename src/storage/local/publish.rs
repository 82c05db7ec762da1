//! Publication on a local disk: the staged file itself is renamed to its path where it lies on the same
//! filesystem, else a copy of it in the hidden folder. What was at the path is kept beside until the catalog
//! has spoken.
//!
//! A new 10 kB file costs five system calls: open the folder, look where it and the file lie, rename, look at
//! the file.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Calls, Disk, blocking, check_path, fault, folders, identity_of, is_missing, split};
use crate::fault::{Fault, FaultKind};
use crate::files::port::{Identity, Mark, Placed, Prepared, Staged, Version};
use crate::kernel::{self, Entry};

/// Folders and files come and go under another program's hands; after so many tries it is not a race any more.
const TRIES: usize = 8;

/// What is renamed into place.
enum Source {
    /// The staged file, from where it lies.
    Staged { path: PathBuf, file: Arc<File> },
    /// A copy in the hidden folder. The staged file stays where it is.
    Copy { hidden: Arc<OwnedFd>, name: String, file: File },
}

impl Source {
    fn entry(&self) -> Entry<'_> {
        match self {
            Source::Staged { path, .. } => Entry::path(path),
            Source::Copy { hidden, name, .. } => Entry::new(hidden, name),
        }
    }

    fn file(&self) -> &File {
        match self {
            Source::Staged { file, .. } => file,
            Source::Copy { file, .. } => file,
        }
    }

    /// Removes a copy that is not at its path; the staged file is not ours to remove.
    fn remove_copy(&self) {
        if let Source::Copy { hidden, name, .. } = self {
            remove(Entry::new(hidden, name), "a copy");
        }
    }
}

/// Behind [`Prepared::inner`]. Dropping it before it was placed leaves no trace.
struct Ready {
    disk: Arc<Disk>,
    path: String,
    durable: bool,
    /// `None` while it is not made yet, and once it is placed.
    source: Option<Source>,
    folder: Arc<OwnedFd>,
    /// Folders that were made for this file; none once it is placed.
    new_folders: Vec<String>,
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            source.remove_copy();
        }
        self.disk.remove_folders(&self.disk.root(), &self.new_folders);
    }
}

/// What was at the path before.
enum Displaced {
    Nothing,
    /// It lies where the source was.
    Exchanged,
    /// It lies in the hidden folder.
    Aside {
        hidden: Arc<OwnedFd>,
        name: String,
    },
    /// A filesystem without exchange and links: it is gone.
    Lost,
}

/// Behind [`Placed::inner`].
struct Done {
    disk: Arc<Disk>,
    path: String,
    durable: bool,
    source: Source,
    folder: Arc<OwnedFd>,
    new_folders: Vec<String>,
    displaced: Displaced,
}

// ---------------------------------------------------------------------------------------------------------
// Prepare

pub async fn prepare(
    disk: &Arc<Disk>,
    staged: &Staged,
    path: &str,
    version: &Version,
    durable: bool,
) -> Result<Prepared, Fault> {
    check_path(path)?;
    let failed = |error| fault(format!("prepare {path:?}"), error);
    let made = make_folders(disk, split(path).0, durable).map_err(failed)?;
    let mut ready = Ready {
        disk: disk.clone(),
        path: path.to_owned(),
        durable,
        source: None,
        folder: Arc::new(made.folder),
        new_folders: made.new,
    };
    let here = kernel::whereabouts(&staged.file).map_err(failed)?;
    let there = kernel::whereabouts(&ready.folder).map_err(failed)?;
    let (inode, source) = if here.can_be_renamed_to(&there) {
        if durable {
            let file = staged.file.clone();
            blocking("have the staged file on disk", move || file.sync_data()).await?;
        }
        (here.inode, Source::Staged { path: staged.path.clone(), file: staged.file.clone() })
    } else {
        let (disk, staged) = (disk.clone(), staged.clone());
        let copied = move || copy(&disk, &staged, there, durable);
        blocking("copy the staged file into the storage", copied).await?
    };
    ready.source = Some(source);
    let mark = Mark::Inode { device: there.device, inode };
    Ok(Prepared { path: path.to_owned(), version: version.clone(), mark, inner: Box::new(ready) })
}

/// Makes the folders, also while another publication's folders are being removed, or the root was.
pub fn make_folders(disk: &Disk, folder: &str, durable: bool) -> io::Result<folders::Made> {
    let mut root = disk.root();
    for _ in 1..TRIES {
        match disk.make_folders(&root, folder, durable) {
            Err(error) if is_missing(&error) => root = disk.follow_root()?,
            made => return made,
        }
    }
    disk.make_folders(&root, folder, durable)
}

/// A copy in the hidden folder, and its inode.
fn copy(disk: &Disk, staged: &Staged, there: kernel::Whereabouts, durable: bool) -> io::Result<(u64, Source)> {
    let hidden = disk.hidden(&disk.root())?;
    if !kernel::whereabouts(&hidden)?.can_be_renamed_to(&there) {
        let reason = "another filesystem is mounted under the storage's root; give it a storage of its own";
        return Err(io::Error::new(io::ErrorKind::CrossesDevices, reason));
    }
    let name = uuid::Uuid::now_v7().simple().to_string();
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&staged.file)?.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(&hidden, &name, flags, mode)?);
    let source = Source::Copy { hidden, name, file };
    let copied = match disk.calls {
        Calls::Native => kernel::copy_range(&staged.file, 0, source.file(), 0, staged.size),
        Calls::Portable => kernel::portable::copy_range(&staged.file, 0, source.file(), 0, staged.size),
    };
    let synced = copied.and_then(|()| if durable { source.file().sync_data() } else { Ok(()) });
    match synced.and_then(|()| Ok(rustix::fs::fstat(source.file())?.st_ino)) {
        Ok(inode) => Ok((inode, source)),
        Err(error) => {
            source.remove_copy();
            Err(error)
        }
    }
}

// ---------------------------------------------------------------------------------------------------------
// Place

pub async fn place(prepared: Prepared, expected_absent: bool) -> Result<Placed, Fault> {
    let mut ready = inner::<Ready>(prepared.inner)?;
    let failed = |error| fault(format!("place {:?}", prepared.path), error);
    let Some(source) = ready.source.take() else {
        return Err(Fault::new(FaultKind::Broken, "place a file that was placed before"));
    };
    let displaced = match put(&mut ready, &source, expected_absent) {
        Ok(displaced) => displaced,
        Err(error) => {
            let taken = error.kind() == io::ErrorKind::AlreadyExists;
            ready.source = Some(source);
            let mut fault = failed(error);
            if taken {
                // What may be displaced and was not is a folder.
                fault.kind = if expected_absent { FaultKind::Mismatch } else { FaultKind::Obstructed };
            }
            return Err(fault);
        }
    };
    let done = Done {
        disk: ready.disk.clone(),
        path: ready.path.clone(),
        durable: ready.durable,
        source,
        folder: ready.folder.clone(),
        new_folders: std::mem::take(&mut ready.new_folders),
        displaced,
    };
    let identity = match confirm(&done).await {
        Ok(identity) => identity,
        Err(fault) => {
            take_back(&done).map_err(failed)?;
            return Err(fault);
        }
    };
    Ok(Placed { path: prepared.path, identity, inner: Box::new(done) })
}

/// Looks at the file under its new name, and has the name on disk if that is asked for.
async fn confirm(done: &Done) -> Result<Identity, Fault> {
    let failed = |error| fault(format!("place {:?}", done.path), error);
    let found = rustix::fs::fstat(done.source.file()).map_err(|error| failed(error.into()))?;
    if done.durable {
        let folder = done.folder.clone();
        blocking("have the folder on disk", move || folders::sync(folder)).await?;
    }
    Ok(identity_of(&found))
}

/// Renames the source to its path. What is there is displaced, or with `expected_absent` an error.
fn put(ready: &mut Ready, source: &Source, expected_absent: bool) -> io::Result<Displaced> {
    for _ in 0..TRIES {
        let target = Entry::new(&ready.folder, split(&ready.path).1);
        match rename_new(ready.disk.calls, source.entry(), target) {
            Ok(()) => return Ok(Displaced::Nothing),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !expected_absent => {
                match displace(&ready.disk, source.entry(), target) {
                    // It went away in between.
                    Err(error) if is_missing(&error) => {}
                    displaced => return displaced,
                }
            }
            // The folder was removed after `prepare`, with the last other file of the tenant.
            Err(error) if is_missing(&error) => {
                let made = make_folders(&ready.disk, split(&ready.path).0, ready.durable)?;
                ready.folder = Arc::new(made.folder);
                ready.new_folders.extend(made.new);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn rename_new(calls: Calls, from: Entry<'_>, to: Entry<'_>) -> io::Result<()> {
    let renamed = match calls {
        Calls::Native => kernel::rename_new(from, to),
        Calls::Portable => kernel::portable::rename_new(from, to),
    };
    match renamed {
        // A filesystem without links either. The path's gate keeps our own writers out of the gap.
        Err(error) if has_no_links(&error) => match rustix::fs::statat(to.folder, to.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(rustix::fs::renameat(from.folder, from.name, to.folder, to.name)?),
            Err(error) => Err(error.into()),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        },
        renamed => renamed,
    }
}

fn has_no_links(error: &io::Error) -> bool {
    let answers = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::MLINK];
    Errno::from_io_error(error).is_some_and(|error| answers.contains(&error))
}

/// Puts `from` in the place of `to`, which is there, and keeps what `to` was. A folder is never displaced.
fn displace(disk: &Disk, from: Entry<'_>, to: Entry<'_>) -> io::Result<Displaced> {
    let exchanged = match disk.calls {
        Calls::Native => kernel::exchange(from, to),
        Calls::Portable => Err(io::ErrorKind::Unsupported.into()),
    };
    match exchanged {
        Ok(()) if is_folder(from)? => {
            kernel::exchange(from, to)?;
            Err(io::ErrorKind::AlreadyExists.into())
        }
        Ok(()) => Ok(Displaced::Exchanged),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => displace_by_link(disk, from, to),
        Err(error) => Err(error),
    }
}

fn displace_by_link(disk: &Disk, from: Entry<'_>, to: Entry<'_>) -> io::Result<Displaced> {
    if is_folder(to)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let hidden = disk.hidden(&disk.root())?;
    let name = uuid::Uuid::now_v7().simple().to_string();
    match kernel::portable::replace(from, to, Entry::new(&hidden, &name)) {
        Ok(()) => Ok(Displaced::Aside { hidden, name }),
        Err(error) if has_no_links(&error) => {
            rustix::fs::renameat(from.folder, from.name, to.folder, to.name)?;
            Ok(Displaced::Lost)
        }
        Err(error) => Err(error),
    }
}

fn is_folder(entry: Entry<'_>) -> io::Result<bool> {
    let found = rustix::fs::statat(entry.folder, entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

// ---------------------------------------------------------------------------------------------------------
// Undo and settle

pub async fn undo(placed: Placed) -> Result<bool, Fault> {
    let done = inner::<Done>(placed.inner)?;
    let failed = |error| fault(format!("take back {:?}", done.path), error);
    let undone = take_back(&done).map_err(failed)?;
    if undone && done.durable {
        let folder = done.folder.clone();
        blocking("have the folder on disk", move || folders::sync(folder)).await?;
    }
    Ok(undone)
}

/// The staged file is back in staging, and what it displaced is back at the path. A file that another program
/// put in the place of ours meanwhile stays.
fn take_back(done: &Done) -> io::Result<bool> {
    let target = Entry::new(&done.folder, split(&done.path).1);
    let source = done.source.entry();
    if !is_ours(target, done.source.file())? {
        let_go(done);
        return Ok(true);
    }
    match &done.displaced {
        Displaced::Lost => return Ok(false),
        Displaced::Nothing => {
            match done.source {
                Source::Staged { .. } => rename_new(done.disk.calls, target, source)?,
                Source::Copy { .. } => rustix::fs::unlinkat(target.folder, target.name, AtFlags::empty())?,
            }
            done.disk.remove_folders(&done.disk.root(), &done.new_folders);
        }
        Displaced::Exchanged => {
            kernel::exchange(source, target)?;
            done.source.remove_copy();
        }
        Displaced::Aside { hidden, name } => {
            if let Source::Staged { .. } = done.source {
                rustix::fs::linkat(target.folder, target.name, source.folder, source.name, AtFlags::empty())?;
            }
            rustix::fs::renameat(hidden, name, target.folder, target.name)?;
        }
    }
    Ok(true)
}

fn is_ours(target: Entry<'_>, file: &File) -> io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::statat(target.folder, target.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub fn settle(placed: Placed) {
    if let Ok(done) = inner::<Done>(placed.inner) {
        let_go(&done);
    }
}

fn let_go(done: &Done) {
    match &done.displaced {
        Displaced::Nothing | Displaced::Lost => {}
        Displaced::Exchanged => remove(done.source.entry(), "a displaced file"),
        Displaced::Aside { hidden, name } => remove(Entry::new(hidden, name), "a displaced file"),
    }
}

/// Removes what nobody waits for: a failure leaves litter for the next sweep, and is told to the operator.
fn remove(entry: Entry<'_>, what: &str) {
    match rustix::fs::unlinkat(entry.folder, entry.name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => tracing::warn!(%error, name = %entry.name.display(), "{what} could not be removed"),
    }
}

fn inner<T: 'static>(inner: Box<dyn std::any::Any + Send>) -> Result<Box<T>, Fault> {
    inner.downcast().map_err(|_| Fault::new(FaultKind::Broken, "go on with a publication of another storage"))
}
