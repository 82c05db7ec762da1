//! What a local disk must do beyond the suite: live with other programs in the same folders, and append.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tempfile::TempDir;
use tidegate::fault::FaultKind;
use tidegate::files::port::{AppendFile, AppendSource, Found, Identity, Storage};
use tidegate::storage::local::{Calls, LocalStorage};

use super::{
    Subject, disk, fs as native, fs_from_another_filesystem, fs_portable, fs_portable_from_another_filesystem,
};

fn subjects() -> [Subject; 4] {
    [native(), fs_portable(), fs_from_another_filesystem(), fs_portable_from_another_filesystem()]
}

impl Subject {
    fn root(&self) -> PathBuf {
        self._root.as_ref().unwrap().path().to_owned()
    }
}

async fn listed(storage: &dyn Storage, folder: &str) -> Vec<String> {
    let files: Vec<Found> = storage.list_files(folder).await.unwrap().try_collect().await.unwrap();
    files.into_iter().map(|found| found.path).collect()
}

fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

async fn publish(subject: &Subject, path: &str, content: &[u8]) -> Identity {
    let prepared = subject.storage.prepare(&subject.stage(content), path, &"v".into(), true).await.unwrap();
    let placed = subject.storage.place(prepared, false).await.unwrap();
    let identity = placed.identity.clone();
    subject.storage.settle(placed).await;
    identity
}

#[tokio::test]
async fn only_regular_files_inside_the_root_are_seen() {
    for subject in subjects() {
        let (root, outside) = (subject.root(), disk());
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::create_dir(root.join("tenant")).unwrap();
        fs::write(root.join("tenant/file"), "file").unwrap();
        symlink(outside.path().join("secret"), root.join("tenant/link")).unwrap();
        symlink("file", root.join("tenant/inner-link")).unwrap();
        symlink(outside.path(), root.join("linked-tenant")).unwrap();
        symlink("tenant", root.join("other-name")).unwrap();
        make_fifo(&root.join("tenant/fifo"));
        let _socket = std::os::unix::net::UnixListener::bind(root.join("tenant/socket"));
        fs::write(root.join("tenant/.hidden"), "hidden").unwrap();
        let not_utf8 = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not\xff.json");
        fs::write(root.join("tenant").join(not_utf8), "x").unwrap();

        let storage = &*subject.storage;
        assert_eq!(listed(storage, "tenant").await, ["tenant/file"]);
        let folders: Vec<String> = storage.list_folders("").await.unwrap().try_collect().await.unwrap();
        assert_eq!(folders, ["tenant"]);
        for path in [
            "tenant/link",
            "tenant/inner-link",
            "tenant/fifo",
            "tenant/socket",
            "linked-tenant/secret",
            "other-name/file",
        ] {
            assert!(storage.open(path, None).await.unwrap().is_none(), "{path}");
            assert_eq!(storage.stat(path).await.unwrap(), None, "{path}");
        }
        assert!(listed(storage, "linked-tenant").await.is_empty());
        assert_eq!(storage.folder_mark("linked-tenant").await.unwrap(), None);
        for bad in ["../secret", "/etc/passwd", "tenant/../../x", "", "tenant//file", ".tidegate/x", "a\0b"] {
            assert!(storage.open(bad, None).await.is_err(), "{bad}");
            assert!(storage.prepare(&subject.stage(b"x"), bad, &"v".into(), false).await.is_err(), "{bad}");
        }
        // Nothing is written through a symlink either.
        assert!(storage.prepare(&subject.stage(b"x"), "linked-tenant/new", &"v".into(), false).await.is_err());
        assert!(!outside.path().join("new").exists());
    }
}

