//! The whole file as it may be written: the sections of all modules put together. What stands here is what `config schema`
//! prints; its doc comments are the descriptions there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::collections::CollectionSection;
use crate::auth::config::AuthConfig;
use crate::catalog::config::CatalogConfig;
use crate::events::config::EventsConfig;
use crate::hooks::config::{HooksConfig, PluginConfig};
use crate::http::api::config::ApisConfig;
use crate::http::config::ServerConfig;
use crate::staging::config::StagingConfig;
use crate::storage::config::StorageConfig;

/// Where the gateway keeps its own data: the folder that systemd gives it, else `data` beside the file.
pub const DEFAULT_DATA_DIR: &str = "${STATE_DIRECTORY:-data}";

/// The configuration of Tidegate.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Tidegate configuration")]
pub struct Sections {
    /// The folder for the gateway's own data: the catalog and staging, unless these say otherwise. Changing it takes a
    /// restart.
    pub data_dir: PathBuf,
    /// Where and how the gateway listens.
    pub server: ServerConfig,
    /// Who may do what.
    pub auth: AuthConfig,
    /// The metadata database.
    pub catalog: CatalogConfig,
    /// Where the bytes of unfinished uploads lie.
    pub staging: StagingConfig,
    /// The event log.
    pub events: EventsConfig,
    /// Places that files are published to, by name.
    pub storage: BTreeMap<String, StorageConfig>,
    /// Places that files are sent to, by name.
    pub collection: BTreeMap<String, CollectionSection>,
    /// What is common to all hooks.
    pub hooks: HooksConfig,
    /// Plugins with options of their own, by the names that hooks use them by.
    pub plugin: BTreeMap<String, PluginConfig>,
    /// The dialects that are served.
    pub api: ApisConfig,
}

impl Default for Sections {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
            server: ServerConfig::default(),
            auth: AuthConfig::default(),
            catalog: CatalogConfig::default(),
            staging: StagingConfig::default(),
            events: EventsConfig::default(),
            storage: BTreeMap::new(),
            collection: BTreeMap::new(),
            hooks: HooksConfig::default(),
            plugin: BTreeMap::new(),
            api: ApisConfig::default(),
        }
    }
}
