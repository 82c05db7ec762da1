//! The files that options name: a schema, certificates. Not the files that are checked; those are [`crate::reading`]'s business.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::units::ByteSize;

/// Reads a file that is at most `largest`. It blocks, as [`crate::Build::check`] and [`crate::Build::build`] may.
///
/// # Errors
///
/// A message for the operator, with the path in it: there is no such file, it may not be read, it is no file or larger than that.
pub fn read_named_file(path: &Path, largest: ByteSize) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let metadata = fs::metadata(path).map_err(cannot)?;
    // A pipe would never end.
    if !metadata.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let mut contents = Vec::new();
    File::open(path).map_err(cannot)?.take(largest.get() + 1).read_to_end(&mut contents).map_err(cannot)?;
    if contents.len() as u64 > largest.get() {
        return Err(format!("{} is larger than {largest}", path.display()));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        assert!(read_named_file(&path, ByteSize::bytes(3)).unwrap_err().contains("a.pem: No such file"));
        fs::write(&path, "abc").unwrap();
        assert_eq!(read_named_file(&path, ByteSize::bytes(3)).unwrap(), b"abc");
        assert!(read_named_file(&path, ByteSize::bytes(2)).unwrap_err().ends_with("a.pem is larger than 2 B"));
        for no_file in [folder.path(), Path::new("/dev/zero")] {
            assert!(read_named_file(no_file, ByteSize::bytes(3)).unwrap_err().ends_with("is no file"));
        }
    }
}
