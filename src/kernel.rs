//! What only Linux has, each beside the portable way that takes over where the kernel or the filesystem says
//! no (a leaf). Callers use the plain functions; [`portable`] is public so that tests run both ways. What a
//! storage or the spool does with them begins in `storage` and `staging`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// An entry of a folder: the open folder, and a name (or a path) that counts from it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub folder: BorrowedFd<'a>,
    pub name: &'a Path,
}

impl<'a> Entry<'a> {
    pub fn new(folder: &'a impl AsFd, name: &'a (impl AsRef<Path> + ?Sized)) -> Self {
        Self { folder: folder.as_fd(), name: name.as_ref() }
    }

    /// A path as the process sees it.
    pub fn path(path: &'a Path) -> Self {
        Self { folder: CWD, name: path }
    }
}

/// Where an open file or folder lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whereabouts {
    pub device: u64,
    pub inode: u64,
    /// The mount; `None` where the kernel does not tell. One filesystem can be mounted twice, and a rename
    /// does not go from one mount to the other.
    pub mount: Option<u64>,
}

impl Whereabouts {
    /// Whether a file here can be renamed to there.
    pub fn can_be_renamed_to(&self, there: &Whereabouts) -> bool {
        self.device == there.device && self.mount == there.mount
    }
}

/// Copies `length` bytes without taking them through this process, where the filesystems allow it; blocks do
/// not even move where they can be shared. A source that is shorter is an error. Neither file's own offset
/// counts or changes.
pub fn copy_range(from: &File, from_offset: u64, to: &File, to_offset: u64, length: u64) -> io::Result<()> {
    let copied = native::copy_range(from, from_offset, to, to_offset, length)?;
    portable::copy_range(from, from_offset + copied, to, to_offset + copied, length - copied)
}

/// Lets two entries change places at once. [`io::ErrorKind::Unsupported`] where that cannot be done: then there
/// is [`portable::replace`].
pub fn exchange(one: Entry<'_>, other: Entry<'_>) -> io::Result<()> {
    native::exchange(one, other)
}

/// Renames, but never over something: [`io::ErrorKind::AlreadyExists`].
pub fn rename_new(from: Entry<'_>, to: Entry<'_>) -> io::Result<()> {
    match native::rename_new(from, to) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => portable::rename_new(from, to),
        answer => answer,
    }
}

/// Opens `path` under `root`. It cannot lead out of there, and no part of it may be a symlink: `ELOOP` or `ENOTDIR`.
pub fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    match native::open_beneath(root, path, flags, mode) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => portable::open_beneath(root, path, flags, mode),
        answer => answer,
    }
}

/// Flags that open a folder to work in it, with as few permissions as the system can do with.
#[cfg(target_os = "linux")]
pub const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where `file` lies, in one call.
pub fn whereabouts(file: impl AsFd) -> io::Result<Whereabouts> {
    native::whereabouts(file.as_fd())
}

/// Reads what is in the page cache at `offset` and no more, so that it never waits for a disk. `None` where this
/// cannot be asked; `Some(0)` when nothing is cached or the file ends.
pub fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
    native::read_cached(file, buffer, offset)
}

/// Whether `file` lies in memory alone, so that reading it waits for no disk.
pub fn is_in_memory(file: &File) -> bool {
    native::is_in_memory(file)
}

/// A path that opens the same file for this process and its children, wherever the file's own path leads by now, as long as it is held
/// open here. `None` where the system has none.
pub fn path_of(file: &File) -> Option<PathBuf> {
    native::path_of(file)
}

/// Whether the system or the filesystem does not know how, as distinct from having tried.
fn is_unsupported(error: Errno) -> bool {
    [Errno::NOSYS, Errno::INVAL, Errno::OPNOTSUPP, Errno::NOTSUP].contains(&error)
}

#[cfg(target_os = "linux")]
mod native {
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{AtFlags, RenameFlags, ResolveFlags, StatxFlags};
    use rustix::io::ReadWriteFlags;
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    use super::*;

    /// One call copies no more, so that a thread is not gone for minutes and can be counted on to come back.
    const COPY_AT_ONCE: u64 = 1 << 30;

