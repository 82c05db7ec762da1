//! The configuration of the dialects: `[api.NAME]`. What a dialect needs of its collection is checked by `config`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::config::Anonymous;

/// The dialects that are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApisConfig {
    /// One file that text and binary chunks are appended to: `/write_chunk`, `/get_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_writer: Option<ApiConfig>,
    /// Large files in numbered chunks: `/fileupload/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fileupload: Option<ApiConfig>,
    /// JSON files by company, with a WebSocket of changes: `/api/files/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<ApiConfig>,
    /// What operators look at and do: `/v1/admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminConfig>,
}

/// The administration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Whether it is served. Without this it is, unless anonymous requests are let in from everywhere.
    pub enabled: bool,
}

/// One dialect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Whether it is served.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The `[collection.NAME]` that it works on. A collection belongs to one dialect.
    pub collection: String,
}

fn yes() -> bool {
    true
}

/// A dialect, by the name of its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    ChunkWriter,
    FileUpload,
    Relay,
}

impl Dialect {
    pub const ALL: [Dialect; 3] = [Dialect::ChunkWriter, Dialect::FileUpload, Dialect::Relay];

    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::ChunkWriter => "chunk_writer",
            Dialect::FileUpload => "fileupload",
            Dialect::Relay => "relay",
        }
    }
}

impl ApisConfig {
    /// The name of the collection that a dialect works on; `None` if the dialect is off.
    pub fn collection(&self, dialect: Dialect) -> Option<&str> {
        let section = match dialect {
            Dialect::ChunkWriter => &self.chunk_writer,
            Dialect::FileUpload => &self.fileupload,
            Dialect::Relay => &self.relay,
        };
        section.as_ref().filter(|api| api.enabled).map(|api| api.collection.as_str())
    }

    /// Whether the administration is served, where anonymous requests are let in from there.
    pub fn admin(&self, anonymous: Anonymous) -> bool {
        self.admin.as_ref().map_or(anonymous != Anonymous::Everywhere, |admin| admin.enabled)
    }

    /// The dialects that are on, each with the name of its collection.
    pub fn enabled(&self) -> impl Iterator<Item = (Dialect, &str)> {
        Dialect::ALL.into_iter().filter_map(|dialect| Some((dialect, self.collection(dialect)?)))
    }
}
