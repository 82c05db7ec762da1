//! Where values come from beside the file: `TIDEGATE_SECTION__KEY`, the variables of the systems that Tidegate replaces,
//! and flags; and which file it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::Value;

use super::Override;
use super::document::{Document, Layer, Written};
use super::file::reread;
use crate::diagnostics::{Diagnostic, Diagnostics, KeyPath, Origin};
use crate::http::config::{ListenAddress, ServerConfig};
use crate::storage::config::FS;

/// Names the file.
pub const FILE_VARIABLE: &str = "TIDEGATE_CONFIG";
/// The file in the current folder that is taken when none is named.
pub const FILE_NAME: &str = "config.toml";
const COMPILED_IN: &str = include_str!("../../config.toml");
const PREFIX: &str = "TIDEGATE_";
const SEPARATOR: &str = "__";

/// The text to read.
pub struct FileText {
    pub name: String,
    /// Relative paths in it count from here.
    pub folder: PathBuf,
    pub text: String,
}

/// Finds the file: the one that is named, the variable's, the current folder's, else the one that is compiled in.
pub fn find_file(
    named: Option<&Path>,
    variables: &BTreeMap<String, String>,
    current_folder: &Path,
) -> Result<FileText, Diagnostic> {
    let from_variable = || variables.get(FILE_VARIABLE).filter(|path| !path.is_empty());
    let (path, origin) = match (named, from_variable()) {
        (Some(path), _) => (path.to_owned(), Origin::Flag("--config".to_owned())),
        (None, Some(path)) => (PathBuf::from(path), Origin::Variable(FILE_VARIABLE.to_owned())),
        (None, None) => {
            let path = PathBuf::from(FILE_NAME);
            // Whatever stands in the way of knowing whether it is there is told when it is read.
            if !current_folder.join(&path).try_exists().unwrap_or(true) {
                return Ok(compiled_in(current_folder));
            }
            (path, Origin::Default)
        }
    };
    let full = current_folder.join(&path);
    let text = std::fs::read_to_string(&full).map_err(|error| {
        let message = format!("could not read the configuration `{}`: {error}", path.display());
        Diagnostic::error(KeyPath::default(), origin, message)
    })?;
    let folder = full.parent().unwrap_or(current_folder).to_owned();
    Ok(FileText { name: path.display().to_string(), folder, text })
}

fn compiled_in(current_folder: &Path) -> FileText {
    FileText {
        name: format!("the compiled-in {FILE_NAME}"),
        folder: current_folder.to_owned(),
        text: COMPILED_IN.to_owned(),
    }
}

/// `TIDEGATE_SECTION__KEY`. A variable without `__` is no setting of ours, but for `TIDEGATE_DATA_DIR`: Kubernetes sets
/// `TIDEGATE_PORT` and its like for a service of that name.
pub fn environment(variables: &BTreeMap<String, String>, lower: &Document, diagnostics: &mut Diagnostics) -> Layer {
    let mut layer = Layer::new("environment");
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if !rest.contains(SEPARATOR) && !rest.eq_ignore_ascii_case("data_dir") {
            continue;
        }
        let keys = spelled_as_below(rest.split(SEPARATOR), lower.merged());
        let origin = Origin::Variable(name.clone());
        insert(&mut layer, &keys, Value::from(text.as_str()), Written::untyped_at(origin), diagnostics);
    }
    layer
}

/// Variables are written in capitals and without `-`; the key may have been written otherwise.
fn spelled_as_below<'a>(words: impl Iterator<Item = &'a str>, lower: &Value) -> Vec<String> {
    let plain = |key: &str| key.to_ascii_lowercase().replace('-', "_");
    let mut below = Some(lower);
    let spelled = |word: &str| {
        let known =
            below.and_then(Value::as_dict).and_then(|dict| dict.iter().find(|(key, _)| plain(key) == plain(word)));
        below = known.map(|(_, value)| value);
        known.map_or_else(|| word.to_ascii_lowercase(), |(key, _)| key.clone())
    };
    words.map(spelled).collect()
}

/// What the command line says.
pub fn flags(overrides: &[Override], diagnostics: &mut Diagnostics) -> Layer {
    let mut layer = Layer::new("flags");
    for Override { key, value, flag } in overrides {
        let keys: Vec<_> = key.split('.').map(str::to_owned).collect();
        let written = Written::untyped_at(Origin::Flag(flag.clone()));
        insert(&mut layer, &keys, Value::from(value.as_str()), written, diagnostics);
    }
    layer
}

