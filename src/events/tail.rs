//! The one reader of the log's end. A task waits for the log to grow, reads what is new into the ring, and wakes the
//! subscriptions whose collections it concerns; another one removes what is older than retention.
//!
//! Nothing is handed to a subscription here: it is only woken, and reads for itself ([`super::subscription`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::ring::{Ring, RingLimits};
use super::{Entry, EventLog, Filter, Position};
use crate::fault::Fault;

/// How many rows the tail reads from the log at once.
const READ_PAGE: usize = 512;
/// While the log cannot be read, how long until it is tried again: first, and at most.
const RETRY_AFTER: Duration = Duration::from_millis(50);
const RETRY_AFTER_AT_MOST: Duration = Duration::from_secs(5);
/// Changes that follow each other faster are read together: each look at the log costs as much as a commit.
const GATHER: Duration = Duration::from_millis(1);
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// The events of this gateway: subscribe to them, or ask for a page. Ends with [`Events::close`], or when dropped.
pub struct Events {
    pub(super) tail: Arc<Tail>,
}

/// What the tail's tasks and the subscriptions share.
pub(super) struct Tail {
    pub log: Arc<dyn EventLog>,
    pub ring: RwLock<Ring>,
    /// The head when this process began: positions after it were given by this process, so none is in a gap.
    pub began_at: Position,
    closed: watch::Sender<bool>,
    keep: Mutex<Duration>,
    /// Changes at each event; for subscriptions that do not hear one collection alone.
    any: watch::Sender<()>,
    /// Changes at each event of a collection; kept while somebody listens.
    one: Mutex<HashMap<String, watch::Sender<()>>>,
}

impl Events {
    /// Follows `log` from about its end, and removes events older than `keep`, once an hour.
    pub fn start(log: Arc<dyn EventLog>, keep: Duration) -> Arc<Self> {
        Self::start_with(log, keep, RingLimits::default())
    }

    pub(super) fn start_with(log: Arc<dyn EventLog>, keep: Duration, limits: RingLimits) -> Arc<Self> {
        let head = log.head();
        let began_at = *head.borrow();
        // Clients that come back after a restart ask for the last few events: they are read once, for all of them.
        let begin = began_at.saturating_sub(limits.entries as u64);
        let tail = Arc::new(Tail {
            log,
            ring: RwLock::new(Ring::new(begin, limits)),
            began_at,
            closed: watch::Sender::new(false),
            keep: Mutex::new(keep),
            any: watch::Sender::new(()),
            one: Mutex::default(),
        });
        tokio::spawn(follow(tail.clone(), head));
        tokio::spawn(prune(tail.clone()));
        Arc::new(Self { tail })
    }

    /// Retention as a reload changed it; counts from the next look on.
    pub fn set_keep(&self, keep: Duration) {
        *self.tail.keep.lock() = keep;
    }

    /// Ends every subscription and both tasks. What was not heard is in the log.
    pub fn close(&self) {
        self.tail.close();
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.close();
    }
}

impl Tail {
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Changes whenever the ring has got something that may match, and when the tail is closed.
    pub fn doorbell(&self, filter: &Filter) -> watch::Receiver<()> {
        let [collection] = filter.collections.as_slice() else { return self.any.subscribe() };
        let mut one = self.one.lock();
        if let Some(doorbell) = one.get(collection) {
            return doorbell.subscribe();
        }
        one.retain(|_, doorbell| doorbell.receiver_count() > 0);
        let (doorbell, listener) = watch::channel(());
        one.insert(collection.clone(), doorbell);
        listener
    }

    #[cfg(test)]
    pub fn doorbells(&self) -> usize {
        self.one.lock().len()
    }

    fn close(&self) {
        self.closed.send_replace(true);
        self.any.send_replace(());
        self.one.lock().values().for_each(|doorbell| {
            doorbell.send_replace(());
        });
    }

    /// Takes into the ring what the log has up to `head` and maybe beyond.
    async fn catch_up(&self, head: Position) -> Result<(), Fault> {
        loop {
            let after = self.ring.read().reached();
            let page = self.log.read_after(after, READ_PAGE).await?;
            let follows = page.first().map_or(after >= head, |first| first.position == after + 1);
            // A hole is a gap of the log, or retention overtook us.
            if !follows {
                let pruned_to = self.log.bounds().await?.pruned_to;
                if pruned_to > after {
                    self.ring.write().restart(pruned_to);
                    continue;
                }
            }
            let is_last = page.len() < READ_PAGE;
            let entries: Vec<_> = page.into_iter().map(Entry::new).collect();
            {
                let mut ring = self.ring.write();
                entries.iter().for_each(|entry| ring.push(entry.clone()));
                if is_last {
                    ring.reach(head);
                }
            }
            self.ring_for(&entries);
            if is_last {
                return Ok(());
            }
        }
    }

    /// Wakes those whom `entries` may concern.
    fn ring_for(&self, entries: &[Arc<Entry>]) {
        if entries.is_empty() {
            return;
        }
        self.any.send_replace(());
        let mut rung: Vec<&str> = Vec::new();
        for entry in entries {
            let collection = entry.event().event.collection.as_str();
            if rung.contains(&collection) {
                continue;
            }
            rung.push(collection);
            // Cloned, so that waking ten thousand holds up nobody who subscribes.
            let doorbell = self.one.lock().get(collection).cloned();
            if let Some(doorbell) = doorbell {
                doorbell.send_replace(());
            }
        }
    }
}

/// Reads the log whenever it grows, until it or the tail is closed.
async fn follow(tail: Arc<Tail>, mut head: watch::Receiver<Position>) {
    let mut closed = tail.closed.subscribe();
    let mut retry_after = RETRY_AFTER;
    loop {
        let goal = *head.borrow_and_update();
        let caught_up = tokio::select! {
            caught_up = tail.catch_up(goal) => caught_up,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        match caught_up {
            Ok(()) => {
                retry_after = RETRY_AFTER;
                let read_at = Instant::now();
                tokio::select! {
                    grown = head.changed() => if grown.is_err() { break },
                    _ = closed.wait_for(|closed| *closed) => return,
                }
                if read_at.elapsed() < GATHER {
                    sleep(GATHER).await;
                }
            }
            Err(fault) => {
                tracing::warn!(%fault, retry_after_ms = retry_after.as_millis(), "subscribers wait: the event log cannot be read");
                tokio::select! {
                    () = sleep(retry_after) => {}
                    _ = closed.wait_for(|closed| *closed) => return,
                }
                retry_after = (retry_after * 2).min(RETRY_AFTER_AT_MOST);
            }
        }
    }
    tail.close();
}

/// Removes what is older than retention, at once and then every hour.
async fn prune(tail: Arc<Tail>) {
    let mut closed = tail.closed.subscribe();
    let mut hour = interval(PRUNE_EVERY);
    hour.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = hour.tick() => {}
            _ = closed.wait_for(|closed| *closed) => return,
        }
        let keep = *tail.keep.lock();
        // A retention longer than time itself keeps everything.
        let Ok(before) = Timestamp::now().checked_sub(keep) else { continue };
        match tail.log.prune(before).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, %before, "events older than retention were removed"),
            Err(fault) => {
                tracing::warn!(%fault, "events older than retention were not removed; tried again in an hour")
            }
        }
    }
}