#[tokio::test]
async fn a_symlink_at_the_path_is_replaced_and_a_folder_is_not() {
    for subject in subjects() {
        let root = subject.root();
        fs::write(root.join("target"), "target").unwrap();
        symlink("target", root.join("link")).unwrap();
        publish(&subject, "link", b"new").await;
        assert_eq!(fs::read(root.join("link")).unwrap(), b"new");
        assert_eq!(fs::read(root.join("target")).unwrap(), b"target");

        fs::create_dir(root.join("folder")).unwrap();
        fs::write(root.join("folder/inner"), "inner").unwrap();
        let prepared = subject.storage.prepare(&subject.stage(b"x"), "folder", &"v".into(), false).await.unwrap();
        let refused = subject.storage.place(prepared, false).await.err().unwrap();
        assert_eq!(refused.kind, FaultKind::Obstructed);
        assert_eq!(fs::read(root.join("folder/inner")).unwrap(), b"inner");
        let in_the_way = subject.storage.prepare(&subject.stage(b"x"), "target/x", &"v".into(), false).await;
        assert_eq!(in_the_way.err().unwrap().kind, FaultKind::Obstructed);
    }
}

#[tokio::test]
async fn the_same_inode_is_published_unless_it_must_be_copied() {
    for (subject, moved) in subjects().into_iter().zip([true, true, false, false]) {
        let staged = subject.stage(b"content");
        let prepared = subject.storage.prepare(&staged, "file", &"v".into(), true).await.unwrap();
        let placed = subject.storage.place(prepared, true).await.unwrap();
        assert_eq!(!staged.path.exists(), moved);
        let there = fs::metadata(subject.root().join("file")).unwrap();
        assert_eq!(
            there.ino() == staged.file.metadata().unwrap().ino()
                && there.dev() == staged.file.metadata().unwrap().dev(),
            moved
        );
        let Identity::Local { device, inode, size, mtime, ctime } = placed.identity else { panic!() };
        assert_eq!((device, inode, size), (there.dev(), there.ino(), 7));
        assert_eq!(mtime, there.mtime() * 1_000_000_000 + there.mtime_nsec());
        assert_eq!(ctime, there.ctime() * 1_000_000_000 + there.ctime_nsec());
    }
}

#[tokio::test]
async fn nothing_stays_in_the_hidden_folder() {
    for subject in subjects() {
        for number in 0..5 {
            let identity = publish(&subject, "tenant/file", format!("{number}").as_bytes()).await;
            if number == 3 {
                assert!(subject.storage.remove("tenant/file", &identity, true).await.unwrap());
            }
        }
        drop(subject.storage.prepare(&subject.stage(b"x"), "new/file", &"v".into(), false).await.unwrap());
        let hidden = subject.root().join(".tidegate");
        assert!(!hidden.exists() || fs::read_dir(&hidden).unwrap().next().is_none());
        fs::create_dir_all(&hidden).unwrap();
        fs::write(hidden.join("left by a crash"), "x").unwrap();
        subject.storage.sweep().await.unwrap();
        assert!(!hidden.exists());
        assert!(subject.storage.list_folders("").await.unwrap().try_collect::<Vec<_>>().await.unwrap() == ["tenant"]);
    }
}

#[tokio::test]
async fn a_folder_that_was_removed_meanwhile_is_made_again() {
    for subject in subjects() {
        let prepared = subject.storage.prepare(&subject.stage(b"x"), "a/b/file", &"v".into(), true).await.unwrap();
        fs::remove_dir_all(subject.root().join("a")).unwrap();
        let placed = subject.storage.place(prepared, true).await.unwrap();
        subject.storage.settle(placed).await;
        assert_eq!(fs::read(subject.root().join("a/b/file")).unwrap(), b"x");
    }
}

#[tokio::test]
async fn a_root_that_was_made_anew_is_followed() {
    let (folder, staging) = (disk(), disk());
    let root = folder.path().join("root");
    let storage = LocalStorage::open("files", &root, Calls::Native).unwrap();
    let subject = Subject { storage: Arc::new(storage), opened_files_keep: true, staging, _root: None };
    publish(&subject, "tenant/file", b"first").await;
    fs::rename(&root, folder.path().join("moved")).unwrap();
    fs::create_dir_all(root.join("other")).unwrap();
    fs::write(root.join("other/file"), "other").unwrap();
    assert!(subject.storage.folder_mark("other").await.unwrap().is_some());
    assert_eq!(listed(&*subject.storage, "other").await, ["other/file"]);
    publish(&subject, "tenant/file", b"second").await;
    assert_eq!(fs::read(root.join("tenant/file")).unwrap(), b"second");
}

