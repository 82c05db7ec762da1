//! The durable event log as its readers see it: what an event is ([`Event`]), the port to the log
//! ([`EventLog`], implemented by `catalog`), and subscriptions over one shared tail in memory.
//!
//! Nobody writes events here. An event is part of the transaction that changes a file, so the domain hands a
//! [`NewEvent`] to the catalog together with that change.

pub mod config;
mod entry;
mod filter;
mod ring;
mod subscription;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use entry::{Entry, RenderSlot};
pub use filter::Filter;
pub use subscription::{BATCH, Batch, Page, Subscription};
pub use tail::Events;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::fault::Fault;

/// A place in the log. Positions grow in commit order and are never given twice; `0` is before all.
pub type Position = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    FileUploaded,
    FileDeleted,
    SyncCompleted,
    FileAppended,
    FileCleared,
}

impl EventKind {
    pub const ALL: [EventKind; 5] = [
        EventKind::FileUploaded,
        EventKind::FileDeleted,
        EventKind::SyncCompleted,
        EventKind::FileAppended,
        EventKind::FileCleared,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::FileUploaded => "file_uploaded",
            EventKind::FileDeleted => "file_deleted",
            EventKind::SyncCompleted => "sync_completed",
            EventKind::FileAppended => "file_appended",
            EventKind::FileCleared => "file_cleared",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What happened to a published file, before the log gave it a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub kind: EventKind,
    pub collection: String,
    /// Empty where the collection has no tenants.
    pub tenant: String,
    /// Empty for `sync_completed`.
    pub file_name: String,
    /// The file's version (a UUID), its size in bytes; both absent for `sync_completed`.
    pub version: Option<String>,
    pub size: Option<u64>,
    /// How many files the tenant has; for `sync_completed` alone.
    pub files_count: Option<u64>,
    pub at: Timestamp,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub position: Position,
    pub event: NewEvent,
}

/// What the log holds, for deciding whether a subscriber's position can be served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogBounds {
    /// Everything up to and with this position was removed by retention; `0` if nothing was.
    pub pruned_to: Position,
    /// The last position given.
    pub head: Position,
    /// Ranges `(after, up_to]` of positions that were skipped because the log's tail may have been lost.
    pub gaps: Vec<(Position, Position)>,
}

/// The log, as `catalog` keeps it.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// At most `limit` events after `position`, in order.
    async fn read_after(&self, position: Position, limit: usize) -> Result<Vec<Event>, Fault>;

    async fn bounds(&self) -> Result<LogBounds, Fault>;

    /// The head as it grows; changes after each commit that wrote an event.
    fn head(&self) -> watch::Receiver<Position>;

    /// Removes events older than `before`; gives how many.
    async fn prune(&self, before: Timestamp) -> Result<u64, Fault>;
}
