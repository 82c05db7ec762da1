//! The configuration of `staging`: `[staging]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Period};

/// Where the bytes of unfinished uploads lie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StagingConfig {
    /// The spool's folder. Without it, `staging` in `data_dir`. On the filesystem of the `fs` storages, publication is a
    /// rename; elsewhere it is a copy. Changing it takes a restart.
    #[schemars(extend("default" = "DATA_DIR/staging"))]
    #[serde(skip_serializing_if = "is_unset")]
    pub path: PathBuf,
    /// How long an upload may go without a byte before it expires and its bytes are removed.
    pub expire_after: Period,
    /// Memory for parts whose place is not known yet, over all uploads; past it they go to files.
    pub unplaced_memory: ByteSize,
}

impl Default for StagingConfig {
    fn default() -> Self {
        Self { path: PathBuf::new(), expire_after: Period::seconds(24 * 60 * 60), unplaced_memory: ByteSize::mib(8) }
    }
}

/// `config` puts the place in `data_dir` there before anyone else sees the section.
fn is_unset(path: &std::path::Path) -> bool {
    path.as_os_str().is_empty()
}
