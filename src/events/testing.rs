//! A log in memory, for the tests of this module: it behaves as the port says, and can be made to fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Event, EventKind, EventLog, LogBounds, NewEvent, Position};
use crate::fault::{Fault, FaultKind};

pub fn uploaded(collection: &str, tenant: &str, file_name: &str) -> NewEvent {
    NewEvent {
        kind: EventKind::FileUploaded,
        collection: collection.to_owned(),
        tenant: tenant.to_owned(),
        file_name: file_name.to_owned(),
        version: Some("0197".to_owned()),
        size: Some(12),
        files_count: None,
        at: Timestamp::now(),
    }
}

pub struct MemoryLog {
    kept: Mutex<Kept>,
    head: watch::Sender<Position>,
    pub is_broken: AtomicBool,
    pub reads: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    events: Vec<Event>,
    bounds: LogBounds,
}

impl MemoryLog {
    pub fn new() -> Self {
        Self {
            kept: Mutex::default(),
            head: watch::Sender::new(0),
            is_broken: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
        }
    }

    pub fn append(&self, event: NewEvent) -> Position {
        let mut kept = self.kept.lock();
        kept.bounds.head += 1;
        let position = kept.bounds.head;
        kept.events.push(Event { position, event });
        drop(kept);
        self.head.send_replace(position);
        position
    }

    /// Removes what retention would, up to a position.
    pub fn prune_to(&self, position: Position) {
        let mut kept = self.kept.lock();
        kept.events.retain(|event| event.position > position);
        kept.bounds.pruned_to = kept.bounds.pruned_to.max(position);
    }

    /// The machine lost power: the last `lost` events are gone, and the counter jumps ahead.
    pub fn lose(&self, lost: usize) -> Self {
        let mut kept = self.kept.lock();
        let (mut events, mut bounds) = (std::mem::take(&mut kept.events), std::mem::take(&mut kept.bounds));
        events.truncate(events.len().saturating_sub(lost));
        let last = events.last().map_or(bounds.pruned_to, |event| event.position);
        bounds.gaps.push((last, bounds.head + 100));
        bounds.head += 100;
        let log = Self::new();
        log.head.send_replace(bounds.head);
        *log.kept.lock() = Kept { events, bounds };
        log
    }

    pub fn events(&self) -> Vec<Event> {
        self.kept.lock().events.clone()
    }

    pub fn bounds_now(&self) -> LogBounds {
        self.kept.lock().bounds.clone()
    }

    fn check(&self) -> Result<(), Fault> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(Fault::new(FaultKind::Unavailable, "read the log"));
        }
        Ok(())
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn read_after(&self, position: Position, limit: usize) -> Result<Vec<Event>, Fault> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        tokio::task::yield_now().await;
        let kept = self.kept.lock();
        Ok(kept.events.iter().filter(|event| event.position > position).take(limit).cloned().collect())
    }

    async fn bounds(&self) -> Result<LogBounds, Fault> {
        self.check()?;
        Ok(self.bounds_now())
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Fault> {
        self.check()?;
        let old: Vec<_> = self.events().into_iter().filter(|event| event.event.at < before).collect();
        if let Some(last) = old.last() {
            self.prune_to(last.position);
        }
        Ok(old.len() as u64)
    }
}
