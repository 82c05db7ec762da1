//! The files that `$ref` reaches: those in the folders that the operator has named by naming the schema.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonschema::Uri;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde_json::Value;
use tidegate_plugin_sdk::read_named_file;
use tidegate_plugin_sdk::units::ByteSize;

/// Larger than anybody's schema.
pub const LARGEST: ByteSize = ByteSize::mib(16);

/// All but what a path of a URI takes as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Clone)]
pub struct Files {
    /// Without symbolic links.
    folders: Vec<PathBuf>,
    /// What was read of them, by its address: what was checked is what is compiled, however much later that is.
    known: Arc<Mutex<HashMap<String, Value>>>,
}

impl Files {
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders, known: Arc::default() }
    }

    pub fn find(&self, address: &Uri<String>) -> Result<Value, String> {
        if let Some(contents) = self.known.lock().get(address.as_str()) {
            return Ok(contents.clone());
        }
        let path = percent_decode_str(address.path().as_str()).decode_utf8().map_err(|error| error.to_string())?;
        let path = fs::canonicalize(&*path).map_err(|error| format!("cannot read {path}: {error}"))?;
        if !self.folders.iter().any(|folder| path.starts_with(folder)) {
            let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
            return Err(format!("{} is outside of {}; put a copy there", path.display(), folders.join(" and ")));
        }
        let contents = read(&path)?;
        self.known.lock().insert(address.as_str().to_owned(), contents.clone());
        Ok(contents)
    }
}

/// The JSON of a file.
pub fn read(path: &Path) -> Result<Value, String> {
    let text = read_named_file(path, LARGEST)?;
    serde_json::from_slice(&text).map_err(|error| format!("{} is not JSON: {error}", path.display()))
}

/// An absolute path as a URI.
pub fn address_of(path: &Path) -> String {
    format!("file://{}", percent_encode(path.as_os_str().as_encoded_bytes(), ESCAPED))
}
