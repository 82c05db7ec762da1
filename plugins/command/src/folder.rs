//! The private folder of a run: made before it, and gone after it with all that is in it and whatever still runs for it. What lies in it
//! of the content is `content`'s business.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::Builder;

use crate::stragglers;

/// In a private folder: where the command runs, and what it takes for its home.
pub const HOME: &str = "home";
/// In a private folder: where the content is. Apart from the home, for clients choose its name: a file `json.py` or `.curlrc` in the
/// home would be taken for a module or for settings by the programs there.
pub const CONTENT: &str = "content";

const PREFIX: &str = "tidegate-command-";
/// Of a folder that is not locked yet. It has nothing in it that runs.
const NEW_PREFIX: &str = ".tidegate-command-";
const PRIVATE: u32 = 0o700;
/// An unlocked new folder that is younger may be one that its owner is about to lock.
const YOUNG: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The system lets go of it when the gateway dies, however it does: a folder that nobody has locked is left over. Where locks do
    /// not work none can be had by whoever looks for left-overs either.
    _lock: File,
}

impl Folder {
    pub fn create(root: &Path) -> io::Result<Self> {
        let private = Permissions::from_mode(PRIVATE);
        let made = Builder::new().prefix(NEW_PREFIX).rand_bytes(16).permissions(private).tempdir_in(root)?;
        let lock = File::open(made.path())?;
        let _ = lock.try_lock();
        for name in [HOME, CONTENT] {
            DirBuilder::new().mode(PRIVATE).create(made.path().join(name))?;
        }
        // It has its name when it is locked, so one of that name that nobody has locked is left over, however young.
        let name = made.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = root.join(name.trim_start_matches('.'));
        fs::rename(made.path(), &path)?;
        let _ = made.keep();
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        stragglers::end(&self.path);
        if let Err(error) = remove(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "the private folder of a command cannot be removed");
        }
    }
}

/// Removes folders below `root` that a gateway left there which was killed, and kills what still runs for them.
pub fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_new = name.as_encoded_bytes().starts_with(NEW_PREFIX.as_bytes());
        if !is_new && !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        if let Some(lock) = lock_if_left_over(&path, is_new) {
            tracing::info!(folder = %path.display(), "a command was cut off here by the end of a gateway; it is cleared away");
            drop(Folder { path, _lock: lock });
        }
    }
}

fn lock_if_left_over(path: &Path, is_new: bool) -> Option<File> {
    let found = path.symlink_metadata().ok()?;
    let is_old = || found.modified().is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > YOUNG));
    if !found.is_dir() || (is_new && !is_old()) || found.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    let lock = File::open(path).ok()?;
    lock.try_lock().ok()?;
    Some(lock)
}

/// Removes a folder of any depth without recursion, and with few files open: each folder in it is first moved up to the same place. (The
/// standard library goes down with its stack and an open file for each level, and a command may have made a hundred thousand.)
fn remove(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(PRIVATE))?;
    let pit = Builder::new().prefix("removed-").tempdir_in(folder)?.keep();
    let mut found = 0;
    empty(folder, &pit, &mut found)?;
    for number in 0_u64.. {
        if number == found {
            break;
        }
        let next = pit.join(number.to_string());
        empty(&next, &pit, &mut found)?;
        fs::remove_dir(next)?;
    }
    fs::remove_dir(pit)?;
    fs::remove_dir(folder)
}

/// Deletes the files in a folder and moves the folders in it to the pit, where the next has the number `found`.
fn empty(folder: &Path, pit: &Path, found: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            fs::remove_file(path)?;
        } else if path != pit {
            // A folder that may not be written to can neither be moved nor emptied; some tools leave such.
            fs::set_permissions(&path, Permissions::from_mode(PRIVATE))?;
            fs::rename(path, pit.join(found.to_string()))?;
            *found += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn names(root: &Path) -> Vec<String> {
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_folder_is_private_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path()).unwrap();
        assert!(folder.path().starts_with(root.path()));
        assert_eq!([folder.path(), &folder.path().join(HOME), &folder.path().join(CONTENT)].map(mode), [0o700; 3]);
        fs::write(folder.path().join(HOME).join("left"), "x").unwrap();
        drop(folder);
        assert_eq!(names(root.path()), Vec::<String>::new());
    }

    #[test]
    fn what_is_linked_to_stays() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let folder = Folder::create(root.path()).unwrap();
        symlink(outside.path(), folder.path().join(HOME).join("link")).unwrap();
        symlink("/no/such/file", folder.path().join(HOME).join("dangling")).unwrap();
        drop(folder);
        assert_eq!((names(root.path()).len(), names(outside.path())), (0, vec!["kept".to_owned()]));
    }

    #[test]
    fn folders_that_may_not_be_written_to_and_names_that_are_in_the_way_go_too() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path()).unwrap();
        for name in ["0", "1", "removed-", "locked/inner"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("0"), "x").unwrap();
        }
        fs::set_permissions(folder.path().join("locked"), Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o000)).unwrap();
        drop(folder);
        assert_eq!(names(root.path()), Vec::<String>::new());
    }

    #[test]
    fn left_overs_are_swept_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let running = Folder::create(root.path()).unwrap();
        for name in ["tidegate-command-young/home", ".tidegate-command-old/home", ".tidegate-command-new/home", "other"]
        {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("tidegate-command-file"), "").unwrap();
        let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
        for path in
            [running.path(), &root.path().join(".tidegate-command-old"), &root.path().join("tidegate-command-file")]
        {
            File::open(path).unwrap().set_modified(hour_ago).unwrap();
        }
        sweep(root.path());
        let mut left = names(root.path());
        left.retain(|name| !running.path().ends_with(name));
        left.sort();
        assert_eq!(left, [".tidegate-command-new", "other", "tidegate-command-file"]);
        assert!(running.path().join(HOME).is_dir());
    }
}