    /// How much was copied; less than `length` where the rest must be tried another way.
    pub fn copy_range(from: &File, from_offset: u64, to: &File, to_offset: u64, length: u64) -> io::Result<u64> {
        let mut copied = 0;
        while copied < length {
            let (mut read_at, mut write_at) = (from_offset + copied, to_offset + copied);
            let ask = usize::try_from((length - copied).min(COPY_AT_ONCE)).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), ask) {
                Ok(0) => break,
                Ok(count) => copied += count as u64,
                Err(Errno::INTR) => {}
                // Two filesystems, a kernel or a sandbox without the call, a file that it does not work on.
                Err(error) if is_unsupported(error) || [Errno::XDEV, Errno::PERM, Errno::BADF].contains(&error) => {
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(copied)
    }

    pub fn exchange(one: Entry<'_>, other: Entry<'_>) -> io::Result<()> {
        rename_with(one, other, RenameFlags::EXCHANGE)
    }

    pub fn rename_new(from: Entry<'_>, to: Entry<'_>) -> io::Result<()> {
        rename_with(from, to, RenameFlags::NOREPLACE)
    }

    fn rename_with(from: Entry<'_>, to: Entry<'_>, flags: RenameFlags) -> io::Result<()> {
        match rustix::fs::renameat_with(from.folder, from.name, to.folder, to.name, flags) {
            Err(error) if is_unsupported(error) => Err(io::ErrorKind::Unsupported.into()),
            answer => Ok(answer?),
        }
    }

    pub fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        static MISSING: AtomicBool = AtomicBool::new(false);
        if MISSING.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(root, path, flags, mode, resolve) {
                // EAGAIN: a folder on the way was renamed meanwhile.
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(Errno::NOSYS) => {
                    MISSING.store(true, Ordering::Relaxed);
                    return Err(io::ErrorKind::Unsupported.into());
                }
                // Container sandboxes answer EPERM to calls that they do not know; the walk gives the true answer.
                Err(Errno::PERM) => return Err(io::ErrorKind::Unsupported.into()),
                answer => return Ok(answer?),
            }
        }
    }

    pub fn whereabouts(file: BorrowedFd<'_>) -> io::Result<Whereabouts> {
        match rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID) {
            Ok(found) => Ok(Whereabouts {
                device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
                mount: (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id),
            }),
            Err(Errno::NOSYS | Errno::PERM) => portable::whereabouts(file),
            Err(error) => Err(error.into()),
        }
    }

    pub fn is_in_memory(file: &File) -> bool {
        /// `TMPFS_MAGIC` of linux/magic.h.
        const TMPFS: u64 = 0x0102_1994;
        rustix::fs::fstatfs(file).is_ok_and(|filesystem| u64::try_from(filesystem.f_type) == Ok(TMPFS))
    }

    /// By this process's number and not as `self`: a child that opens it is another one.
    pub fn path_of(file: &File) -> Option<PathBuf> {
        // What a process that cannot be dumped (for it has capabilities of its own) has open, not even its children may see.
        static IS_THERE: LazyLock<bool> = LazyLock::new(|| {
            Path::new("/proc/self/fd").is_dir() && matches!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable))
        });
        let path = || PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
        IS_THERE.then(path)
    }

    pub fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Some(0)),
            Err(error) if is_unsupported(error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod native {
    use super::*;

    pub fn copy_range(_: &File, _: u64, _: &File, _: u64, _: u64) -> io::Result<u64> {
        Ok(0)
    }

    pub fn exchange(_: Entry<'_>, _: Entry<'_>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn rename_new(_: Entry<'_>, _: Entry<'_>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn open_beneath(_: BorrowedFd<'_>, _: &Path, _: OFlags, _: Mode) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn whereabouts(file: BorrowedFd<'_>) -> io::Result<Whereabouts> {
        portable::whereabouts(file)
    }

    pub fn is_in_memory(_: &File) -> bool {
        false
    }

    pub fn path_of(_: &File) -> Option<PathBuf> {
        None
    }

    pub fn read_cached(_: &File, _: &mut [u8], _: u64) -> io::Result<Option<usize>> {
        Ok(None)
    }
}

/// The same with what POSIX has.
pub mod portable {
    use std::os::unix::fs::FileExt;
    use std::path::Component;

    use rustix::fs::AtFlags;

    use super::*;

    const COPY_BUFFER: usize = 256 << 10;

    pub fn copy_range(
        from: &File,
        mut from_offset: u64,
        to: &File,
        mut to_offset: u64,
        mut length: u64,
    ) -> io::Result<()> {
        let mut buffer = vec![0; usize::try_from(length).map_or(COPY_BUFFER, |length| length.min(COPY_BUFFER))];
        while length > 0 {
            let ask = usize::try_from(length).map_or(buffer.len(), |length| length.min(buffer.len()));
            let count = match from.read_at(&mut buffer[..ask], from_offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            to.write_all_at(&buffer[..count], to_offset)?;
            from_offset += count as u64;
            to_offset += count as u64;
            length -= count as u64;
        }
        Ok(())
    }

    /// Puts `from` in the place of `to` and keeps what was there as `aside`. What another program puts at `to`
    /// between the two steps is lost; [`exchange`] has no such gap.
    pub fn replace(from: Entry<'_>, to: Entry<'_>, aside: Entry<'_>) -> io::Result<()> {
        rustix::fs::linkat(to.folder, to.name, aside.folder, aside.name, AtFlags::empty())?;
        let renamed = rustix::fs::renameat(from.folder, from.name, to.folder, to.name);
        if renamed.is_err() {
            let _ = rustix::fs::unlinkat(aside.folder, aside.name, AtFlags::empty());
        }
        Ok(renamed?)
    }

    /// A link refuses to replace, as a rename does not.
    pub fn rename_new(from: Entry<'_>, to: Entry<'_>) -> io::Result<()> {
        rustix::fs::linkat(from.folder, from.name, to.folder, to.name, AtFlags::empty())?;
        Ok(rustix::fs::unlinkat(from.folder, from.name, AtFlags::empty())?)
    }

    /// Goes down folder by folder and holds each open, so that none can be changed for a symlink meanwhile.
    pub fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let mut parts = path.components().filter(|part| *part != Component::CurDir).peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else { return Err(Errno::XDEV.into()) };
            let here = folder.as_ref().map_or(root, |folder| folder.as_fd());
            if parts.peek().is_none() {
                return Ok(rustix::fs::openat(here, name, flags | OFlags::NOFOLLOW, mode)?);
            }
            folder = Some(rustix::fs::openat(here, name, FOLDER, Mode::empty())?);
        }
        Ok(rustix::fs::openat(root, c".", flags, mode)?)
    }

    pub fn whereabouts(file: BorrowedFd<'_>) -> io::Result<Whereabouts> {
        let found = rustix::fs::fstat(file)?;
        Ok(Whereabouts { device: found.st_dev, inode: found.st_ino, mount: None })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    type CopyRange = fn(&File, u64, &File, u64, u64) -> io::Result<()>;
    type RenameNew = fn(Entry<'_>, Entry<'_>) -> io::Result<()>;
    type OpenBeneath = fn(BorrowedFd<'_>, &Path, OFlags, Mode) -> io::Result<OwnedFd>;

    const COPY_RANGES: [CopyRange; 2] = [copy_range, portable::copy_range];
    const RENAMES: [RenameNew; 2] = [rename_new, portable::rename_new];
    const OPENS: [OpenBeneath; 2] = [open_beneath, portable::open_beneath];

    fn file(path: &Path, content: &[u8]) -> File {
        fs::write(path, content).unwrap();
        File::options().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn ranges_are_copied_to_where_they_belong() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
        for copy in COPY_RANGES {
            let from = file(&folder.path().join("from"), &content);
            let to = file(&folder.path().join("to"), b"..");
            copy(&from, 5, &to, 1, 600_001).unwrap();
            let copied = fs::read(folder.path().join("to")).unwrap();
            assert_eq!(copied.len(), 600_002);
            assert_eq!(copied[0], b'.');
            assert!(copied[1..] == content[5..600_006]);
        }
    }

    #[test]
    fn ranges_are_copied_from_one_filesystem_to_another() {
        let (disk, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let content = vec![7; 300_000];
        let from = file(&disk.path().join("from"), &content);
        let to = file(&memory.path().join("to"), b"");
        copy_range(&from, 0, &to, 0, 300_000).unwrap();
        assert!(fs::read(memory.path().join("to")).unwrap() == content);
        assert!(!whereabouts(&from).unwrap().can_be_renamed_to(&whereabouts(&to).unwrap()));
    }

    #[test]
    fn a_source_that_is_too_short_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for copy in COPY_RANGES {
            let from = file(&folder.path().join("from"), b"0123456789");
            let to = file(&folder.path().join("to"), b"");
            assert_eq!(copy(&from, 5, &to, 0, 6).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            copy(&from, 10, &to, 0, 0).unwrap();
        }
    }

    #[test]
    fn a_rename_to_a_new_name_never_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        for rename in RENAMES {
            fs::write(&one, "one").unwrap();
            fs::write(&other, "other").unwrap();
            let error = rename(Entry::path(&one), Entry::path(&other)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&other).unwrap(), b"other");
            fs::remove_file(&other).unwrap();
            rename(Entry::path(&one), Entry::path(&other)).unwrap();
            assert_eq!(fs::read(&other).unwrap(), b"one");
            assert!(!one.exists());
        }
    }

    #[test]
    fn what_is_replaced_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other, aside, spare] = ["one", "other", "aside", "spare"].map(|name| folder.path().join(name));
        fs::write(&one, "one").unwrap();
        fs::write(&other, "other").unwrap();
        exchange(Entry::path(&one), Entry::path(&other)).unwrap();
        assert_eq!((fs::read(&one).unwrap(), fs::read(&other).unwrap()), (b"other".to_vec(), b"one".to_vec()));

        portable::replace(Entry::path(&one), Entry::path(&other), Entry::path(&aside)).unwrap();
        assert_eq!((fs::read(&other).unwrap(), fs::read(&aside).unwrap()), (b"other".to_vec(), b"one".to_vec()));
        assert!(!one.exists());
        let error = portable::replace(Entry::path(&one), Entry::path(&other), Entry::path(&spare)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!spare.exists());
        assert_eq!(fs::read(&other).unwrap(), b"other");
    }

    #[test]
    fn nothing_above_the_root_or_behind_a_symlink_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root_path = folder.path().join("root");
        fs::create_dir_all(root_path.join("inner")).unwrap();
        fs::write(root_path.join("inner/file"), "inner").unwrap();
        fs::write(folder.path().join("outside"), "outside").unwrap();
        symlink("inner", root_path.join("folder-link")).unwrap();
        symlink("inner/file", root_path.join("file-link")).unwrap();
        symlink(folder.path(), root_path.join("way-out")).unwrap();
        let root = File::open(&root_path).unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        for open in OPENS {
            let tries = |path: &str| open(root.as_fd(), Path::new(path), flags, Mode::empty());
            assert_eq!(io::read_to_string(File::from(tries("inner/file").unwrap())).unwrap(), "inner");
            assert!(File::from(tries(".").unwrap()).metadata().unwrap().is_dir());
            let absolute = root_path.join("inner/file").display().to_string();
            for bad in
                ["../outside", "inner/../../outside", "folder-link/file", "file-link", "way-out/outside", &absolute]
            {
                assert!(tries(bad).is_err(), "{bad}");
            }
            assert_eq!(tries("inner/none").unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn what_was_just_written_is_read_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder.path().join("file"), b"0123456789");
        let mut buffer = [0; 8];
        if let Some(count) = read_cached(&file, &mut buffer, 4).unwrap() {
            assert_eq!(&buffer[..count], b"456789");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_to_an_open_file_outlives_the_files_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = file(&path, b"0123456789");
        let to_open = path_of(&file).expect("there is /proc");
        fs::remove_file(&path).unwrap();
        assert_eq!(fs::read(&to_open).unwrap(), b"0123456789");
        let child = std::process::Command::new("cat").arg(&to_open).output().unwrap();
        assert_eq!(child.stdout, b"0123456789");
        drop(file);
    }
}
