//! The configuration of `catalog`: `[catalog]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The metadata database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogConfig {
    /// What an acknowledged byte survives. Changing it takes a restart.
    pub durability: Durability,
    /// The SQLite file. Without it, `tidegate.db` in `data_dir`. Changing it takes a restart.
    #[schemars(extend("default" = "DATA_DIR/tidegate.db"))]
    #[serde(skip_serializing_if = "is_unset")]
    pub path: PathBuf,
}

/// What an acknowledged byte survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The end of the process at any instant.
    #[default]
    Process,
    /// Loss of power too; every acknowledgement waits for the disk.
    Disk,
}

/// `config` puts the place in `data_dir` there before anyone else sees the section.
fn is_unset(path: &std::path::Path) -> bool {
    path.as_os_str().is_empty()
}
