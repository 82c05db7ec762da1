//! Follow-ups: the runs of post-assembly hooks that publications owe. They are written with the publication itself, claimed by `jobs`, and
//! carried out here, with the hooks that are configured by then; what cannot succeed ends as a dead letter, for an operator to look at, retry
//! or discard.
//!
//! Which plugin runs and what its failure means is decided in `hooks`; how long to wait and how often to try in `jobs`, by
//! the hook's `retry`.

pub mod port;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::collection::{HookUse, OnFollowUpFailure};
use crate::crash;
use crate::fault::Fault;
use crate::files::port::{Content, FollowUpOutcome, PublishedFile};
use crate::files::{Files, StoredVersion};
use port::{Catalog, FailedAttempt, Filter, FollowUp, FollowUpId, HookCounts, HookName, Selection, SwitchedOff};

/// So many failed attempts of a follow-up are shown.
const ATTEMPTS_SHOWN: usize = 100;

/// The domain service. Cheap to clone; [`FollowUps::with_files`] gives it the places of another configuration.
#[derive(Clone)]
pub struct FollowUps {
    catalog: Arc<dyn Catalog>,
    files: Files,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    Done,
    Retry {
        reason: String,
        after: Option<std::time::Duration>,
    },
    /// [`FollowUps::give_up`] ends it.
    GiveUp {
        reason: String,
    },
}

/// A hook, and how it stands with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookState {
    pub counts: HookCounts,
    pub is_configured: bool,
    pub off: Option<SwitchedOff>,
}

/// Why a follow-up was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    #[error("there is no follow-up {}", .0.0)]
    Missing(FollowUpId),
    #[error("an attempt of the follow-up {} is under way; ask again when it has ended", .0.0)]
    Running(FollowUpId),
}

