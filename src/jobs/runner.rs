//! The loop that claims what is due and starts it. What becomes of one job stands in [`super::attempt`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::attempt::{Attempt, Clock};
use super::backoff::{RETRY_AFTER, RETRY_AFTER_AT_MOST};
use super::{Backoff, Handler, Queue};
use crate::fault::Fault;

/// The longest sleep until a row is due: the machine may be suspended, or its clock set.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// The running of owed work. Ends with [`Runner::stop`]; dropping it admits no more, and waits for nothing.
pub struct Runner {
    stopping: watch::Sender<bool>,
    running: watch::Receiver<usize>,
}

/// What belongs to one kind of work.
struct Kind {
    name: Arc<str>,
    handler: Arc<dyn Handler>,
    running: usize,
    /// Whether the last claim left nothing that is due now.
    is_exhausted: bool,
}

struct Loop {
    queue: Arc<dyn Queue>,
    kinds: Vec<Kind>,
    slots: usize,
    backoff: Arc<Backoff>,
    clock: Clock,
    stopping: watch::Receiver<bool>,
    running: watch::Sender<usize>,
    jobs: JoinSet<Ended>,
    /// The kind that is claimed first next time.
    first: usize,
}

/// A job that runs no more.
struct Ended {
    kind: usize,
    /// Its row is due again, some time.
    is_put_off: bool,
}