fn insert(layer: &mut Layer, keys: &[String], value: Value, written: Written, diagnostics: &mut Diagnostics) {
    let origin = written.key.clone();
    let path = KeyPath::of(keys.iter().map(String::as_str));
    if keys.iter().any(String::is_empty) {
        diagnostics.push(Diagnostic::error(path, origin, "a part of the name is empty"));
    } else if let Err(taken) = layer.insert(keys, value, written) {
        let message = format!("`{taken}` is set already, as a value or with keys of its own");
        diagnostics.push(Diagnostic::error(path, origin, message));
    }
}

/// The variables of the relay: `RELAY_PORT`, `BASE_FILES_DIR`, `ALLOWED_ORIGINS`. Empty ones count as not set.
pub fn legacy(
    variables: &BTreeMap<String, String>,
    current_folder: &Path,
    lower: &Document,
    diagnostics: &mut Diagnostics,
) -> Layer {
    let mut legacy = Legacy { layer: Layer::new("legacy environment"), current_folder, lower, diagnostics };
    let set = |name: &str| variables.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    if let Some(port) = set("RELAY_PORT") {
        legacy.relay_port(port);
    }
    if let Some(origins) = set("ALLOWED_ORIGINS") {
        let origins: Vec<_> = origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
        legacy.put(&["server", "allowed_origins"], Value::from(origins), "ALLOWED_ORIGINS");
    }
    if let Some(folder) = set("BASE_FILES_DIR") {
        legacy.base_files_dir(folder);
    }
    legacy.layer
}

struct Legacy<'a> {
    layer: Layer,
    current_folder: &'a Path,
    lower: &'a Document,
    diagnostics: &'a mut Diagnostics,
}

impl Legacy<'_> {
    /// Replaces the port of the first address and drops the others.
    fn relay_port(&mut self, text: &str) {
        let path = KeyPath::of(["server", "listen"]);
        let Ok(port) = text.parse() else {
            let message = format!("`{text}` is no port: a whole number from 0 to 65535");
            return self.say(path, "RELAY_PORT", message);
        };
        // Out of the environment a list comes as text.
        let listen = self.lower.get(&path).cloned();
        let listen = listen.and_then(|value| value.as_str().and_then(reread).or(Some(value)));
        let first = listen.as_ref().and_then(Value::as_array).and_then(|listen| listen.first()?.as_str()?.parse().ok());
        let first: Option<ListenAddress> = first.or_else(|| ServerConfig::default().listen.into_iter().next());
        let host = first.map_or_else(|| "localhost".to_owned(), |address| address.host);
        let address = ListenAddress { host, port }.to_string();
        self.put(&["server", "listen"], Value::from(vec![address]), "RELAY_PORT");
    }

    /// Replaces the root of the storage of the relay's collection. Like a path that is typed, it counts from the current folder.
    fn base_files_dir(&mut self, folder: &str) {
        let relay = KeyPath::of(["api", "relay", "collection"]);
        let storage = self.lower.text(&relay).and_then(|collection| {
            self.lower.text(&KeyPath::of(["collection", collection, "storage"])).map(str::to_owned)
        });
        let Some(storage) = storage else {
            let message = "BASE_FILES_DIR is set, but there is no relay with a collection whose files could lie there";
            let origin = Origin::Variable("BASE_FILES_DIR".to_owned());
            return self.diagnostics.push(Diagnostic::warning(relay, origin, message));
        };
        let service = self.lower.text(&KeyPath::of(["storage", &storage, "service"]));
        if service.is_some_and(|service| service != FS) {
            let message = format!("it names a folder, but the relay's files lie in `storage.{storage}`, which is none");
            return self.say(KeyPath::of(["storage", &storage, "root"]), "BASE_FILES_DIR", message);
        }
        let root = self.current_folder.join(folder).display().to_string();
        self.put(&["storage", &storage, "root"], Value::from(root), "BASE_FILES_DIR");
    }

    fn put(&mut self, keys: &[&str], value: Value, variable: &str) {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        let written = Written::at(Origin::Variable(variable.to_owned()));
        insert(&mut self.layer, &keys, value, written, self.diagnostics);
    }

    fn say(&mut self, key: KeyPath, variable: &str, message: String) {
        self.diagnostics.push(Diagnostic::error(key, Origin::Variable(variable.to_owned()), message));
    }
}
