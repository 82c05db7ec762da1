//! The configuration of `events`: `[events]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// The event log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// How long events stay in the log. A subscriber who comes back later than that is told to reload.
    pub keep: Period,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { keep: Period::seconds(30 * 24 * 60 * 60) }
    }
}
