//! The stage `validate`: whether a file may become visible.

use async_trait::async_trait;

use crate::error::PluginError;
use crate::file::FileHandle;
use crate::plugin::Plugin;

/// What a check says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// With what is wrong, at least one issue, in the order of the document. A check bounds their number itself.
    Reject(Vec<Issue>),
}

/// One thing that is wrong with a file. It is shown to the client as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where in the document: a JSON Pointer, or `line:column`; empty for the whole.
    pub path: String,
    /// Stable, lower case with hyphens, as `json-syntax`. Programs read it.
    pub code: String,
    /// One sentence for the person who sent the file.
    pub message: String,
}

/// A plugin that can check files.
///
/// The gateway calls `validate` at least once for each file, before anybody can see it: also again after a crash, so
/// two calls for one file must agree. Calls run at the same time, from any thread. Past its deadline a call is
/// dropped at an `.await`, so whatever it holds must be let go by `Drop`. A panic is caught, and counts as an error.
///
/// A check says no by [`Verdict::Reject`]; an error means that it could not tell, and the hook's declared outcome
/// decides.
#[async_trait]
pub trait Validate: Plugin {
    async fn validate(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError>;
}
