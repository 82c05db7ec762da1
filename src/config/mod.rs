//! The configuration: layers are read and merged, the sections that modules own are taken from them, held against one
//! another, and given out whole ([`Config`]) or not at all ([`Diagnostics`], all that is wrong in one run).
//!
//! Checking reads the files that the configuration names, dials nothing and changes nothing. Building what is configured
//! is the work of `boot`.

mod check;
mod check_hooks;
mod collections;
mod decode;
mod document;
mod expand;
mod file;
mod hook_uses;
mod layers;
mod paths;
mod sections;
mod show;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::config::AuthConfig;
use crate::catalog::config::CatalogConfig;
use crate::collection::Collection;
use crate::diagnostics::{Diagnostics, KeyPath};
use crate::events::config::EventsConfig;
use crate::hooks::config::{HooksConfig, PluginConfig, PluginKind};
use crate::http::api::config::ApisConfig;
use crate::http::config::ServerConfig;
use crate::staging::config::StagingConfig;
use crate::storage::config::{Service, StorageConfig};
use check::{Checker, Known};
use decode::{Broken, decode};
use document::Document;
use layers::FileText;
use paths::Folders;
pub use sections::Sections;

/// What a configuration is loaded from, and held against. Kept for a reload.
#[derive(Clone)]
pub struct LoadOptions {
    /// The file, where one was named.
    pub path: Option<PathBuf>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
    pub overrides: Vec<Override>,
    pub current_folder: PathBuf,
    /// The plugins that are compiled in.
    pub plugins: Vec<PluginKind>,
    /// The services that a storage may name.
    pub services: Vec<Service>,
}

/// A value that the command line gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Dotted, as `server.listen`.
    pub key: String,
    pub value: String,
    /// As it stands on the command line, for messages.
    pub flag: String,
}

/// The configuration, checked. Every path is absolute.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    pub server: ServerConfig,
    pub auth: AuthConfig,
    pub catalog: CatalogConfig,
    pub staging: StagingConfig,
    pub events: EventsConfig,
    pub storages: BTreeMap<Arc<str>, StorageConfig>,
    pub collections: BTreeMap<Arc<str>, Arc<Collection>>,
    pub hooks: HooksConfig,
    pub plugins: BTreeMap<Arc<str>, PluginConfig>,
    /// What relative paths among the plugins' options count from: the folder of the file.
    pub folder: PathBuf,
    pub apis: ApisConfig,
    /// The file that was read, as people know it.
    pub file: String,
    /// What is odd, yet not wrong.
    pub warnings: Diagnostics,
    /// Where each value was written, and the sections as they are shown.
    document: Document,
    sections: Sections,
}

/// What is read and not yet held against anything.
struct Draft {
    file: FileText,
    document: Document,
    sections: Sections,
    broken: Broken,
    has_syntax_errors: bool,
    /// All that is wrong by then.
    diagnostics: Diagnostics,
}

/// Loads and checks.
pub fn load(options: &LoadOptions) -> Result<Config, Diagnostics> {
    let draft = Draft::of(options)?;
    if draft.has_syntax_errors {
        return Err(finished(without_followers(draft.diagnostics), &draft.document));
    }
    let Draft { file, document, sections, broken, mut diagnostics, .. } = draft;
    let known = Known { plugins: &options.plugins, services: &options.services, folder: &file.folder };
    Checker { document: &document, broken: &broken, known: &known, diagnostics: &mut diagnostics }.check(&sections);
    let diagnostics = finished(diagnostics, &document);
    match diagnostics.has_errors() {
        true => Err(diagnostics),
        false => Ok(Config::of(sections, (file.name, file.folder), diagnostics, document)),
    }
}

/// Where the gateway of a configuration has its data, whatever else may be wrong there.
pub fn data_dir(options: &LoadOptions) -> Result<PathBuf, Diagnostics> {
    let Draft { document, sections, broken, has_syntax_errors, diagnostics, .. } = Draft::of(options)?;
    let key = KeyPath::of(["data_dir"]);
    if has_syntax_errors && document.get(&key).is_none() {
        // It may stand where nothing could be read; the default would be that of another gateway.
        return Err(finished(without_followers(diagnostics), &document));
    }
    match broken.touches(&key) {
        true => Err(finished(diagnostics, &document)),
        false => Ok(sections.data_dir),
    }
}

impl Draft {
    /// With what cannot be read left out. Fails where nothing can be read.
    fn of(options: &LoadOptions) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let found = layers::find_file(options.path.as_deref(), &options.variables, &options.current_folder);
        let file = match found {
            Ok(file) => file,
            Err(diagnostic) => {
                diagnostics.push(diagnostic);
                return Err(diagnostics);
            }
        };
        let read = file::read(&file.name, &file.folder, &file.text, &options.variables, &mut diagnostics);
        let mut broken = Broken::default();
        read.broken.into_iter().for_each(|path| broken.add(path));

