//! Looking round in a folder: pages read on the blocking pool, one at a time and as they are asked for, so that
//! neither a thread nor memory is held for a folder of a million files.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, BoxStream, StreamExt};
use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;

use super::{Disk, blocking, check_folder, fault, found_of, is_regular, means_absent, nanoseconds};
use crate::fault::Fault;
use crate::files::port::{FolderMark, Found};
use crate::kernel;

/// Entries looked at before the reader is served.
const PAGE: usize = 256;

/// Some filesystems keep time in ticks of up to 10 ms, FAT even 2 s: a change within the same tick as the last
/// leaves the folder's times as they are. A mark taken so shortly after a change equals no other.
const UNSURE: i64 = 20_000_000;

pub async fn files(disk: &Arc<Disk>, folder: &str) -> Result<BoxStream<'static, Result<Found, Fault>>, Fault> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    list(disk, folder, move |folder, name, kind| {
        if !matches!(kind, FileType::RegularFile | FileType::Unknown) {
            return Ok(None);
        }
        let found = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(is_regular(&found).then(|| found_of(&format!("{prefix}{name}"), &found)))
    })
    .await
}

pub async fn folders(disk: &Arc<Disk>, folder: &str) -> Result<BoxStream<'static, Result<String, Fault>>, Fault> {
    list(disk, folder, |folder, name, kind| {
        let kind = match kind {
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => FileType::from_raw_mode(found.st_mode),
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            kind => kind,
        };
        Ok((kind == FileType::Directory).then(|| name.to_owned()))
    })
    .await
}

/// A folder while it is being read: the entries' names come from `entries`, what they are from `folder`.
struct Reading<Look> {
    folder: OwnedFd,
    entries: Dir,
    look: Look,
    path: String,
}

async fn list<T, Look>(
    disk: &Arc<Disk>,
    folder: &str,
    look: Look,
) -> Result<BoxStream<'static, Result<T, Fault>>, Fault>
where
    T: Send + 'static,
    Look: Fn(&OwnedFd, &str, FileType) -> io::Result<Option<T>> + Send + 'static,
{
    check_folder(folder)?;
    let (disk, path) = (disk.clone(), folder.to_owned());
    let opened = blocking("list a folder", move || open(&disk, path, look)).await?;
    let pages = stream::unfold(opened, |reading| async move {
        let mut reading = reading?;
        let read = blocking("list a folder", move || Ok((next_page(&mut reading), reading))).await;
        match read {
            Ok((Ok(page), _)) if page.is_empty() => None,
            Ok((Ok(page), reading)) => Some((page.into_iter().map(Ok).collect(), Some(reading))),
            Ok((Err(error), reading)) => {
                Some((vec![Err(fault(format!("list the folder {:?}", reading.path), error))], None))
            }
            Err(fault) => Some((vec![Err(fault)], None)),
        }
    });
    Ok(pages.flat_map(|page: Vec<Result<T, Fault>>| stream::iter(page)).boxed())
}

/// `None` where there is no such folder.
fn open<Look>(disk: &Disk, path: String, look: Look) -> io::Result<Option<Reading<Look>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match disk.follow_root().and_then(|root| disk.open_beneath(&root, &path, flags)) {
        Ok(folder) => folder,
        Err(error) if means_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let entries = Dir::read_from(&folder)?;
    Ok(Some(Reading { folder, entries, look, path }))
}

/// Up to a page of what `look` accepts; empty only at the end.
fn next_page<T, Look>(reading: &mut Reading<Look>) -> io::Result<Vec<T>>
where
    Look: Fn(&OwnedFd, &str, FileType) -> io::Result<Option<T>>,
{
    let mut page = Vec::new();
    while page.len() < PAGE {
        let Some(entry) = reading.entries.read() else { break };
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            let name = entry.file_name().to_string_lossy();
            tracing::warn!(folder = reading.path, %name, "a name that is not UTF-8 is left out");
            continue;
        };
        if !name.starts_with('.') {
            page.extend((reading.look)(&reading.folder, name, entry.file_type())?);
        }
    }
    Ok(page)
}

pub fn mark(disk: &Disk, folder: &str) -> Result<Option<FolderMark>, Fault> {
    check_folder(folder)?;
    let opened = disk.follow_root().and_then(|root| disk.open_beneath(&root, folder, kernel::FOLDER));
    let found = match opened.and_then(|folder| Ok(rustix::fs::fstat(&folder)?)) {
        Ok(found) => found,
        Err(error) if means_absent(&error) => return Ok(None),
        Err(error) => return Err(fault(format!("look at the folder {folder:?}"), error)),
    };
    let mtime = nanoseconds(found.st_mtime, found.st_mtime_nsec);
    let ctime = nanoseconds(found.st_ctime, found.st_ctime_nsec);
    let is_settled = now().saturating_sub(mtime.max(ctime)) > UNSURE;
    Ok(Some(FolderMark { inode: found.st_ino, mtime, ctime: if is_settled { ctime } else { unequal() } }))
}

fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}

/// A time that no folder has, another one each time.
fn unequal() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(i64::MIN);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
