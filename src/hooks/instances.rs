//! The plugin instances of one configuration: built together, used by every snapshot that a request took, closed when the last of these
//! is gone.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tidegate_plugin_sdk::{Plugin, PluginError, Stage};

use super::config::{Options, PluginConfig};
use super::registry::{self, Instance};
use super::turns::Turns;
use crate::collection::Collection;
use crate::to_the_end::words_of;

/// How long the end of the last calls is waited for, and how often it is looked for.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The hooks of one configuration. Dropping it closes the instances, as soon as no call is under way.
pub struct Hooks {
    instances: HashMap<Arc<str>, Instance>,
    pub(super) turns: Turns,
}

/// Why the hooks of a configuration cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("collection `{collection}` names the plugin `{plugin}`, and there is none of that name")]
    UnknownPlugin { collection: String, plugin: String },
    #[error("collection `{collection}` names the plugin `{plugin}` at `{stage}`, where it cannot be used")]
    WrongStage { collection: String, plugin: String, stage: Stage },
    #[error("the plugin `{plugin}` cannot be built: {error}")]
    Failed { plugin: String, error: PluginError },
}

impl Hooks {
    /// Builds each instance that the collections name once. All errors, not only the first.
    /// A name is that of a declared instance, or of a plugin, which is then one with its default options. Relative paths among the
    /// options count from `base`.
    pub fn build<'a>(
        collections: impl IntoIterator<Item = &'a Collection>,
        plugins: &BTreeMap<Arc<str>, PluginConfig>,
        base: &Path,
    ) -> Result<Self, Vec<BuildError>> {
        let none = Options::new();
        let mut instances: HashMap<Arc<str>, Instance> = HashMap::new();
        let mut errors = Vec::new();
        for (collection, stage, plugin) in collections.into_iter().flat_map(uses) {
            let declared = plugins.get(plugin);
            let options = declared.map_or(&none, |declared| &declared.options);
            let (collection, name) = (collection.to_owned(), plugin.to_string());
            let Some(kind) = registry::find(declared.map_or(plugin, |declared| &declared.kind)) else {
                errors.push(BuildError::UnknownPlugin { collection, plugin: name });
                continue;
            };
            if !kind.stages.contains(&stage) {
                errors.push(BuildError::WrongStage { collection, plugin: name, stage });
            } else if !instances.contains_key(plugin) {
                match (kind.build)(options, base) {
                    Ok(instance) => drop(instances.insert(plugin.clone(), instance)),
                    Err(error) => errors.push(BuildError::Failed { plugin: name, error }),
                }
            }
        }
        if errors.is_empty() { Ok(Self { instances, turns: Turns::default() }) } else { Err(errors) }
    }

    #[cfg(test)]
    pub(super) fn of(instances: impl IntoIterator<Item = (Arc<str>, Instance)>) -> Self {
        Self { instances: instances.into_iter().collect(), turns: Turns::default() }
    }

    pub(super) fn find(&self, plugin: &str) -> Option<&Instance> {
        self.instances.get(plugin)
    }
}

/// Every use of a collection: its name, where, and of what.
fn uses(collection: &Collection) -> impl Iterator<Item = (&str, Stage, &Arc<str>)> {
    let admit = collection.admit.iter().map(|hook| (Stage::Admit, &hook.plugin));
    let validate = collection.validate.iter().map(|hook| (Stage::Validate, &hook.plugin));
    let post_assembly = collection.post_assembly.iter().map(|hook| (Stage::PostAssembly, &hook.plugin));
    admit.chain(validate).chain(post_assembly).map(|(stage, plugin)| (&*collection.name, stage, plugin))
}

impl Drop for Hooks {
    fn drop(&mut self) {
        let instances = std::mem::take(&mut self.instances);
        // Without a runtime the process is ending, and what instances hold ends with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(close(instances));
        }
    }
}

async fn close(instances: HashMap<Arc<str>, Instance>) {
    let closing = instances.into_iter().map(|(name, instance)| close_one(name, instance.into_plugin()));
    join_all(closing).await;
}

async fn close_one(name: Arc<str>, plugin: Arc<dyn Plugin>) {
    // A call that its deadline ended may not have noticed yet: a plugin that keeps its thread cannot be stopped.
    let begun = Instant::now();
    while Arc::strong_count(&plugin) > 1 {
        if begun.elapsed() > CLOSED_WITHIN {
            tracing::error!(plugin = %name, "a plugin is not closed: a call of it comes to no end");
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if let Err(panic) = AssertUnwindSafe(plugin.close()).catch_unwind().await {
        tracing::error!(plugin = %name, error = words_of(&*panic), "a plugin panicked while it was closed");
    }
}
