//! What follow-ups need of the catalog. That they are owed is written with the publication itself ([`crate::files::port::Publication`]),
//! and that they are run is the matter of `jobs`; here they are looked at, and brought to an end.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::fault::Fault;
use crate::files::port::Version;

/// A follow-up's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FollowUpId(pub i64);

/// Durable states of a follow-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FollowUpState {
    /// It is to be tried, now or later.
    Owed,
    /// An attempt is under way.
    Running,
    /// It was carried out. It stays in the list for a while (`hooks.keep_done`).
    Done,
    /// No attempt succeeded: a dead letter.
    Dead,
}

impl FollowUpState {
    pub const ALL: [FollowUpState; 4] =
        [FollowUpState::Owed, FollowUpState::Running, FollowUpState::Done, FollowUpState::Dead];

    pub fn as_str(self) -> &'static str {
        match self {
            FollowUpState::Owed => "owed",
            FollowUpState::Running => "running",
            FollowUpState::Done => "done",
            FollowUpState::Dead => "dead",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A hook by its collection and its plugin, as `societes/erp`. Neither name holds a `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HookName {
    pub collection: String,
    pub plugin: String,
}

impl HookName {
    pub fn new(collection: &str, plugin: &str) -> Self {
        Self { collection: collection.to_owned(), plugin: plugin.to_owned() }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (collection, plugin) = text.split_once('/')?;
        (!collection.is_empty() && !plugin.is_empty()).then(|| Self::new(collection, plugin))
    }
}

impl std::fmt::Display for HookName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.collection, self.plugin)
    }
}

/// What is owed to a publication, and how it stands with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowUp {
    pub id: FollowUpId,
    pub hook: HookName,
    pub state: FollowUpState,
    /// The same at each attempt, and for each hook that the publication owes.
    pub event_id: String,
    pub tenant: String,
    pub file_name: String,
    pub storage: String,
    pub path: String,
    pub version: Version,
    /// Bytes.
    pub size: u64,
    pub sha256: Option<[u8; 32]>,
    pub published: Timestamp,
    /// How often it was tried, since it was last retried by hand.
    pub attempts: u32,
    /// When it is tried next, while it is owed.
    pub due: Timestamp,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// When it was done, or given up.
    pub ended: Option<Timestamp>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Its number, from 1; from 1 again after a retry by hand.
    pub attempt: u32,
    pub at: Timestamp,
    pub reason: String,
}

/// How many follow-ups a hook has in each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookCounts {
    pub hook: HookName,
    pub owed: u64,
    pub running: u64,
    pub done: u64,
    pub dead: u64,
}

/// A hook that its counterpart switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchedOff {
    pub hook: HookName,
    pub reason: String,
    pub since: Timestamp,
}

/// Which follow-ups are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub hook: Option<HookName>,
    pub state: Option<FollowUpState>,
}

/// Which follow-ups an operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    One(FollowUpId),
    /// The dead letters of a hook.
    DeadOf(HookName),
}

/// The rows. Every write is one transaction that has returned from COMMIT.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    async fn follow_up(&self, id: FollowUpId) -> Result<Option<FollowUp>, Fault>;

    /// The failed attempts of a follow-up, oldest first, at most `limit` of the latest.
    async fn failed_attempts(&self, id: FollowUpId, limit: usize) -> Result<Vec<FailedAttempt>, Fault>;

    /// Oldest first, after `after`, at most `limit`.
    async fn follow_ups(
        &self,
        filter: &Filter,
        after: Option<FollowUpId>,
        limit: usize,
    ) -> Result<Vec<FollowUp>, Fault>;

    /// Of each hook that has any, by name.
    async fn hook_counts(&self) -> Result<Vec<HookCounts>, Fault>;

    /// No attempt succeeded: a dead letter from here on.
    async fn bury(&self, id: FollowUpId, reason: &str, at: Timestamp) -> Result<(), Fault>;

    /// As if it had never been owed.
    async fn drop_follow_up(&self, id: FollowUpId) -> Result<(), Fault>;

    /// Owes the selected anew, due at once and with every attempt before it; not what runs. Switches the hook on again (of a single one:
    /// if that was owed anew). Gives how many.
    async fn retry(&self, which: &Selection, at: Timestamp) -> Result<u64, Fault>;

    /// Removes the selected, unless they run. Gives how many.
    async fn discard(&self, which: &Selection) -> Result<u64, Fault>;

    /// The one that was owed last.
    async fn last_follow_up(&self) -> Result<FollowUpId, Fault>;

    /// Makes dead letters of what is owed to hooks that are not among `configured`, of follow-ups up to `up_to`. Gives how many.
    async fn bury_others(
        &self,
        configured: &[HookName],
        up_to: FollowUpId,
        reason: &str,
        at: Timestamp,
    ) -> Result<u64, Fault>;

    async fn switch_off(&self, hook: &HookName, reason: &str, at: Timestamp) -> Result<(), Fault>;

    async fn switch_on(&self, hook: &HookName) -> Result<(), Fault>;

    async fn switched_off(&self, hook: &HookName) -> Result<Option<SwitchedOff>, Fault>;

    /// All that are, by name.
    async fn all_switched_off(&self) -> Result<Vec<SwitchedOff>, Fault>;

    /// Removes what was done before `before`. Gives how many.
    async fn prune_done(&self, before: Timestamp) -> Result<u64, Fault>;
}
