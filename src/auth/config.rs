//! The configuration of `auth`: `[auth]`. Whether the gateway may listen where its answer allows it is checked by
//! `config`, which sees both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Where requests without credentials are served.
    pub anonymous: Anonymous,
}

/// Where requests without credentials are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// On this machine alone: the gateway listens on loopback addresses only.
    #[default]
    Loopback,
    /// Nowhere.
    Nowhere,
    /// On every address that the gateway listens on: whoever reaches it may read, write and delete.
    Everywhere,
}
