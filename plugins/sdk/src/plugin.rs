//! What every plugin has whatever its stages: how it is made of its options, and how it is let go.

use std::path::Path;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::error::PluginError;
use crate::stage::Stage;

/// An instance of a plugin.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// Lets go of what the instance holds: connections, child processes, what was not sent yet. Called once, when no
    /// call is under way and none will come; not called when the gateway is killed, so nothing may depend on it.
    async fn close(&self) {}

    /// How many calls of one use (a collection's, at one stage) may be under way at the same time; `None` is as many as come. Who waits for
    /// his turn waits in the gateway, where that costs a call nothing of its deadline, nor a follow-up one of its attempts. It never changes.
    fn at_once(&self) -> Option<usize> {
        None
    }
}

/// Something that is wrong with an instance's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionIssue {
    /// The option, with dots between levels, as `"retry.first"`.
    pub option: String,
    /// What was expected, and what to write instead.
    pub message: String,
}

impl OptionIssue {
    pub fn new(option: impl Into<String>, message: impl Into<String>) -> Self {
        Self { option: option.into(), message: message.into() }
    }
}

/// How an instance comes to be. Apart from [`Plugin`], so that an instance can stand behind `dyn`.
pub trait Build: Plugin + Sized {
    /// What `kind` says in the configuration. It never changes.
    const KIND: &'static str;

    /// The options. `Default` is the instance that a collection gets by naming the kind alone; unknown options are
    /// refused (`#[serde(deny_unknown_fields)]`). Its schema is the reference of the options: what their doc comments say is shown to
    /// operators.
    type Config: DeserializeOwned + Default + JsonSchema + Send;

    /// Everything that is wrong with the options. Dials nothing, changes nothing; reads only files that they name. Relative paths among
    /// the options count from `base`, the folder of the file that they stand in.
    fn check(config: &Self::Config, base: &Path) -> Vec<OptionIssue>;

    /// What of the options does not go with a stage at which the instance is used, in words for the operator. What is wrong with them in
    /// themselves [`Build::check`] has said.
    fn check_at(_config: &Self::Config, _stage: Stage) -> Option<String> {
        None
    }

    /// Makes the instance of options that [`Build::check`] found nothing wrong with. Dials nothing.
    fn build(config: Self::Config, base: &Path) -> Result<Self, PluginError>;
}
