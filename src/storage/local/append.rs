//! The append-only file. How long it is, is the catalog's word: every write goes to the recorded length, and
//! what lies behind it was never acknowledged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::folders::{self, Made};
use super::{Disk, blocking, check_path, fault, identity_of, is_regular, publish, size_of, split};
use crate::fault::{Fault, FaultKind};
use crate::files::FileContent;
use crate::files::port::{AppendFile, AppendSource, Content, Identity};
use crate::kernel::{self, Entry};

/// Larger bodies go to the blocking pool: a write into the page cache takes 25 µs for so much.
const ON_THE_SPOT: usize = 256 << 10;

/// Without `NONBLOCK` a FIFO would wait for a reader.
const FLAGS: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

struct LocalAppendFile {
    file: Arc<File>,
    durable: bool,
}

pub async fn open(
    disk: &Arc<Disk>,
    path: &str,
    expected: Option<(u64, u64)>,
    length: u64,
    durable: bool,
) -> Result<Arc<dyn AppendFile>, Fault> {
    check_path(path)?;
    let failed = |error| fault(format!("open {path:?} to append"), error);
    let (folder, name) = split(path);
    let made = publish::make_folders(disk, folder, durable).map_err(failed)?;
    let file = match take_over(&made, name, expected, length).map_err(failed)? {
        Some(file) => file,
        None if length > 0 => {
            let operation = format!("append to {path:?}: the recorded {length} bytes are gone");
            return Err(Fault::new(FaultKind::Mismatch, operation));
        }
        None => create(&made, name).map_err(failed)?,
    };
    let file = Arc::new(file);
    if durable {
        let file = file.clone();
        blocking("have the append-only file on disk", move || {
            file.sync_data()?;
            folders::sync(made.folder)
        })
        .await?;
    }
    Ok(Arc::new(LocalAppendFile { file, durable }))
}

/// The file that holds the recorded bytes, cut at `length`. Anything else by that name is moved out of the way
/// and kept: it is not ours to delete.
fn take_over(made: &Made, name: &str, expected: Option<(u64, u64)>, length: u64) -> io::Result<Option<File>> {
    match rustix::fs::openat(&made.folder, name, FLAGS, Mode::empty()) {
        Ok(file) => {
            let file = File::from(file);
            let found = rustix::fs::fstat(&file)?;
            // Bytes that were recorded are gone: the caller hears it, and what is left stays where it is.
            if is_shortened(&found, expected, length) {
                return Ok(None);
            }
            // A disk can have another device number after a boot; the path says which disk is meant. An empty
            // file is one that was made for the first append, or has nothing to lose.
            let is_ours = match expected {
                Some((_, inode)) => inode == found.st_ino,
                None => size_of(&found) == 0,
            };
            if is_regular(&found) && is_ours {
                if size_of(&found) > length {
                    file.set_len(length)?;
                }
                return Ok(Some(file));
            }
        }
        Err(Errno::NOENT) => return Ok(None),
        // A symlink, a folder, a socket.
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {}
        Err(error) => return Err(error.into()),
    }
    let aside = format!("{name}.displaced-{}", uuid::Uuid::now_v7().simple());
    kernel::rename_new(Entry::new(&made.folder, name), Entry::new(&made.folder, &aside))?;
    tracing::warn!(name, aside, "what lay in the place of the append-only file was moved aside");
    Ok(None)
}

fn is_shortened(found: &Stat, expected: Option<(u64, u64)>, length: u64) -> bool {
    expected.is_some_and(|(_, inode)| inode == found.st_ino) && size_of(found) < length
}

fn create(made: &Made, name: &str) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
    Ok(File::from(rustix::fs::openat(&made.folder, name, FLAGS | OFlags::CREATE | OFlags::EXCL, mode)?))
}

#[async_trait]
impl AppendFile for LocalAppendFile {
    fn identity(&self) -> Result<Identity, Fault> {
        let found = rustix::fs::fstat(&self.file);
        Ok(identity_of(&found.map_err(|error| fault("look at the append-only file", error.into()))?))
    }

    async fn write_at(&self, offset: u64, data: &AppendSource) -> Result<(), Fault> {
        let (file, durable) = (self.file.clone(), self.durable);
        match data {
            AppendSource::Memory(data) if data.len() <= ON_THE_SPOT && !durable => {
                file.write_all_at(data, offset).map_err(|error| fault("append", error))
            }
            AppendSource::Memory(data) => {
                let data = data.clone();
                blocking("append", move || {
                    file.write_all_at(&data, offset)?;
                    if durable { file.sync_data() } else { Ok(()) }
                })
                .await
            }
            AppendSource::Staged(staged) => {
                let staged = staged.clone();
                blocking("append", move || {
                    kernel::copy_range(&staged.file, 0, &file, offset, staged.size)?;
                    if durable { file.sync_data() } else { Ok(()) }
                })
                .await
            }
        }
    }

    fn content(&self) -> Arc<dyn Content> {
        Arc::new(FileContent::new(self.file.clone()))
    }
}