#[tokio::test]
async fn what_another_program_put_there_survives_undo_and_remove() {
    for subject in subjects() {
        let root = subject.root();
        publish(&subject, "file", b"first").await;
        let prepared = subject.storage.prepare(&subject.stage(b"second"), "file", &"v".into(), false).await.unwrap();
        let placed = subject.storage.place(prepared, false).await.unwrap();
        let ours = placed.identity.clone();
        fs::write(root.join("new"), "foreign").unwrap();
        fs::rename(root.join("new"), root.join("file")).unwrap();
        assert!(subject.storage.undo(placed).await.unwrap());
        assert_eq!(fs::read(root.join("file")).unwrap(), b"foreign");
        assert!(!subject.storage.remove("file", &ours, false).await.unwrap());
        assert_eq!(fs::read(root.join("file")).unwrap(), b"foreign");
    }
}

#[tokio::test]
async fn a_mark_changes_with_the_entries() {
    let subject = native();
    let root = subject.root();
    fs::create_dir(root.join("tenant")).unwrap();
    let mark = async || subject.storage.folder_mark("tenant").await.unwrap().unwrap();
    // Until the folder's last change is long enough ago, no two marks are equal.
    let settled = async || loop {
        let (one, other) = (mark().await, mark().await);
        if one == other {
            return one;
        }
    };
    let empty = settled().await;
    fs::write(root.join("tenant/file"), "1").unwrap();
    assert_ne!(mark().await, empty);
    let one = settled().await;
    fs::write(root.join("tenant/file"), "in place").unwrap();
    assert_eq!(settled().await, one);
    fs::rename(root.join("tenant/file"), root.join("tenant/renamed")).unwrap();
    assert_ne!(settled().await, one);
}

