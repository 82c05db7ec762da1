//! Reading the log after a position: as a subscription, which is woken when the log grows, or page by page.
//!
//! Both are the same reading. What is recent comes from the tail's ring, what is older from the log in pages; a
//! position that cannot be served whole is answered with "reload", never with a part of what was missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::ring::Taken;
use super::tail::{Events, Tail};
use super::{Entry, Filter, LogBounds, Position};
use crate::fault::Fault;

/// How many rows of the log a subscription that fell behind reads at once, and the most entries in one batch.
pub const BATCH: usize = 256;
/// How many pages of the log a poll looks through for something that matches before it answers with what it has.
const PAGES_PER_POLL: usize = 16;

/// What comes next in a subscription.
#[derive(Debug)]
pub enum Batch {
    /// At least one entry, in order.
    Entries(Vec<Arc<Entry>>),
    /// What was missed cannot be told any more: whoever listens reads the whole state anew, and hears what happens
    /// after `head`.
    Reload { head: Position },
    /// The gateway ends. What was not heard can be asked for after [`Subscription::position`].
    Ended,
}

/// An answer to a poll.
#[derive(Debug)]
pub struct Page {
    pub entries: Vec<Arc<Entry>>,
    /// The position to ask after next time.
    pub next: Position,
    /// What was missed cannot be told any more: read the whole state anew, then ask after `next`.
    pub reload: bool,
}

/// A reader of the log that is woken when it grows.
pub struct Subscription {
    tail: Arc<Tail>,
    filter: Arc<Filter>,
    doorbell: watch::Receiver<()>,
    after: Position,
    /// The position that was asked for cannot be served.
    is_lost: bool,
}

/// How far one step of reading came.
enum Step {
    Batch(Batch),
    /// Something was read and nothing of it matched; there may be more.
    Passed,
    /// There is nothing more for now.
    CaughtUp,
}

impl Events {
    /// Subscribes to what happens after `after`, or from now on.
    pub async fn subscribe(
        &self,
        after: Option<Position>,
        filter: impl Into<Arc<Filter>>,
    ) -> Result<Subscription, Fault> {
        let (tail, filter) = (self.tail.clone(), filter.into());
        let doorbell = tail.doorbell(&filter);
        let (after, is_lost) = match after {
            None => (tail.head(), false),
            Some(after) if tail.has_recent(after, &filter) => (after, false),
            Some(after) => (after, !can_serve(&tail.log.bounds().await?, after)),
        };
        Ok(Subscription { tail, filter, doorbell, after, is_lost })
    }

    /// At most `limit` entries after a position; where there are none, waits for the first for at most `wait`.
    pub async fn page(
        &self,
        after: Position,
        filter: impl Into<Arc<Filter>>,
        limit: usize,
        wait: Duration,
    ) -> Result<Page, Fault> {
        let deadline = Instant::now() + wait;
        let limit = limit.clamp(1, BATCH);
        let mut subscription = self.subscribe(Some(after), filter).await?;
        let mut is_over = wait.is_zero();
        let mut pages = 0;
        loop {
            match subscription.step_to_head(limit).await? {
                Step::Batch(batch) => return Ok(subscription.page(batch)),
                Step::Passed if pages < PAGES_PER_POLL => pages += 1,
                Step::CaughtUp if !is_over => {
                    is_over = timeout_at(deadline, subscription.doorbell.changed()).await.is_err();
                }
                Step::Passed | Step::CaughtUp => return Ok(subscription.page(Batch::Entries(Vec::new()))),
            }
        }
    }

    /// The position of the last event.
    pub fn head(&self) -> Position {
        self.tail.head()
    }
}

impl Subscription {
    /// What comes next; waits until there is something. Dropping the future before it is ready loses nothing.
    pub async fn next_batch(&mut self) -> Result<Batch, Fault> {
        loop {
            match self.step(BATCH).await? {
                Step::Batch(batch) => return Ok(batch),
                Step::Passed => {}
                Step::CaughtUp => {
                    if self.doorbell.changed().await.is_err() {
                        return Ok(Batch::Ended);
                    }
                }
            }
        }
    }

