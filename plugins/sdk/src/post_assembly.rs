//! The stage `post_assembly`: what must happen once a file is published. It is owed: recorded with the publication itself, and carried out
//! across crashes.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::error::PluginError;
use crate::file::FileHandle;
use crate::plugin::Plugin;

/// The publication that a follow-up is owed for. What is known of the file itself says [`FileHandle::metadata`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Publication {
    /// Names the publication: the same at each try, and never given twice. Whoever is told of it can tell by this what was told already.
    /// (The file's metadata have it too, as what they are asked about.)
    #[serde(skip)]
    pub event_id: String,
    /// The version that was published, which is the ETag of its download.
    pub version: String,
    /// In hex, where the collection asks for it.
    pub sha256: Option<String>,
    /// When it was published: RFC 3339 in UTC, as `2026-01-02T03:04:05.678+00:00`.
    pub published: String,
    /// From 1.
    pub attempt: u32,
}

impl Publication {
    pub fn new(
        event_id: impl Into<String>,
        version: impl Into<String>,
        published: impl Into<String>,
        attempt: u32,
    ) -> Self {
        Self { event_id: event_id.into(), version: version.into(), sha256: None, published: published.into(), attempt }
    }

    #[must_use]
    pub fn with_sha256(mut self, sha256: Option<String>) -> Self {
        self.sha256 = sha256;
        self
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowUp {
    Done,
    /// Not now. It is tried again after the hook's next wait, and not before `after`.
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    /// No attempt can succeed.
    GiveUp {
        reason: String,
    },
    /// Nobody wants to hear of this or any other file any more: the hook is switched off, until an operator retries it.
    Disable {
        reason: String,
    },
}

impl FollowUp {
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), after: None }
    }

    pub fn give_up(reason: impl Into<String>) -> Self {
        Self::GiveUp { reason: reason.into() }
    }
}

/// A plugin that does what must happen after a file was published.
///
/// The gateway calls `follow_up` at least once for each publication, in no order, and never while another call for the same publication runs
/// (unless that one went on past its deadline). It may call again for one that was done: after a crash it cannot know. Deadlines and panics are as for [`crate::Validate`]; an error is a
/// [`FollowUp::Retry`] if it says that it can be retried, else a [`FollowUp::GiveUp`].
///
/// The file is the version that was published. One that was deleted or replaced before its follow-up ran is not followed up any more, unless
/// the plugin can do without the content ([`PostAssembly::reads_content`]): what took its place is owed a run of its own.
#[async_trait]
pub trait PostAssembly: Plugin {
    async fn follow_up(&self, file: &dyn FileHandle, publication: &Publication) -> Result<FollowUp, PluginError>;

    /// Whether the content is needed. Where it is not, the file is not opened, and reading it is an error.
    fn reads_content(&self) -> bool {
        true
    }
}