#[tokio::test]
async fn a_file_cut_while_it_is_read_ends_in_an_error() {
    for subject in [native(), fs_portable()] {
        for length in [10_000_u64, 1_000_000] {
            publish(&subject, "file", &vec![1; length as usize]).await;
            let opened = subject.storage.open("file", None).await.unwrap().unwrap();
            let file = fs::File::options().write(true).open(subject.root().join("file")).unwrap();
            file.set_len(length / 2).unwrap();
            let read: Result<Vec<Bytes>, _> = opened.content.stream(0..length).try_collect().await;
            assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_in_memory_is_read_whole() {
    let subject = native();
    let expected: Vec<u8> = (0..10_000_000_u32).map(|number| (number % 253) as u8).collect();
    publish(&subject, "file", &expected).await;
    let file = fs::File::open(subject.root().join("file")).unwrap();
    file.sync_all().unwrap();
    let opened = subject.storage.open("file", None).await.unwrap().unwrap();
    let forget = |start, length| rustix::fs::fadvise(&file, start, length, rustix::fs::Advice::DontNeed).unwrap();
    // To ask is to start to read ahead, which a fast disk may have done by the time of the answer: then once more.
    let is_cached = |offset| tidegate::kernel::read_cached(&file, &mut [0], offset).unwrap().unwrap_or(0) > 0;
    // All of it, and only some in the middle, so that the stream changes its way while it runs. The middle begins and
    // ends where the pages of a large folio do, since a folio is forgotten whole or not at all.
    for (start, length) in [(0, None), (4 << 20, std::num::NonZeroU64::new(4 << 20))] {
        let is_forgotten = (0..1000).any(|_| {
            forget(start, length);
            !is_cached(start + (1 << 20))
        });
        assert!(is_forgotten, "the file is still in memory, so this test would show nothing");
        let pieces: Vec<Bytes> = opened.content.clone().stream(7..10_000_000).try_collect().await.unwrap();
        assert!(pieces.concat() == expected[7..]);
    }
}

// ---------------------------------------------------------------------------------------------------------
// Append

async fn content(file: &dyn AppendFile) -> Bytes {
    let size = file.identity().unwrap().size();
    let pieces: Vec<Bytes> = file.content().stream(0..size).try_collect().await.unwrap();
    pieces.concat().into()
}

fn inode(file: &dyn AppendFile) -> Option<(u64, u64)> {
    match file.identity().unwrap() {
        Identity::Local { device, inode, .. } => Some((device, inode)),
        Identity::Object { .. } => None,
    }
}

#[tokio::test]
async fn appended_bytes_lie_where_they_belong() {
    for durable in [false, true] {
        for subject in subjects() {
            let file = subject.storage.append("uploads/chunks.txt", None, 0, durable).await.unwrap();
            file.write_at(0, &AppendSource::Memory("one ".into())).await.unwrap();
            file.write_at(4, &AppendSource::Staged(subject.stage(b"two "))).await.unwrap();
            let large = vec![b'x'; 1 << 20];
            file.write_at(8, &AppendSource::Memory(large.clone().into())).await.unwrap();
            let expected = [b"one two ".to_vec(), large].concat();
            assert!(content(&*file).await == expected);
            assert!(fs::read(subject.root().join("uploads/chunks.txt")).unwrap() == expected);

            // What was not recorded is cut off.
            let again = subject.storage.append("uploads/chunks.txt", inode(&*file), 4, durable).await.unwrap();
            assert_eq!(inode(&*again), inode(&*file));
            assert_eq!(content(&*again).await, "one ");
        }
    }
}

#[tokio::test]
async fn what_lies_in_the_place_of_the_append_only_file_is_kept() {
    let subject = native();
    let path = |name: &str| subject.root().join(name);
    let displaced = || -> Vec<Vec<u8>> {
        let entries = fs::read_dir(subject.root()).unwrap().map(|entry| entry.unwrap().path());
        let mut kept: Vec<_> = entries.filter(|path| path.to_string_lossy().contains("displaced")).collect();
        kept.sort();
        kept.iter().map(|path| fs::read(path).unwrap_or_else(|_| b"not a file".to_vec())).collect()
    };
    fs::write(path("log"), "of another program").unwrap();
    let file = subject.storage.append("log", None, 0, false).await.unwrap();
    assert_eq!(displaced(), [b"of another program"]);
    file.write_at(0, &AppendSource::Memory("ours".into())).await.unwrap();

    // Replaced by another program: the recorded bytes are gone, and that is said.
    fs::write(path("other"), "longer than ours").unwrap();
    fs::rename(path("other"), path("log")).unwrap();
    let lost = subject.storage.append("log", inode(&*file), 4, false).await.err().unwrap();
    assert_eq!(lost.kind, FaultKind::Mismatch);
    assert_eq!(displaced().len(), 2);

    // A FIFO does not make the gateway wait.
    make_fifo(&path("fifo"));
    subject.storage.append("fifo", None, 0, false).await.unwrap();
    assert!(fs::metadata(path("fifo")).unwrap().is_file());
    symlink("log", path("link")).unwrap();
    subject.storage.append("link", None, 0, false).await.unwrap();
    assert!(fs::symlink_metadata(path("link")).unwrap().is_file());
}

#[tokio::test]
async fn a_shortened_append_only_file_is_told_of_and_left() {
    let subject = native();
    let file = subject.storage.append("log", None, 0, false).await.unwrap();
    file.write_at(0, &AppendSource::Memory("0123456789".into())).await.unwrap();
    fs::File::options().write(true).open(subject.root().join("log")).unwrap().set_len(5).unwrap();
    let lost = subject.storage.append("log", inode(&*file), 10, false).await.err().unwrap();
    assert_eq!(lost.kind, FaultKind::Mismatch);
    assert_eq!(fs::read(subject.root().join("log")).unwrap(), b"01234");
}

#[tokio::test]
async fn a_full_disk_is_told_as_such() {
    let small = SmallDisk::mount();
    let storage = LocalStorage::open("files", &small.path().join("root"), Calls::Native).unwrap();
    let subject = Subject { storage: Arc::new(storage), opened_files_keep: true, staging: disk(), _root: None };
    let full = subject.storage.prepare(&subject.stage(&vec![1; 2 << 20]), "tenant/file", &"v".into(), false).await;
    assert_eq!(full.err().unwrap().kind, FaultKind::Full);
    assert!(!small.path().join("root/tenant").exists());
    assert!(fs::read_dir(small.path().join("root/.tidegate")).unwrap().next().is_none());
    publish(&subject, "tenant/file", b"fits").await;
}

/// A filesystem of 1 MiB. Mounting one takes root, as in a container.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = disk();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).output().unwrap();
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