    /// Everything up to here was given, or is not for this subscription.
    pub fn position(&self) -> Position {
        self.after
    }

    async fn step(&mut self, limit: usize) -> Result<Step, Fault> {
        // Before looking, so that what comes between the look and the wait rings.
        self.doorbell.mark_unchanged();
        if self.tail.is_closed() {
            return Ok(Step::Batch(Batch::Ended));
        }
        if self.is_lost {
            let head = self.tail.log.bounds().await?.head;
            return Ok(self.reload(head));
        }
        let taken = self.tail.ring.read().take(self.after, &self.filter, limit);
        match taken {
            Taken::Entries(entries, position) => {
                self.after = position;
                Ok(if entries.is_empty() { Step::CaughtUp } else { Step::Batch(Batch::Entries(entries)) })
            }
            Taken::Behind => self.step_in_log(limit).await,
        }
    }

    /// Like [`Subscription::step`], but hears what was committed also in the moment before the tail has read it: who
    /// polls after his own upload was acknowledged finds its event.
    async fn step_to_head(&mut self, limit: usize) -> Result<Step, Fault> {
        let head = self.tail.head();
        let is_missing = self.after < head && self.tail.ring.read().reached() < head;
        if is_missing && !self.is_lost && !self.tail.is_closed() {
            self.doorbell.mark_unchanged();
            return self.step_in_log(limit).await;
        }
        self.step(limit).await
    }

    /// One page of the log, for a subscription that fell behind the ring.
    async fn step_in_log(&mut self, limit: usize) -> Result<Step, Fault> {
        let known_before = self.tail.head();
        let rows = self.tail.log.read_after(self.after, BATCH).await?;
        // Asked after the page was read: if nothing was removed up to now, nothing is missing in the page.
        let bounds = self.tail.log.bounds().await?;
        if bounds.pruned_to > self.after {
            return Ok(self.reload(bounds.head));
        }
        let looked_to = match rows.last() {
            Some(last) if rows.len() == BATCH => last.position,
            Some(last) => last.position.max(known_before),
            None => known_before,
        };
        let mut entries: Vec<_> =
            rows.into_iter().filter(|row| self.filter.matches(&row.event)).map(Entry::new).collect();
        let is_cut = entries.len() > limit;
        entries.truncate(limit);
        self.after = match entries.last() {
            Some(last) if is_cut => last.position(),
            _ => looked_to.max(self.after),
        };
        Ok(if entries.is_empty() { Step::Passed } else { Step::Batch(Batch::Entries(entries)) })
    }

    fn reload(&mut self, head: Position) -> Step {
        self.is_lost = false;
        self.after = head.max(self.tail.ring.read().reached());
        Step::Batch(Batch::Reload { head: self.after })
    }

    fn page(&self, batch: Batch) -> Page {
        let (entries, reload) = match batch {
            Batch::Entries(entries) => (entries, false),
            Batch::Reload { .. } => (Vec::new(), true),
            Batch::Ended => (Vec::new(), false),
        };
        Page { entries, next: self.after, reload }
    }
}

impl Tail {
    fn head(&self) -> Position {
        let committed = *self.log.head().borrow();
        committed.max(self.ring.read().reached())
    }

    /// Whether `after` is a position that this process gave, with all that matters since in the ring: then the log
    /// need not be asked, which matters when everyone comes back at once.
    fn has_recent(&self, after: Position, filter: &Filter) -> bool {
        let ring = self.ring.read();
        after > self.began_at && after >= ring.complete_after(filter) && after <= ring.reached()
    }
}

/// Whether all that followed `after` can still be told, and `after` itself was not lost.
fn can_serve(bounds: &LogBounds, after: Position) -> bool {
    let is_in_gap = bounds.gaps.iter().any(|(before, up_to)| *before < after && after <= *up_to);
    bounds.pruned_to <= after && after <= bounds.head && !is_in_gap
}
