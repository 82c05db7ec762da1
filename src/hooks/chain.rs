//! Runs a collection's hooks: those that decide in order, and each follow-up by itself. One that fails has its declared outcome
//! (`on_failure`). The client learns that the hook could not be carried out; why stands in the log.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_plugin_sdk as sdk;
use tidegate_plugin_sdk::{Plugin, Stage};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::call::{Effort, Failure, bounded, with_retries};
use super::file::HandedFile;
use super::instances::Hooks;
use crate::collection::{HookUse, OnAdmitFailure, OnCheckFailure, OnFollowUpFailure};
use crate::files::port::{
    Admission, Announcement, Candidate, Denial, FollowUpOutcome, HookChain, Issue, PublishedFile, Verdict,
};
use crate::{name, time};

/// A file of at most this many bytes is checked on the spot.
const ON_THE_SPOT: u64 = 64 * 1024;
/// However long a counterpart asks to be left alone.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Of a name that a plugin made up and that is none, in characters.
const LONGEST_NAME_SHOWN: usize = 300;
/// What a client hears that was denied for a hook that could not be asked.
const FORBIDDEN: u16 = 403;

#[async_trait]
impl HookChain for Hooks {
    async fn admit(&self, uses: &[HookUse<OnAdmitFailure>], file: Announcement) -> Admission {
        let mut file = file;
        for hook in uses {
            // Asked anew for each: the one before may have changed the name.
            if !hook.is_for(&file.file_name) {
                continue;
            }
            let admitted = match self.ask_to_admit(hook, &file).await {
                Ok(sdk::Admission::Allow(amendment)) => amend(&mut file, amendment),
                Ok(sdk::Admission::Deny(sdk::Denial { status, reason })) => {
                    return Admission::Deny(Denial { status: bounded_status(status), reason });
                }
                Err(failure) => Err(failure),
            };
            if let Err(failure) = admitted {
                let OnAdmitFailure::Deny = hook.on_failure;
                let Announcement { collection, tenant, file_name, .. } = &file;
                tracing::warn!(
                    hook = %hook.plugin, collection, tenant, file_name, error = %failure,
                    "whether a file may be sent could not be asked; it is denied",
                );
                let reason = failure.words_for_clients("hook", &hook.plugin).1;
                return Admission::Deny(Denial { status: FORBIDDEN, reason });
            }
        }
        Admission::Allow { file_name: file.file_name, content_type: file.content_type }
    }

    async fn validate(&self, uses: &[HookUse<OnCheckFailure>], file: &Candidate) -> Verdict {
        let before = Mark::of(file);
        for hook in uses.iter().filter(|hook| hook.is_for(&file.file_name)) {
            let answer = self.ask_to_validate(hook, file).await;
            let issues = match answer {
                _ if Mark::of(file) != before => {
                    let Candidate { collection, tenant, file_name, .. } = file;
                    let changed = "a file changed while a check looked at it";
                    tracing::error!(hook = %hook.plugin, collection, tenant, file_name, "{changed}");
                    let message = format!("the file changed while the check `{}` looked at it", hook.plugin);
                    vec![Issue { path: String::new(), code: "hook-changed-file".to_owned(), message }]
                }
                Ok(sdk::Verdict::Accept) => continue,
                Ok(sdk::Verdict::Reject(issues)) => issues.into_iter().map(Issue::from).collect(),
                Err(failure) => {
                    let is_accepted = hook.on_failure == OnCheckFailure::Accept;
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
                    let (code, message) = failure.words_for_clients("check", &hook.plugin);
                    vec![Issue { path: String::new(), code: code.to_owned(), message }]
                }
            };
            return Verdict::Reject(issues);
        }
        Verdict::Accept
    }

    fn reads_content(&self, plugin: &str) -> bool {
        let instance = self.find(plugin).and_then(|instance| instance.post_assembly.as_ref());
        instance.is_some_and(|plugin| plugin.reads_content())
    }

    fn at_once(&self, plugin: &str) -> Option<usize> {
        self.find(plugin).and_then(|instance| instance.plugin.at_once())
    }

    async fn follow_up(&self, hook: &HookUse<OnFollowUpFailure>, file: PublishedFile) -> FollowUpOutcome {
        let answer = match self.find(&hook.plugin).and_then(|instance| instance.post_assembly.clone()) {
            None => Err(Failure::Missing),
            Some(plugin) => {
                let publication = publication_of(&file);
                let file = HandedFile::published(file);
                let call = async move { plugin.follow_up(&file, &publication).await };
                bounded(hook.timeout, Effort::Large, call).await
            }
        };
        match answer {
            Ok(sdk::FollowUp::Done) => FollowUpOutcome::Done,
            Ok(sdk::FollowUp::Retry { reason, after }) => {
                FollowUpOutcome::Retry { reason, after: after.map(|after| after.min(LONGEST_WAIT)) }
            }
            Ok(sdk::FollowUp::GiveUp { reason }) => FollowUpOutcome::GiveUp { reason },
            Ok(sdk::FollowUp::Disable { reason }) => FollowUpOutcome::Disable { reason },
            Err(failure) if failure.is_retryable() => {
                FollowUpOutcome::Retry { reason: failure.to_string(), after: None }
            }
            Err(failure) => FollowUpOutcome::GiveUp { reason: failure.to_string() },
        }
    }
}

