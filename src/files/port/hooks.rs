//! What the domain needs of the hooks of a collection. A use that crashes or runs out of time has its declared outcome, so nothing here
//! can fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Content, Version};
use crate::collection::{HookUse, OnAdmitFailure, OnCheckFailure, OnFollowUpFailure};

/// What a client says of a file that it is about to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub collection: String,
    pub tenant: String,
    pub file_name: String,
    /// Bytes, where the client has said it.
    pub size: Option<u64>,
    pub content_type: Option<String>,
}

/// Whether a file may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// With what it is known by from here on, which a hook may have changed. The name has passed [`crate::name`].
    Allow {
        file_name: String,
        content_type: Option<String>,
    },
    Deny(Denial),
}

/// Why a file may not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The status that the hook wants the client to see, from 400 to 499.
    pub status: u16,
    pub reason: String,
}

/// What a validation says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Reject(Vec<Issue>),
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where in the document, as a JSON Pointer or `line:column`; empty for the whole.
    pub path: String,
    /// A stable code, as `json-syntax`.
    pub code: String,
    pub message: String,
}

/// So many issues stand in one line; the list of them is told beside it.
const ISSUES_IN_WORDS: usize = 20;

/// What is wrong, in one line.
pub fn in_words(issues: &[Issue]) -> String {
    let lines = issues.iter().take(ISSUES_IN_WORDS).map(|issue| match issue.path.as_str() {
        "" => issue.message.clone(),
        path => format!("{path}: {}", issue.message),
    });
    let text = lines.collect::<Vec<_>>().join("; ");
    match issues.len().saturating_sub(ISSUES_IN_WORDS) {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

/// A file that is to be validated.
#[derive(Clone)]
pub struct Candidate {
    pub collection: String,
    pub tenant: String,
    pub file_name: String,
    pub size: u64,
    /// The media type that its client declared, if it did.
    pub content_type: Option<String>,
    pub content: Arc<dyn Content>,
}

/// A file that was published, and the attempt to follow that up.
#[derive(Clone)]
pub struct PublishedFile {
    pub collection: String,
    pub tenant: String,
    pub file_name: String,
    pub size: u64,
    pub sha256: Option<[u8; 32]>,
    pub version: Version,
    /// The same at each attempt.
    pub event_id: String,
    pub published: Timestamp,
    /// From 1.
    pub attempt: u32,
    /// `None` where the plugin does without it ([`HookChain::reads_content`]).
    pub content: Option<Arc<dyn Content>>,
}

/// What came of an attempt to follow a publication up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowUpOutcome {
    Done,
    /// Another attempt can succeed, after the hook's next wait and not before `after`.
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    GiveUp {
        reason: String,
    },
    /// The counterpart wants no more of this hook at all.
    Disable {
        reason: String,
    },
}

/// The hooks of one configuration.
#[async_trait]
pub trait HookChain: Send + Sync + 'static {
    /// Asks the uses in order; the first that denies decides, and each sees what the ones before it amended.
    async fn admit(&self, uses: &[HookUse<OnAdmitFailure>], file: Announcement) -> Admission;

    /// Runs the uses in order; the first that rejects decides.
    async fn validate(&self, uses: &[HookUse<OnCheckFailure>], file: &Candidate) -> Verdict;

    /// Whether a plugin needs the content to follow a publication up.
    fn reads_content(&self, plugin: &str) -> bool;

    /// How many attempts of one use of a plugin may be under way at the same time; `None` is as many as come.
    fn at_once(&self, plugin: &str) -> Option<usize>;

    /// One attempt of one use.
    async fn follow_up(&self, hook: &HookUse<OnFollowUpFailure>, file: PublishedFile) -> FollowUpOutcome;
}
