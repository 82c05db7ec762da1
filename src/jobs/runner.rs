//! The loop that claims what is due and starts it. What becomes of one job stands in [`super::attempt`].

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::attempt::{Attempt, Clock, Ran};
use super::backoff::{RETRY_AFTER, RETRY_AFTER_AT_MOST};
use super::{Kind, Queue};
use crate::fault::Fault;

/// The longest sleep until a row is due: the machine may be suspended, or its clock set.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// After so many failures in a row a paced kind starts no more than one job in [`PACE`], until one succeeds.
const PACED_AFTER: u32 = 32;
/// Forty attempts a second are two hundredths of a core, and find soon enough that the counterpart is there again.
const PACE: Duration = Duration::from_millis(25);

/// The running of owed work. Ends with [`Runner::stop`]; dropping it admits no more, and waits for nothing.
pub struct Runner {
    kinds: watch::Sender<Vec<Kind>>,
    stopping: watch::Sender<bool>,
    running: watch::Receiver<usize>,
}

/// A kind, and how it stands with it.
struct Lane {
    kind: Kind,
    running: usize,
    /// Whether the last claim left nothing that is due now.
    is_exhausted: bool,
    /// Attempts in a row that were put off.
    failures: u32,
    /// Nothing is started before.
    rests_until: Option<Instant>,
}

impl Lane {
    fn new(kind: Kind) -> Self {
        Self { kind, running: 0, is_exhausted: false, failures: 0, rests_until: None }
    }

    fn is_slow(&self) -> bool {
        self.kind.is_paced && self.failures >= PACED_AFTER
    }

    fn is_resting(&self) -> bool {
        self.rests_until.is_some_and(|until| until > Instant::now())
    }

    /// How many jobs may be started.
    fn room(&self) -> usize {
        let free = self.kind.at_once.saturating_sub(self.running);
        match (self.is_resting(), self.is_slow()) {
            (true, _) => 0,
            (false, true) => free.min(1),
            (false, false) => free,
        }
    }
}

struct Loop {
    queue: Arc<dyn Queue>,
    lanes: Vec<Lane>,
    kinds: watch::Receiver<Vec<Kind>>,
    clock: Clock,
    stopping: watch::Receiver<bool>,
    running: watch::Sender<usize>,
    jobs: JoinSet<Ended>,
}

/// A job that runs no more.
struct Ended {
    kind: Arc<str>,
    fate: Ran,
}

impl Runner {
    /// Runs what `queue` owes, each kind by its handler. Rows of a kind that is not among them stay where they are.
    pub fn start(queue: Arc<dyn Queue>, kinds: Vec<Kind>) -> Self {
        Self::start_at(queue, kinds, Arc::new(Timestamp::now))
    }

    pub(super) fn start_at(queue: Arc<dyn Queue>, kinds: Vec<Kind>, clock: Clock) -> Self {
        let lanes = kinds.iter().cloned().map(Lane::new).collect();
        let (kinds, stopping, running) = (watch::Sender::new(kinds), watch::Sender::new(false), watch::Sender::new(0));
        let runner = Self { kinds: kinds.clone(), stopping: stopping.clone(), running: running.subscribe() };
        let (kinds, stopping) = (kinds.subscribe(), stopping.subscribe());
        tokio::spawn(Loop { queue, lanes, kinds, clock, stopping, running, jobs: JoinSet::new() }.run());
        runner
    }