impl Hooks {
    async fn ask_to_admit(
        &self,
        hook: &HookUse<OnAdmitFailure>,
        file: &Announcement,
    ) -> Result<sdk::Admission, Failure> {
        let plugin = self.find(&hook.plugin).and_then(|instance| instance.admit.clone()).ok_or(Failure::Missing)?;
        let Announcement { collection, tenant, file_name, size, content_type } = file;
        let question =
            Arc::new(sdk::Announcement::new(new_id(), collection, tenant, file_name).with(*size, content_type.clone()));
        let call = || async {
            let _turn = self.turn(hook, &*plugin, collection, Stage::Admit).await?;
            let (plugin, question) = (plugin.clone(), question.clone());
            bounded(hook.timeout, Effort::Small, async move { plugin.admit(&question).await }).await
        };
        with_retries(hook, call).await
    }

    async fn ask_to_validate(&self, hook: &HookUse<OnCheckFailure>, file: &Candidate) -> Result<sdk::Verdict, Failure> {
        let plugin = self.find(&hook.plugin).and_then(|instance| instance.validate.clone()).ok_or(Failure::Missing)?;
        let effort = if file.size <= ON_THE_SPOT { Effort::Small } else { Effort::Large };
        let id = new_id();
        let call = || async {
            let _turn = self.turn(hook, &*plugin, &file.collection, Stage::Validate).await?;
            let (plugin, file) = (plugin.clone(), HandedFile::candidate(file.clone(), &id));
            bounded(hook.timeout, effort, async move { plugin.validate(&file).await }).await
        };
        with_retries(hook, call).await
    }

    /// Waits until a call may begin, where the plugin has a bound.
    async fn turn<F>(
        &self,
        hook: &HookUse<F>,
        plugin: &(impl Plugin + ?Sized),
        collection: &str,
        stage: Stage,
    ) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let Some(at_once) = plugin.at_once() else { return Ok(None) };
        self.turns.take((&hook.plugin, collection, stage), at_once, hook.timeout).await.map(Some)
    }
}

/// What a file that lies on this machine was like. A plugin is shown where it lies, and must not write there: what would be published
/// is not what was checked. That is asked here and not of the plugin, which may have run out of time.
#[derive(Debug, PartialEq, Eq)]
struct Mark(Option<(u64, i64, i64, i64, i64)>);

impl Mark {
    fn of(file: &Candidate) -> Self {
        let metadata = file.content.local_path().and_then(|path| std::fs::metadata(path).ok());
        let times = |it: Metadata| (it.len(), it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
        Self(metadata.map(times))
    }
}

/// What is asked before there is a version of the file has a name of its own.
fn new_id() -> String {
    Uuid::now_v7().simple().to_string()
}

/// A plugin may make a name up; it is held to what clients are.
fn amend(file: &mut Announcement, amendment: sdk::Amendment) -> Result<(), Failure> {
    if let Some(file_name) = amendment.file_name {
        file.file_name = name::file_name(&file_name).map_err(|error| {
            let made_up = sdk::shown(&file_name, LONGEST_NAME_SHOWN);
            let context = format!("it amends the file's name to `{made_up}`: {error}");
            Failure::Plugin(sdk::PluginError::permanent(sdk::ErrorKind::Internal, context))
        })?;
    }
    if amendment.content_type.is_some() {
        file.content_type = amendment.content_type;
    }
    Ok(())
}

/// A denial is the client's matter, whatever a plugin says.
fn bounded_status(status: u16) -> u16 {
    if (400..=499).contains(&status) { status } else { FORBIDDEN }
}

fn publication_of(file: &PublishedFile) -> sdk::Publication {
    let sha256 = file.sha256.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect());
    let published = time::rfc_3339(file.published);
    sdk::Publication::new(&*file.event_id, &*file.version, published, file.attempt).with_sha256(sha256)
}

impl Failure {
    /// What the client hears of it, a code and a sentence: nothing of the inside.
    fn words_for_clients(&self, what: &str, plugin: &str) -> (&'static str, String) {
        match self {
            Failure::Timeout(timeout) => (
                "hook-timeout",
                format!("the {what} `{plugin}` took longer than {}", humantime::format_duration(*timeout)),
            ),
            Failure::Busy { patience, .. } => {
                let waited = humantime::format_duration(*patience);
                ("hook-busy", format!("the {what} `{plugin}` had no time for it within {waited}; send it again later"))
            }
            _ => ("hook-failed", format!("the {what} `{plugin}` could not be carried out")),
        }
    }
}

impl From<sdk::Issue> for Issue {
    fn from(issue: sdk::Issue) -> Self {
        let sdk::Issue { path, code, message } = issue;
        Self { path, code, message }
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
