//! What the sections must be to one another: names that name something, dialects that can live with their collection,
//! folders that do not lie in one another. What a value must be in itself is said where its type is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::collections::CollectionSection;
use super::decode::Broken;
use super::document::Document;
use super::expand::Surroundings;
use super::paths::{Folders, Place, nested};
use super::sections::Sections;
use crate::auth::config::Anonymous;
use crate::collection::Placeholder;
use crate::diagnostics::{Diagnostic, Diagnostics, KeyPath, nearest};
use crate::hooks::config::PluginKind;
use crate::http::api::config::Dialect;
use crate::storage::config::{FS, Service, StorageConfig};

/// What the sections are held against.
pub struct Known<'a> {
    pub plugins: &'a [PluginKind],
    pub services: &'a [Service],
    /// What relative paths count from.
    pub folder: &'a Path,
}

pub struct Checker<'a> {
    pub document: &'a Document,
    pub broken: &'a Broken,
    pub known: &'a Known<'a>,
    pub diagnostics: &'a mut Diagnostics,
}

impl Checker<'_> {
    /// Makes every path absolute and puts those that nobody wrote into `data_dir`.
    pub fn resolve_paths(
        &mut self,
        sections: &mut Sections,
        folders: &Folders<'_>,
        variables: &BTreeMap<String, String>,
    ) {
        let data_dir = KeyPath::of(["data_dir"]);
        let written = self.data_dir(sections, folders, variables);
        sections.data_dir = folders.absolute(self.document, &data_dir, &written);
        for (key, path, name) in [
            (KeyPath::of(["catalog", "path"]), &mut sections.catalog.path, "tidegate.db"),
            (KeyPath::of(["staging", "path"]), &mut sections.staging.path, "staging"),
        ] {
            *path = match path.as_os_str().is_empty() {
                true => sections.data_dir.join(name),
                false => folders.absolute(self.document, &key, path),
            };
        }
        for (name, storage) in &mut sections.storage {
            if storage.service == FS
                && let Some(root) = storage.options.get_mut("root")
                && !root.is_empty()
            {
                let key = KeyPath::of(["storage", name, "root"]);
                *root = folders.absolute(self.document, &key, Path::new(root.as_str())).display().to_string();
            }
        }
    }

    fn data_dir(
        &mut self,
        sections: &Sections,
        folders: &Folders<'_>,
        variables: &BTreeMap<String, String>,
    ) -> PathBuf {
        let key = KeyPath::of(["data_dir"]);
        if self.document.get(&key).is_some() {
            if sections.data_dir.as_os_str().is_empty() {
                self.error(&key, "`data_dir` is empty: name a folder");
            }
            return sections.data_dir.clone();
        }
        let surroundings = Surroundings { variables, folder: folders.file };
        let default = surroundings.expand(&sections.data_dir.to_string_lossy());
        default.map_or_else(|_| PathBuf::from("data"), |expanded| PathBuf::from(expanded.text))
    }

    pub fn check(&mut self, sections: &Sections) {
        self.names(sections);
        self.server(sections);
        for (name, storage) in &sections.storage {
            self.storage(name, storage);
        }
        for (name, plugin) in &sections.plugin {
            self.plugin(name, plugin);
        }
        for (name, collection) in &sections.collection {
            self.collection(name, collection, sections);
        }
        self.apis(sections);
        self.places(sections);
        self.shared_storages(sections);
    }

    /// Names stand in variables, in addresses and in dotted keys.
    fn names(&mut self, sections: &Sections) {
        let named = sections.storage.keys().map(|name| KeyPath::of(["storage", name]));
        let named: Vec<_> = named
            .chain(sections.collection.keys().map(|name| KeyPath::of(["collection", name])))
            .chain(sections.plugin.keys().map(|name| KeyPath::of(["plugin", name])))
            .collect();
        for path in named {
            let name = path.last_key().unwrap_or_default();
            let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if name.is_empty() || name.len() > 64 || !is_plain {
                let message = format!("`{name}` is no name: up to 64 letters, digits, `-` and `_`, without accents");
                self.error_at_key(&path, message, None);
            }
        }
    }

    fn server(&mut self, sections: &Sections) {
        let listen = KeyPath::of(["server", "listen"]);
        let anonymous = KeyPath::of(["auth", "anonymous"]);
        if sections.server.listen.is_empty() && !self.broken.touches(&listen) {
            self.error(&listen, "there is nothing to listen on: name at least one address, as \"localhost:8000\"");
        }
        let mut seen = BTreeSet::new();
        for (index, address) in sections.server.listen.iter().enumerate() {
            let path = listen.index(index);
            if address.port != 0 && !seen.insert(address.to_string().to_ascii_lowercase()) {
                self.error(&path, format!("`{address}` stands in the list twice"));
            }
            if sections.auth.anonymous == Anonymous::Loopback
                && !address.is_loopback()
                && !self.broken.touches(&anonymous)
            {
                let message = format!(
                    "`{address}` can be reached from other machines, but anonymous requests are allowed on loopback only"
                );
                let help = "listen on \"localhost:PORT\", or let everyone who reaches the gateway read, write and delete: \
                            `anonymous = \"everywhere\"` in `[auth]`";
                self.error_with_help(&path, message, Some(help.to_owned()));
            }
        }
        if sections.server.max_connections == 0 {
            self.error(&KeyPath::of(["server", "max_connections"]), "with no connection at all nobody is served");
        }
        if sections.auth.anonymous == Anonymous::Nowhere {
            self.warning(&anonymous, "there are no other credentials yet, so every request is refused");
        }
    }

    fn storage(&mut self, name: &str, storage: &StorageConfig) {
        let path = KeyPath::of(["storage", name]);
        let schemes = || self.known.services.iter().map(|service| service.scheme);
        let Some(service) = self.known.services.iter().find(|service| service.scheme == storage.service) else {
            let message = format!("there is no service `{}`", storage.service);
            let help = near_or_all(&storage.service, schemes());
            return self.error_with_help(&path.key("service"), message, help);
        };
        let unknown: Vec<_> =
            storage.options.keys().filter(|option| !service.options.contains(&option.as_str())).collect();
        for option in &unknown {
            let message = format!("the service `{}` has no option `{option}`", service.scheme);
            let help = near_or_all(option, service.options.iter().copied());
            self.error_at_key(&path.key(option), message, help);
        }
        if unknown.is_empty()
            && !self.broken.touches(&path)
            && let Err(reason) = (service.check)(&storage.options)
        {
            self.error_at_key(&path, format!("the service `{}` does not take this: {reason}", service.scheme), None);
        }
    }

    fn collection(&mut self, name: &str, collection: &CollectionSection, sections: &Sections) {
        let path = KeyPath::of(["collection", name]);
        self.refers(&path.key("storage"), &collection.storage, "storage", sections.storage.keys());
        self.hooks(&path, collection, sections);
    }

    fn apis(&mut self, sections: &Sections) {
        let api = &sections.api;
        for (dialect, section) in [
            (Dialect::ChunkWriter, &api.chunk_writer),
            (Dialect::FileUpload, &api.fileupload),
            (Dialect::Relay, &api.relay),
        ] {
            if let Some(section) = section {
                let path = KeyPath::of(["api", dialect.as_str(), "collection"]);
                self.refers(&path, &section.collection, "collection", sections.collection.keys());
            }
        }
        let mut owners = BTreeMap::new();
        for (dialect, name) in api.enabled() {
            if let Some(owner) = owners.insert(name, dialect) {
                let message = format!("the collection `{name}` belongs to `api.{}` already", owner.as_str());
                let help = "a collection belongs to one dialect: give this one a `[collection.NAME]` of its own";
                let path = KeyPath::of(["api", dialect.as_str(), "collection"]);
                self.error_with_help(&path, message, Some(help.to_owned()));
            } else if let Some(collection) = sections.collection.get(name) {
                self.suits(dialect, name, collection, sections);
            }
        }
        if api.enabled().next().is_none() && !self.broken.touches(&KeyPath::of(["api"])) {
            let message = "no dialect is enabled, so nobody can send a file: see `[api.relay]` and its like";
            self.warning(&KeyPath::of(["api"]), message);
        }
    }

    /// Whether a dialect can live with its collection.
    fn suits(&mut self, dialect: Dialect, name: &str, collection: &CollectionSection, sections: &Sections) {
        let path = KeyPath::of(["collection", name]);
        let (needed, useless): (&[Placeholder], &[Placeholder]) = match dialect {
            Dialect::ChunkWriter => return self.suits_chunk_writer(&path, collection, sections),
            Dialect::FileUpload => (&[Placeholder::SessionId], &[Placeholder::Tenant]),
            Dialect::Relay => (&[Placeholder::Tenant, Placeholder::FileName], &[Placeholder::SessionId]),
        };
        let template = &collection.path;
        for placeholder in needed.iter().filter(|placeholder| !template.uses(**placeholder)) {
            let message = format!("the path must hold `{{{}}}`, for `api.{}`", written(*placeholder), dialect.as_str());
            let help = match dialect {
                Dialect::Relay => "write \"{tenant}/{file_name}\"",
                _ => "write \"{stem}_{session_id}{ext}\", under a folder if you like",
            };
            self.error_with_help(&path.key("path"), message, Some(help.to_owned()));
        }
        for placeholder in useless.iter().filter(|placeholder| template.uses(**placeholder)) {
            let message =
                format!("`api.{}` has nothing to put in for `{{{}}}`", dialect.as_str(), written(*placeholder));
            self.error(&path.key("path"), message);
        }
        let extension = path.key("extension");
        if dialect == Dialect::Relay
            && collection.extension.as_deref() != Some("json")
            && !self.broken.touches(&extension)
        {
            let message = "`api.relay` serves files whose names end in `.json`, and no others";
            self.error_with_help(&extension, message, Some("write `extension = \"json\"`".to_owned()));
        }
    }

    /// It appends to one file, which no check may hold back.
    fn suits_chunk_writer(&mut self, path: &KeyPath, collection: &CollectionSection, sections: &Sections) {
        if Placeholder::ALL.iter().any(|(_, placeholder)| collection.path.uses(*placeholder)) {
            let message = "the chunk writer appends to one file: its path has no placeholders";
            self.error(&path.key("path"), message);
        }
        self.no_hooks(path, collection);
        let service = sections.storage.get(&collection.storage).map(|storage| storage.service.as_str());
        let service = self.known.services.iter().find(|known| Some(known.scheme) == service);
        if let Some(service) = service.filter(|service| !service.can_append) {
            let message =
                format!("the service `{}` cannot append to a file, as `api.chunk_writer` must", service.scheme);
            let help = "use a storage with `service = \"fs\"`".to_owned();
            self.error_with_help(&path.key("storage"), message, Some(help));
        }
    }

    /// Storages, staging and catalog keep to themselves: what one writes would be another's file.
    fn places(&mut self, sections: &Sections) {
        let own = |key: [&str; 2], what: &str, path: &Path| Place {
            key: KeyPath::of(key),
            what: what.to_owned(),
            path: path.to_owned(),
            is_root: false,
        };
        let mut places = vec![
            own(["catalog", "path"], "the catalog", &sections.catalog.path),
            own(["staging", "path"], "staging", &sections.staging.path),
        ];
        for (name, storage) in &sections.storage {
            if let Some(root) = storage.local_root().filter(|root| root.is_absolute()) {
                places.push(Place {
                    key: KeyPath::of(["storage", name, "root"]),
                    what: format!("the root of `storage.{name}`"),
                    path: root.to_owned(),
                    is_root: true,
                });
            }
        }
        places.retain(|place| !self.broken.touches(&place.key));
        if self.broken.touches(&KeyPath::of(["data_dir"])) {
            places.retain(|place| place.is_root);
        }
        let found: Vec<_> = nested(&places)
            .into_iter()
            .map(|(place, other, nesting)| {
                let message = format!("{} {} {}", place.what, nesting.in_words(), other.what);
                let help = format!("{} is at {}", other.what, other.path.display());
                (place.key.clone(), message, help)
            })
            .collect();
        for (key, message, help) in found {
            self.error_with_help(&key, message, Some(help));
        }
    }

    /// A collection that takes up what other programs put into its folders must not find another one's files there.
    fn shared_storages(&mut self, sections: &Sections) {
        let mut found = Vec::new();
        for (name, collection) in &sections.collection {
            let Some(taken_up) = collection.path.adopts() else {
                continue;
            };
            for (other_name, other) in &sections.collection {
                let other_folder = fixed_folder(other.path.as_str());
                let overlaps = is_within(other_folder, taken_up) || is_within(taken_up, other_folder);
                let told_before = other.path.adopts().is_some() && other_name < name;
                if other_name == name || other.storage != collection.storage || !overlaps || told_before {
                    continue;
                }
                let message = format!(
                    "`collection.{name}` takes up every file under `{}` of this storage, also those of `collection.{other_name}`",
                    if taken_up.is_empty() { "/" } else { taken_up }
                );
                found.push((KeyPath::of(["collection", other_name, "storage"]), message));
            }
        }
        for (key, message) in found {
            let help = "give one of them a storage with a root of its own".to_owned();
            self.error_with_help(&key, message, Some(help));
        }
    }

    /// Says so if `name` names nothing under `section`, unless what it names is there and broken.
    fn refers<'n>(
        &mut self,
        path: &KeyPath,
        name: &str,
        section: &str,
        known: impl Iterator<Item = &'n String> + Clone,
    ) {
        let is_there = known.clone().any(|known| known == name) || self.broken.touches(&KeyPath::of([section, name]));
        if !is_there {
            let message = format!("there is no `[{section}.{name}]`");
            self.error_with_help(path, message, near_or_all(name, known.map(String::as_str)));
        }
    }

    pub(super) fn error(&mut self, path: &KeyPath, message: impl Into<String>) {
        self.error_with_help(path, message, None);
    }

    pub(super) fn error_with_help(&mut self, path: &KeyPath, message: impl Into<String>, help: Option<String>) {
        let origin = self.document.origin_of_value(path);
        self.diagnostics.push(Diagnostic { help, ..Diagnostic::error(path.clone(), origin, message) });
    }

    pub(super) fn error_at_key(&mut self, path: &KeyPath, message: impl Into<String>, help: Option<String>) {
        let origin = self.document.origin_of_key(path);
        self.diagnostics.push(Diagnostic { help, ..Diagnostic::error(path.clone(), origin, message) });
    }

    fn warning(&mut self, path: &KeyPath, message: &str) {
        let origin = self.document.origin_of_value(path);
        self.diagnostics.push(Diagnostic::warning(path.clone(), origin, message));
    }
}

pub(super) fn near_or_all<'a>(given: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let all: Vec<_> = known.clone().collect();
    match (nearest(given, known), all.is_empty()) {
        (Some(name), _) => Some(format!("did you mean `{name}`?")),
        (None, true) => None,
        (None, false) => Some(format!("known here: {}", all.join(", "))),
    }
}

fn written(placeholder: Placeholder) -> &'static str {
    Placeholder::ALL.iter().find(|(_, known)| *known == placeholder).map_or("", |(name, _)| name)
}

/// The folder that every path of a template lies in.
fn fixed_folder(template: &str) -> &str {
    let literal = template.split('{').next().unwrap_or_default();
    literal.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn is_within(path: &str, folder: &str) -> bool {
    Path::new(path).starts_with(folder)
}
