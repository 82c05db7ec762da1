//! The configuration of `hooks`: `[hooks]`, `[plugin.NAME]`, and what `config` must know of the plugins that are compiled in to check such a
//! section and the uses of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::diagnostics::is_secret_name;
use crate::units::Period;
pub use tidegate_plugin_sdk::Stage;

/// What is common to all hooks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HooksConfig {
    /// How long a follow-up that was carried out stays in the list of them, so that it can be seen that it was.
    pub keep_done: Period,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self { keep_done: Period::seconds(24 * 3600) }
    }
}

/// The options of an instance, by their names.
pub type Options = BTreeMap<String, Value>;

/// An instance of a plugin, with options of its own.
#[derive(Clone, PartialEq, JsonSchema)]
pub struct PluginConfig {
    /// The plugin, as `json-schema`.
    pub kind: String,
    /// That plugin's own options; its README has them.
    #[schemars(flatten)]
    pub options: Options,
}

/// Secrets stay secret in logs and panics; so names alone.
impl fmt::Debug for PluginConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.keys().collect();
        formatter.debug_struct("PluginConfig").field("kind", &self.kind).field("options", &options).finish()
    }
}

/// As it is shown to people: with `…` where the name says that a secret stands.
impl Serialize for PluginConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = ("kind", Value::from(self.kind.as_str()));
        let shown = |(name, value): (&'_ String, &Value)| match is_secret_name(name) {
            true => Value::from("…"),
            false => value.clone(),
        };
        let options = self.options.iter().map(|option| (option.0.as_str(), shown(option)));
        serializer.collect_map(std::iter::once(kind).chain(options))
    }
}

/// By hand, for `#[serde(flatten)]` would lose which option an error is about.
impl<'de> Deserialize<'de> for PluginConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut options = Options::deserialize(deserializer)?;
        let kind = options.remove("kind").ok_or_else(|| D::Error::missing_field("kind"))?;
        match kind {
            Value::String(kind) => Ok(Self { kind, options }),
            other => Err(D::Error::custom(format_args!("`kind` is a plugin's name as text, not `{other}`"))),
        }
    }
}

/// A plugin that is compiled in.
#[derive(Clone, Copy)]
pub struct PluginKind {
    pub name: &'static str,
    /// Where it can be used.
    pub stages: &'static [Stage],
    /// Everything that is wrong with an instance's options. Relative paths among them count from the folder. Dials nothing, changes
    /// nothing; reads the files that the options name.
    pub check: fn(&Options, &Path) -> Vec<OptionProblem>,
    /// What of options that are right in themselves does not go with a stage.
    pub check_at: fn(&Options, Stage) -> Option<String>,
}

/// Something that is wrong with an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblem {
    /// Its name, with dots between levels.
    pub option: String,
    pub message: String,
    /// The plugin has no such option: it is not its value that is wrong.
    pub is_unknown: bool,
}
