//! How the content gets to the command: as a file with the name that it was sent under, which is a link to it where it lies on this
//! machine, and else a copy. The link leads to what the gateway has open (`/proc/…/fd/…`), and there only processes that may do all that
//! the gateway may are let in; so for others it is always a copy.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tidegate_plugin_sdk::{ErrorKind, FileHandle, Pieces, PluginError};
use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt;

/// Of a file name, in bytes; what file systems take.
const LONGEST_NAME: usize = 255;

/// The content as the command finds it.
#[derive(Debug)]
pub struct Content {
    /// What the command is told.
    pub path: PathBuf,
    /// Where it is that very file which is published, and how it was.
    original: Option<(PathBuf, Identity)>,
}

impl Content {
    /// Puts the content into `folder`, as a copy in any case if `is_copy`.
    pub async fn provide(file: &dyn FileHandle, folder: &Path, is_copy: bool) -> Result<Self, PluginError> {
        let path = folder.join(safe_name(&file.metadata().file_name));
        let original = match file.local_path().filter(|_| !is_copy) {
            Some(original) => {
                Some(link(original, &path).await.map_err(|error| PluginError::read("link to the content", error))?)
            }
            None => copy(file, &path).await.map(|()| None)?,
        };
        Ok(Self { path, original })
    }

    /// Whether the file itself was changed since. A copy may be.
    pub async fn is_changed(&self) -> bool {
        match &self.original {
            Some((path, before)) => !fs::metadata(path).await.is_ok_and(|now| Identity::of(&now) == *before),
            None => false,
        }
    }
}

/// What changes with a file's bytes. Not the time of its last change of any kind (ctime), which a newer version that takes its place
/// changes, too.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { device: file.dev(), inode: file.ino(), size: file.size(), modified }
    }
}

async fn link(original: &Path, path: &Path) -> io::Result<(PathBuf, Identity)> {
    let original = std::path::absolute(original)?;
    let before = Identity::of(&fs::metadata(&original).await?);
    fs::symlink(&original, path).await?;
    Ok((original, before))
}

async fn copy(file: &dyn FileHandle, path: &Path) -> Result<(), PluginError> {
    let failed = |error: io::Error| {
        PluginError::retryable(ErrorKind::Limit, "copy the content to the command's private folder").caused_by(error)
    };
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path).await.map_err(failed)?;
    let mut pieces = Pieces::of(file);
    while let Some(piece) = pieces.next().await? {
        copy.write_all(&piece).await.map_err(failed)?;
    }
    copy.flush().await.map_err(failed)
}

/// The gateway has made the name safe. This is for the day on which it has not.
fn safe_name(name: &str) -> &OsStr {
    let is_safe = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) && name.len() <= LONGEST_NAME;
    OsStr::from_bytes(if is_safe { name.as_bytes() } else { b"content" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tidegate_plugin_sdk::testing::MemoryFile;

    #[test]
    fn names_that_lead_elsewhere_are_not_used() {
        for name in ["", ".", "..", "a/b", "/etc/passwd", "a\0b", &"x".repeat(256)] {
            assert_eq!(safe_name(name), "content", "{name:?}");
        }
        for name in ["a.json", "...", "Société d'Œuvre – été.json", " ", "-rf"] {
            assert_eq!(safe_name(name), name);
        }
    }

    #[tokio::test]
    async fn a_copy_is_complete_or_an_error_and_may_not_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let file = MemoryFile::new("a.bin", bytes.clone()).in_pieces_of(7_001);
        let content = Content::provide(&file, folder.path(), false).await.unwrap();
        assert_eq!(std::fs::read(&content.path).unwrap(), bytes);
        assert_eq!(content.path.metadata().unwrap().permissions().mode() & 0o777, 0o400);
        assert!(!content.is_changed().await);

        let folder = tempfile::tempdir().unwrap();
        let error = Content::provide(&file.clone().breaking_at(100_000), folder.path(), false).await.unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Read, true));
        let folder = tempfile::tempdir().unwrap();
        let error = Content::provide(&file.announced_as(200_001), folder.path(), false).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Read);
    }

    #[tokio::test]
    async fn a_copy_can_be_had_of_a_file_on_this_machine_too() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let original = elsewhere.path().join("0199c3");
        std::fs::write(&original, "one").unwrap();
        let file = MemoryFile::new("a.json", "one").at_path(&original);
        let content = Content::provide(&file, folder.path(), true).await.unwrap();
        assert!(content.path.symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read_to_string(&content.path).unwrap(), "one");
        std::fs::write(&original, "two").unwrap();
        assert!(!content.is_changed().await);
    }

    #[tokio::test]
    async fn a_link_leads_to_the_file_and_tells_changes_of_its_bytes_alone() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let original = elsewhere.path().join("0199c3");
        std::fs::write(&original, "one").unwrap();
        let file = MemoryFile::new("a.json", "one").at_path(&original);
        let content = Content::provide(&file, folder.path(), false).await.unwrap();
        assert_eq!(content.path.file_name(), Some(OsStr::new("a.json")));
        assert_eq!(std::fs::read_to_string(&content.path).unwrap(), "one");
        std::fs::set_permissions(&original, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::hard_link(&original, elsewhere.path().join("other")).unwrap();
        assert!(!content.is_changed().await);
        std::fs::write(&content.path, "two").unwrap();
        std::fs::File::open(&original).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert!(content.is_changed().await);
        std::fs::remove_file(&original).unwrap();
        assert!(content.is_changed().await);
    }
}
