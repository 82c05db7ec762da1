//! The stage `admit`: whether a file may be sent at all, before its first byte.

use async_trait::async_trait;
use serde::Serialize;

use crate::error::PluginError;
use crate::plugin::Plugin;

/// What a client says of a file that it is about to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Announcement {
    /// Names this question; the same at each try.
    pub id: String,
    /// The collection that the file is to go to.
    pub collection: String,
    /// Empty where the collection has no tenants.
    pub tenant: String,
    pub file_name: String,
    /// Bytes; `None` where the client has not said it.
    pub size: Option<u64>,
    /// The media type that the client declared, as it stood in the request.
    pub content_type: Option<String>,
}

impl Announcement {
    pub fn new(
        id: impl Into<String>,
        collection: impl Into<String>,
        tenant: impl Into<String>,
        file_name: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            collection: collection.into(),
            tenant: tenant.into(),
            file_name: file_name.into(),
            size: None,
            content_type: None,
        }
    }

    /// What is known of the file besides its names.
    #[must_use]
    pub fn with(mut self, size: Option<u64>, content_type: Option<String>) -> Self {
        (self.size, self.content_type) = (size, content_type);
        self
    }
}

/// Whether the file may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may, with what is to be put in the place of what the client said.
    Allow(Amendment),
    Deny(Denial),
}

impl Admission {
    /// It may come as it was announced.
    pub fn allow() -> Self {
        Self::Allow(Amendment::default())
    }

    pub fn deny(status: u16, reason: impl Into<String>) -> Self {
        Self::Deny(Denial { status, reason: reason.into() })
    }
}

/// What is known of the file from here on instead of what the client said. The hooks after this one see it so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amendment {
    /// It has to be a name that the collection takes.
    pub file_name: Option<String>,
    /// For the hooks that come after, of a file that comes whole. Uploads in parts have no media type.
    pub content_type: Option<String>,
}

/// Why it may not. The client sees it as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The status of the answer, from 400 to 499; 403 where nothing else fits better.
    pub status: u16,
    /// One sentence for the person who sends the file.
    pub reason: String,
}

/// A plugin that says whether a file may be sent.
///
/// The gateway calls `admit` once for a file, when its name is known and before a byte of it counts: with the request that brings a whole file,
/// or with the first that names an upload in parts. It may be called again for the same file after a crash or a failure. The client
/// waits. Deadlines, panics and errors are as for [`crate::Validate`]; what an error means is that the file is denied.
#[async_trait]
pub trait Admit: Plugin {
    async fn admit(&self, file: &Announcement) -> Result<Admission, PluginError>;
}