/// Why nothing was owed anew.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    #[error("`{0}` is not configured any more, so nothing would carry it out: put it back, reload, and ask again")]
    NotConfigured(HookName),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl FollowUps {
    pub fn new(catalog: Arc<dyn Catalog>, files: Files) -> Self {
        Self { catalog, files }
    }

    /// The same service over the places of another configuration.
    pub fn with_files(&self, files: Files) -> Self {
        Self { catalog: self.catalog.clone(), files }
    }

    /// The hooks that are configured, each with its use of a plugin.
    pub fn configured(&self) -> BTreeMap<HookName, HookUse<OnFollowUpFailure>> {
        let collections = self.files.places().collections.values();
        let hooks = collections.flat_map(|collection| {
            let name = |hook: &HookUse<_>| HookName::new(&collection.name, &hook.plugin);
            collection.post_assembly.iter().map(move |hook| (name(hook), hook.clone()))
        });
        hooks.collect()
    }

    /// How many attempts of a hook may be under way at the same time, where its plugin has a bound.
    pub fn at_once(&self, hook: &HookName) -> Option<usize> {
        self.files.places().hooks.at_once(&hook.plugin)
    }

    /// One attempt.
    pub async fn carry_out(&self, id: FollowUpId, attempt: u32) -> Attempted {
        crash::point("follow-up.begun");
        let outcome = self.try_carry_out(id, attempt).await;
        crash::point("follow-up.ended");
        outcome.unwrap_or_else(|fault| Attempted::Retry { reason: fault.to_string(), after: None })
    }

    async fn try_carry_out(&self, id: FollowUpId, attempt: u32) -> Result<Attempted, Fault> {
        // An operator may have discarded it meanwhile.
        let Some(row) = self.catalog.follow_up(id).await? else { return Ok(Attempted::Done) };
        let places = self.files.places();
        let configured = places.collection(&row.hook.collection);
        let configured = configured.and_then(|collection| Some((collection, collection.follow_up(&row.hook.plugin)?)));
        let Some((collection, hook)) = configured else {
            return Ok(Attempted::GiveUp { reason: not_configured(&row.hook) });
        };
        if let Some(off) = self.catalog.switched_off(&row.hook).await? {
            let reason = format!("the hook is switched off since {}: {}", off.since, off.reason);
            return Ok(Attempted::GiveUp { reason });
        }
        let content = match places.hooks.reads_content(&row.hook.plugin) {
            false => None,
            true => {
                let Some(storage) = places.storage(&row.storage) else {
                    let reason = format!("the storage `{}` is not configured any more", row.storage);
                    return Ok(Attempted::GiveUp { reason });
                };
                let file = StoredVersion {
                    tenant: &row.tenant,
                    file_name: &row.file_name,
                    path: &row.path,
                    version: &row.version,
                };
                match self.files.open_version(collection, storage, file).await? {
                    Some(content) => Some(content),
                    None => {
                        let (hook, path) = (row.hook.to_string(), row.path.as_str());
                        tracing::info!(hook, path, "there is nothing to follow up: that version of the file is gone");
                        return Ok(Attempted::Done);
                    }
                }
            }
        };
        let outcome = places.hooks.follow_up(hook, published_file(&row, attempt, content)).await;
        Ok(match outcome {
            FollowUpOutcome::Done => Attempted::Done,
            FollowUpOutcome::Retry { reason, after } => Attempted::Retry { reason, after },
            FollowUpOutcome::GiveUp { reason } => Attempted::GiveUp { reason },
            FollowUpOutcome::Disable { reason } => {
                let hook = row.hook.to_string();
                tracing::error!(hook, reason, "a hook is switched off: its counterpart wants no more of it");
                self.catalog.switch_off(&row.hook, &reason, Timestamp::now()).await?;
                Attempted::GiveUp { reason }
            }
        })
    }

    /// No attempt can succeed, or none is left: as the hook's `on_failure` says. What is owed to a hook that is switched off is kept all the
    /// same, for whoever switches it on again.
    pub async fn give_up(&self, id: FollowUpId, reason: &str) -> Result<(), Fault> {
        let Some(row) = self.catalog.follow_up(id).await? else { return Ok(()) };
        let collection = self.files.places().collection(&row.hook.collection);
        let on_failure = collection.and_then(|collection| collection.follow_up(&row.hook.plugin));
        let is_dropped = on_failure.is_some_and(|hook| hook.on_failure == OnFollowUpFailure::Drop)
            && self.catalog.switched_off(&row.hook).await?.is_none();
        match is_dropped {
            true => self.catalog.drop_follow_up(id).await?,
            false => self.catalog.bury(id, reason, Timestamp::now()).await?,
        }
        let FollowUp { tenant, file_name, event_id, .. } = &row;
        let outcome = if is_dropped { "dropped" } else { "a dead letter" };
        tracing::warn!(hook = %row.hook, id = id.0, tenant, file_name, event_id, reason, "a follow-up is {outcome}");
        Ok(())
    }

    /// The last follow-up that is owed. Ask before the configuration is read that [`FollowUps::bury_orphans`] is to go by.
    pub async fn last(&self) -> Result<FollowUpId, Fault> {
        self.catalog.last_follow_up().await
    }

    /// What is owed to a hook that is not configured any more becomes a dead letter. What a newer configuration owes comes after `up_to`.
    /// A hook that is gone is not switched off either.
    pub async fn bury_orphans(&self, up_to: FollowUpId) -> Result<(), Fault> {
        let configured: Vec<HookName> = self.configured().into_keys().collect();
        let reason = "the hook is not configured any more";
        let buried = self.catalog.bury_others(&configured, up_to, reason, Timestamp::now()).await?;
        if buried > 0 {
            tracing::warn!(buried, "follow-ups of hooks that are not configured any more became dead letters");
        }
        for off in self.catalog.all_switched_off().await? {
            if !configured.contains(&off.hook) {
                self.catalog.switch_on(&off.hook).await?;
            }
        }
        Ok(())
    }

    /// Removes what was done before `before` from the list. Gives how many.
    pub async fn prune_done(&self, before: Timestamp) -> Result<u64, Fault> {
        self.catalog.prune_done(before).await
    }

    // -----------------------------------------------------------------------------------------------------
    // For operators

    /// Every hook that is configured or has follow-ups, by name.
    pub async fn hooks(&self) -> Result<Vec<HookState>, Fault> {
        let configured = self.configured();
        let mut off: BTreeMap<HookName, SwitchedOff> =
            self.catalog.all_switched_off().await?.into_iter().map(|off| (off.hook.clone(), off)).collect();
        let none = |hook: &HookName| HookCounts { hook: hook.clone(), owed: 0, running: 0, done: 0, dead: 0 };
        let mut counts: BTreeMap<HookName, HookCounts> =
            configured.keys().map(|hook| (hook.clone(), none(hook))).collect();
        counts.extend(self.catalog.hook_counts().await?.into_iter().map(|counts| (counts.hook.clone(), counts)));
        let state = |(name, counts): (HookName, HookCounts)| HookState {
            is_configured: configured.contains_key(&name),
            off: off.remove(&name),
            counts,
        };
        Ok(counts.into_iter().map(state).collect())
    }

    /// Whether there is such a hook: one that is configured, or has follow-ups.
    pub async fn is_known(&self, hook: &HookName) -> Result<bool, Fault> {
        let filter = Filter { hook: Some(hook.clone()), state: None };
        Ok(self.configured().contains_key(hook) || !self.catalog.follow_ups(&filter, None, 1).await?.is_empty())
    }

    /// Oldest first, after `after`, at most `limit`.
    pub async fn list(&self, filter: &Filter, after: Option<FollowUpId>, limit: usize) -> Result<Vec<FollowUp>, Fault> {
        self.catalog.follow_ups(filter, after, limit).await
    }

    /// A follow-up with its failed attempts, oldest first.
    pub async fn find(&self, id: FollowUpId) -> Result<Option<(FollowUp, Vec<FailedAttempt>)>, Fault> {
        let Some(row) = self.catalog.follow_up(id).await? else { return Ok(None) };
        let attempts = self.catalog.failed_attempts(id, ATTEMPTS_SHOWN).await?;
        Ok(Some((row, attempts)))
    }

    /// Owes them anew, due at once. Gives how many; what runs is left alone.
    pub async fn retry(&self, which: &Selection) -> Result<u64, RetryError> {
        let hook = match which {
            Selection::One(id) => match self.catalog.follow_up(*id).await? {
                Some(row) => row.hook,
                None => return Ok(0),
            },
            Selection::DeadOf(hook) => hook.clone(),
        };
        if !self.configured().contains_key(&hook) {
            return Err(RetryError::NotConfigured(hook));
        }
        Ok(self.catalog.retry(which, Timestamp::now()).await?)
    }

    /// Why [`FollowUps::retry`] or [`FollowUps::discard`] of this one has changed nothing.
    pub async fn unchanged(&self, id: FollowUpId) -> Result<Unchanged, Fault> {
        let row = self.catalog.follow_up(id).await?;
        Ok(row.map_or(Unchanged::Missing(id), |_| Unchanged::Running(id)))
    }

    /// Removes them. Gives how many; what runs is left alone.
    pub async fn discard(&self, which: &Selection) -> Result<u64, Fault> {
        self.catalog.discard(which).await
    }
}

fn not_configured(hook: &HookName) -> String {
    let HookName { collection, plugin } = hook;
    format!("the collection `{collection}` has no hook `{plugin}` after publication any more")
}

fn published_file(row: &FollowUp, attempt: u32, content: Option<Arc<dyn Content>>) -> PublishedFile {
    PublishedFile {
        collection: row.hook.collection.clone(),
        tenant: row.tenant.clone(),
        file_name: row.file_name.clone(),
        size: row.size,
        sha256: row.sha256,
        version: row.version.clone(),
        event_id: row.event_id.clone(),
        published: row.published,
        attempt,
        content,
    }
}