    /// What is run from now on. Jobs that run already end as they began.
    pub fn set_kinds(&self, kinds: Vec<Kind>) {
        self.kinds.send_replace(kinds);
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Starts nothing more (but for a claim that is under way), and waits for what runs for at most `limit`. Says how many still run then: their rows are
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
        self.take_kinds();
        self.claim().await?;
        let until_due = sleep(self.until_due().await?);
        tokio::pin!(until_due);
        let (mut stopping, mut kinds) = (self.stopping.clone(), self.kinds.clone());
        loop {
            tokio::select! {
                () = &mut woken => return Ok(()),
                () = &mut until_due => return Ok(()),
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
                // The loop outlives its handle while jobs run.
                Ok(()) = kinds.changed() => return Ok(()),
                Some(Ok(ended)) = self.jobs.join_next() => {
                    let is_full = self.lanes.iter().any(|lane| !lane.is_exhausted);
                    let is_due_anew = ended.fate == Ran::PutOff;
                    self.end(ended);
                    if is_full || is_due_anew {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes over the kinds that were set last. Lanes of kinds that stay keep what they know, and those that go wait for what runs.
    fn take_kinds(&mut self) {
        if !self.kinds.has_changed().unwrap_or(false) {
            return;
        }
        let mut before = std::mem::take(&mut self.lanes);
        for kind in self.kinds.borrow_and_update().iter() {
            let known = before.iter().position(|lane| lane.kind.name == kind.name);
            let lane = match known {
                Some(index) => Lane { kind: kind.clone(), is_exhausted: false, ..before.swap_remove(index) },
                None => Lane::new(kind.clone()),
            };
            self.lanes.push(lane);
        }
        before.retain(|lane| lane.running > 0);
        before.iter_mut().for_each(|lane| lane.kind.at_once = 0);
        self.lanes.append(&mut before);
    }

    /// Claims what is due and for which there is room, and starts it.
    async fn claim(&mut self) -> Result<(), Fault> {
        let room: Vec<(Arc<str>, usize)> =
            self.lanes.iter().map(|lane| (lane.kind.name.clone(), lane.room())).collect();
        let wanted: Vec<(&str, usize)> =
            room.iter().filter(|(_, room)| *room > 0).map(|(name, room)| (&**name, *room)).collect();
        let claimed = match wanted.is_empty() {
            true => Vec::new(),
            false => self.queue.claim(&wanted, (self.clock)()).await?,
        };
        for (lane, (_, room)) in self.lanes.iter_mut().zip(&room) {
            let count = claimed.iter().filter(|job| *job.kind == *lane.kind.name).count();
            lane.is_exhausted = count < *room;
            lane.running += count;
        }
        self.running.send_modify(|running| *running += claimed.len());
        for job in claimed {
            let Some(lane) = self.lanes.iter_mut().find(|lane| *lane.kind.name == *job.kind) else { continue };
            if lane.is_slow() {
                lane.rests_until = Some(Instant::now() + PACE);
            }
            let attempt = Attempt {
                job,
                handler: lane.kind.handler.clone(),
                queue: self.queue.clone(),
                backoff: lane.kind.backoff.clone(),
                clock: self.clock.clone(),
                stopping: self.stopping.clone(),
            };
            let kind = lane.kind.name.clone();
            // A panic outside of the work itself must not take the place that the job has here along.
            let run = AssertUnwindSafe(attempt.run()).catch_unwind();
            self.jobs.spawn(async move { Ended { kind, fate: run.await.unwrap_or(Ran::PutOff) } });
        }
        Ok(())
    }

    /// How long until a row is due of a kind of which none is due now, or a kind has rested. (Where one is due, and there is no room for
    /// it, a job has to end first.)
    async fn until_due(&self) -> Result<Duration, Fault> {
        // By what the claim saw, not by what the time is now: a lane that has rested meanwhile was not asked for.
        let waiting = self.lanes.iter().filter(|lane| !lane.is_exhausted && lane.running < lane.kind.at_once);
        let rested = waiting.filter_map(|lane| lane.rests_until).min();
        let until_rested = rested.map(|rested| rested.saturating_duration_since(Instant::now()));
        let names: Vec<&str> =
            self.lanes.iter().filter(|lane| lane.is_exhausted).map(|lane| &*lane.kind.name).collect();
        let due = match names.is_empty() {
            true => None,
            false => self.queue.next_due(&names).await?,
        };
        let until_due = due.map(|due| Duration::try_from(due.duration_since((self.clock)())).unwrap_or(Duration::ZERO));
        let until = until_due.into_iter().chain(until_rested).min().unwrap_or(LOOK_AT_LEAST_EVERY);
        // Never none at all: rows keep their times less exactly than the clock does.
        Ok(until.clamp(Duration::from_millis(1), LOOK_AT_LEAST_EVERY))
    }

    fn end(&mut self, ended: Ended) {
        self.running.send_modify(|running| *running -= 1);
        // Its kind may not be run any more.
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.kind.name == ended.kind) else { return };
        lane.running = lane.running.saturating_sub(1);
        match ended.fate {
            Ran::Done => (lane.failures, lane.rests_until) = (0, None),
            Ran::PutOff | Ran::GivenUp => lane.failures = lane.failures.saturating_add(1),
        }
    }

    async fn rest(&mut self, wait: Duration) {
        let _ = timeout(wait, self.stopping.wait_for(|stopping| *stopping)).await;
    }
}