impl Runner {
    /// Runs what `queue` owes, each kind by its handler, at most `concurrency` at once, and each kind at least one at a
    /// time whatever the others have. Rows of a kind without a handler stay where they are.
    pub fn start(
        queue: Arc<dyn Queue>,
        handlers: Vec<(&'static str, Arc<dyn Handler>)>,
        concurrency: usize,
        backoff: Backoff,
    ) -> Self {
        Self::start_at(queue, handlers, concurrency, backoff, Arc::new(Timestamp::now))
    }

    pub(super) fn start_at(
        queue: Arc<dyn Queue>,
        handlers: Vec<(&'static str, Arc<dyn Handler>)>,
        concurrency: usize,
        backoff: Backoff,
        clock: Clock,
    ) -> Self {
        let kind = |(name, handler)| Kind { name: Arc::from(name), handler, running: 0, is_exhausted: false };
        let kinds: Vec<Kind> = handlers.into_iter().map(kind).collect();
        let stopping = watch::Sender::new(false);
        let running = watch::Sender::new(0);
        let runner = Self { stopping: stopping.clone(), running: running.subscribe() };
        let slots = concurrency.max(kinds.len());
        let (backoff, stopping, jobs) = (Arc::new(backoff), stopping.subscribe(), JoinSet::new());
        tokio::spawn(Loop { queue, kinds, slots, backoff, clock, stopping, running, jobs, first: 0 }.run());
        runner
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Starts nothing more, and waits for what runs for at most `limit`. Says how many still run then: their rows are
    /// free again at the next start.
    pub async fn stop(&self, limit: Duration) -> usize {
        self.stopping.send_replace(true);
        let mut running = self.running.clone();
        // The loop ends, and drops its end of the channel, when the last job has ended.
        let ended = async { while running.changed().await.is_ok() {} };
        match timeout(limit, ended).await {
            Ok(()) => 0,
            Err(_) => self.running(),
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
    }
}

impl Loop {
    async fn run(mut self) {
        if self.free_claimed().await {
            let woken = self.queue.woken();
            let mut retry_after = RETRY_AFTER;
            while !*self.stopping.borrow() {
                match self.claim_and_wait(&woken).await {
                    Ok(()) => retry_after = RETRY_AFTER,
                    Err(fault) => {
                        let retry_after_ms = retry_after.as_millis();
                        tracing::warn!(%fault, retry_after_ms, "owed work waits: its rows cannot be read");
                        self.rest(retry_after).await;
                        retry_after = (retry_after * 2).min(RETRY_AFTER_AT_MOST);
                    }
                }
            }
        }
        while let Some(ended) = self.jobs.join_next().await {
            ended.into_iter().for_each(|ended| self.end(ended));
        }
    }

    /// Frees what an earlier process had claimed; `false` if the runner is stopped before that could be done.
    async fn free_claimed(&mut self) -> bool {
        let mut retry_after = RETRY_AFTER;
        while !*self.stopping.borrow() {
            match self.queue.free_claimed().await {
                Ok(()) => return true,
                Err(fault) => tracing::warn!(%fault, "owed work waits: rows of an earlier run cannot be freed"),
            }
            self.rest(retry_after).await;
            retry_after = (retry_after * 2).min(RETRY_AFTER_AT_MOST);
        }
        false
    }

    /// Starts what is due, as far as there is room, and waits until there may be more to start.
    async fn claim_and_wait(&mut self, woken: &Notify) -> Result<(), Fault> {
        let woken = woken.notified();
        tokio::pin!(woken);
        // Before claiming, so that a row that becomes due between the claim and the wait is not slept over.
        woken.as_mut().enable();
        for index in 0..self.kinds.len() {
            self.claim((self.first + index) % self.kinds.len()).await?;
        }
        // Who was first now is last next time, where there are fewer free slots than work.
        self.first = (self.first + 1) % self.kinds.len().max(1);
        let until_due = sleep(self.until_due().await?);
        tokio::pin!(until_due);
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                () = &mut woken => return Ok(()),
                () = &mut until_due => return Ok(()),
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
                Some(Ok(ended)) = self.jobs.join_next() => {
                    let is_full = self.kinds.iter().any(|kind| !kind.is_exhausted);
                    let is_due_anew = ended.is_put_off;
                    self.end(ended);
                    if is_full || is_due_anew {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Claims what is due of one kind, as far as there is room for it, and starts it.
    async fn claim(&mut self, index: usize) -> Result<(), Fault> {
        let room = self.room(index);
        if room == 0 {
            self.kinds[index].is_exhausted = false;
            return Ok(());
        }
        let name = self.kinds[index].name.clone();
        let claimed = self.queue.claim(&name, (self.clock)(), room).await?;
        let kind = &mut self.kinds[index];
        kind.is_exhausted = claimed.len() < room;
        kind.running += claimed.len();
        self.running.send_modify(|running| *running += claimed.len());
        for job in claimed {
            let attempt = Attempt {
                job,
                handler: kind.handler.clone(),
                queue: self.queue.clone(),
                backoff: self.backoff.clone(),
                clock: self.clock.clone(),
                stopping: self.stopping.clone(),
            };
            self.jobs.spawn(async move { Ended { kind: index, is_put_off: attempt.run().await } });
        }
        Ok(())
    }

    /// How many jobs of a kind may be started: one slot stays free for each other kind that has none running.
    fn room(&self, index: usize) -> usize {
        let running: usize = self.kinds.iter().map(|kind| kind.running).sum();
        let reserved =
            self.kinds.iter().enumerate().filter(|(other, kind)| *other != index && kind.running == 0).count();
        self.slots.saturating_sub(running + reserved)
    }

    /// How long until a row is due of a kind of which none is due now. (Where one is, a slot has to become free first.)
    async fn until_due(&self) -> Result<Duration, Fault> {
        let names: Vec<&str> = self.kinds.iter().filter(|kind| kind.is_exhausted).map(|kind| &*kind.name).collect();
        if names.is_empty() {
            return Ok(LOOK_AT_LEAST_EVERY);
        }
        let Some(due) = self.queue.next_due(&names).await? else { return Ok(LOOK_AT_LEAST_EVERY) };
        let until = Duration::try_from(due.duration_since((self.clock)())).unwrap_or(Duration::ZERO);
        // Never none at all: rows keep their times less exactly than the clock does.
        Ok(until.clamp(Duration::from_millis(1), LOOK_AT_LEAST_EVERY))
    }

    fn end(&mut self, ended: Ended) {
        self.kinds[ended.kind].running -= 1;
        self.running.send_modify(|running| *running -= 1);
    }

    async fn rest(&mut self, wait: Duration) {
        let _ = timeout(wait, self.stopping.wait_for(|stopping| *stopping)).await;
    }
}
