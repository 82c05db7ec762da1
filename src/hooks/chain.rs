//! Runs a collection's checks in order, bounded in time, so that no plugin can hurt the gateway.
//!
//! A use that fails, panics or runs out of time has its declared outcome (`on_failure`). The client learns that
//! the check could not be carried out; why stands in the log.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use tidegate_plugin_sdk as sdk;
use tidegate_plugin_sdk::{PluginError, Validate};
use tokio::task::JoinHandle;

use super::config::{Options, PluginConfig};
use super::file::CandidateFile;
use super::registry;
use crate::collection::{Collection, HookUse, OnFailure};
use crate::files::port::{Candidate, Issue, Validation, Verdict};
use crate::to_the_end::words_of;

/// A file of at most this many bytes is checked on the spot: a task and a timer would cost more than the check, and
/// the check of so little does not keep a worker for long.
const ON_THE_SPOT: u64 = 64 * 1024;

/// The plugin instances that the collections use.
pub struct Hooks {
    instances: HashMap<Arc<str>, Arc<dyn Validate>>,
}

/// Why the hooks of a configuration cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("collection `{collection}` names the plugin `{plugin}`, and there is none of that name")]
    UnknownPlugin { collection: String, plugin: String },
    #[error("the plugin `{plugin}` cannot be built: {error}")]
    Failed { plugin: String, error: PluginError },
}

/// What came of one call of a plugin.
type Answer = Result<sdk::Verdict, Failure>;

/// Why a call of a plugin gave no verdict.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Plugin(PluginError),
    #[error("it panicked: {0}")]
    Panic(String),
    #[error("it took longer than {}", humantime::format_duration(*.0))]
    Timeout(std::time::Duration),
    #[error("there is no plugin of that name")]
    Missing,
    #[error("the gateway is stopping")]
    Stopping,
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
        let mut instances: HashMap<Arc<str>, Arc<dyn Validate>> = HashMap::new();
        let mut errors = Vec::new();
        for collection in collections {
            for HookUse { plugin, .. } in &collection.validate {
                if instances.contains_key(plugin) {
                    continue;
                }
                let declared = plugins.get(plugin);
                let options = declared.map_or(&none, |declared| &declared.options);
                let Some(kind) = registry::find(declared.map_or(plugin, |declared| &declared.kind)) else {
                    let (collection, plugin) = (collection.name.to_string(), plugin.to_string());
                    errors.push(BuildError::UnknownPlugin { collection, plugin });
                    continue;
                };
                match (kind.build)(options, base) {
                    Ok(instance) => drop(instances.insert(plugin.clone(), instance)),
                    Err(error) => errors.push(BuildError::Failed { plugin: plugin.to_string(), error }),
                }
            }
        }
        if errors.is_empty() { Ok(Self { instances }) } else { Err(errors) }
    }

    /// Lets the instances go, when no call is under way and none will come.
    pub async fn close(&self) {
        for (name, instance) in &self.instances {
            if let Err(panic) = AssertUnwindSafe(instance.close()).catch_unwind().await {
                tracing::error!(plugin = %name, error = words_of(&*panic), "a plugin panicked while it was closed");
            }
        }
    }

    async fn call(&self, hook: &HookUse, candidate: &Candidate) -> Answer {
        let plugin = self.instances.get(&hook.plugin).ok_or(Failure::Missing)?.clone();
        let file = CandidateFile::new(candidate.clone());
        let mut call: Pin<Box<dyn Future<Output = Answer> + Send>> = Box::pin(async move {
            match AssertUnwindSafe(plugin.validate(&file)).catch_unwind().await {
                Ok(answer) => answer.map_err(Failure::Plugin),
                Err(panic) => Err(Failure::Panic(words_of(&*panic))),
            }
        });
        if candidate.size <= ON_THE_SPOT
            && let Some(answer) = call.as_mut().now_or_never()
        {
            return answer;
        }
        // In a task of its own the deadline holds even while the plugin keeps its worker busy.
        let mut task = AbortOnDrop(tokio::spawn(call));
        match tokio::time::timeout(hook.timeout, &mut task.0).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.is_panic() => Err(Failure::Panic(words_of(&*error.into_panic()))),
            Ok(Err(_)) => Err(Failure::Stopping),
            Err(_) => Err(Failure::Timeout(hook.timeout)),
        }
    }
}

#[async_trait]
impl Validation for Hooks {
    async fn validate(&self, uses: &[HookUse], file: &Candidate) -> Verdict {
        for hook in uses.iter().filter(|hook| hook.is_for(&file.file_name)) {
            let issues = match self.call(hook, file).await {
                Ok(sdk::Verdict::Accept) => continue,
                Ok(sdk::Verdict::Reject(issues)) => issues.into_iter().map(Issue::from).collect(),
                Err(failure) => {
                    let is_accepted = hook.on_failure == OnFailure::Accept;
                    let outcome = if is_accepted { "accepted" } else { "rejected" };
                    tracing::warn!(
                        hook = %hook.plugin,
                        collection = %file.collection,
                        tenant = %file.tenant,
                        file_name = %file.file_name,
                        error = %failure,
                        "a check could not be carried out; the file is {outcome}",
                    );
                    if is_accepted {
                        continue;
                    }
                    vec![failure.issue(&hook.plugin)]
                }
            };
            return Verdict::Reject(issues);
        }
        Verdict::Accept
    }
}

impl Failure {
    /// What the client hears of it: nothing of the inside.
    fn issue(&self, plugin: &str) -> Issue {
        let (code, message) = match self {
            Failure::Timeout(timeout) => (
                "hook-timeout",
                format!("the check `{plugin}` took longer than {}", humantime::format_duration(*timeout)),
            ),
            _ => ("hook-failed", format!("the check `{plugin}` could not be carried out")),
        };
        Issue { path: String::new(), code: code.to_owned(), message }
    }
}

impl From<sdk::Issue> for Issue {
    fn from(issue: sdk::Issue) -> Self {
        let sdk::Issue { path, code, message } = issue;
        Self { path, code, message }
    }
}

/// A client that goes away, and a deadline, end the call too.
struct AbortOnDrop(JoinHandle<Answer>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