        let document = merged(read.layer, options, &mut diagnostics);
        let Some(mut sections) = decode::<Sections>(&document, &mut broken, &mut diagnostics) else {
            return Err(finished(diagnostics, &document));
        };
        let known = Known { plugins: &options.plugins, services: &options.services, folder: &file.folder };
        let folders = Folders { file: &file.folder, current: &options.current_folder };
        let mut checker =
            Checker { document: &document, broken: &broken, known: &known, diagnostics: &mut diagnostics };
        checker.resolve_paths(&mut sections, &folders, &options.variables);
        Ok(Self { file, document, sections, broken, has_syntax_errors: read.has_syntax_errors, diagnostics })
    }
}

/// The file < the environment < the variables of what Tidegate replaces < flags.
fn merged(file: document::Layer, options: &LoadOptions, diagnostics: &mut Diagnostics) -> Document {
    let document = Document::of(vec![file]);
    let environment = layers::environment(&options.variables, &document, diagnostics);
    let document = document.with(environment);
    let legacy = layers::legacy(&options.variables, &options.current_folder, &document, diagnostics);
    let flags = layers::flags(&options.overrides, diagnostics);
    document.with(legacy).with(flags)
}

/// In order, and without secrets.
fn finished(mut diagnostics: Diagnostics, document: &Document) -> Diagnostics {
    diagnostics.redact(document.secrets().iter().map(String::as_str));
    diagnostics.sort();
    diagnostics
}

/// Behind broken syntax, what is missing may be there, and what stands on the same line may be misread.
fn without_followers(mut diagnostics: Diagnostics) -> Diagnostics {
    let is_syntax = |key: &KeyPath| key.steps().is_empty();
    let lines: Vec<_> = diagnostics
        .iter()
        .filter(|diagnostic| is_syntax(&diagnostic.key))
        .filter_map(|diagnostic| diagnostic.position().map(|(_, line, _)| line))
        .collect();
    diagnostics.retain(|diagnostic| {
        let line = diagnostic.position().map(|(_, line, _)| line);
        is_syntax(&diagnostic.key)
            || !(diagnostic.message.contains("is missing") || line.is_some_and(|line| lines.contains(&line)))
    });
    diagnostics
}

impl Config {
    fn of(sections: Sections, (file, folder): (String, PathBuf), warnings: Diagnostics, document: Document) -> Self {
        let storages = sections.storage.iter().map(|(name, storage)| (Arc::from(name.as_str()), storage.clone()));
        let collections = sections.collection.iter().map(|(name, section)| {
            let collection = section.resolve(name);
            (Arc::clone(&collection.name), Arc::new(collection))
        });
        Self {
            data_dir: sections.data_dir.clone(),
            server: sections.server.clone(),
            auth: sections.auth.clone(),
            catalog: sections.catalog.clone(),
            staging: sections.staging.clone(),
            events: sections.events.clone(),
            storages: storages.collect(),
            collections: collections.collect(),
            hooks: sections.hooks.clone(),
            plugins: sections.plugin.iter().map(|(name, plugin)| (Arc::from(name.as_str()), plugin.clone())).collect(),
            folder,
            apis: sections.api.clone(),
            file,
            warnings,
            document,
            sections,
        }
    }

    /// The keys whose change in `new` a reload cannot carry out.
    pub fn restart_needed(&self, new: &Config) -> Vec<String> {
        let changed = [
            ("data_dir", self.data_dir != new.data_dir),
            ("server.listen", self.server.listen != new.server.listen),
            ("server.max_connections", self.server.max_connections != new.server.max_connections),
            ("catalog.durability", self.catalog.durability != new.catalog.durability),
            ("catalog.path", self.catalog.path != new.catalog.path),
            ("staging.path", self.staging.path != new.staging.path),
            ("staging.unplaced_memory", self.staging.unplaced_memory != new.staging.unplaced_memory),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.to_owned()).collect()
    }

    /// This configuration after a reload: what takes a restart is still as `started` has it.
    #[must_use]
    pub fn keeping_started(mut self, started: &Config) -> Self {
        self.data_dir.clone_from(&started.data_dir);
        self.server.listen.clone_from(&started.server.listen);
        self.server.max_connections = started.server.max_connections;
        self.catalog = started.catalog.clone();
        self.staging.path.clone_from(&started.staging.path);
        self.staging.unplaced_memory = started.staging.unplaced_memory;
        self
    }
}

#[cfg(test)]
mod tests;
