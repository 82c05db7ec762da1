//! One attempt at a job, and what becomes of its row.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use super::backoff::{RETRY_AFTER, RETRY_AFTER_AT_MOST, jittered};
use super::{Backoff, Handler, Job, Outcome, Queue};
use crate::fault::Fault;

/// So many attempts more than there are waits may be cut off, by a crash or a stop, before work counts as what takes the process down. An
/// attempt that is claimed and never run must not be the end of it.
const CUT_OFF: u32 = 3;

/// What time it is; the tests have a clock of their own.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub(super) struct Attempt {
    pub job: Job,
    pub handler: Arc<dyn Handler>,
    pub queue: Arc<dyn Queue>,
    pub backoff: Backoff,
    pub clock: Clock,
    pub stopping: watch::Receiver<bool>,
}

/// What happens to the row.
enum Fate {
    Finish,
    GivenUp,
    PutOff { wait: Duration, reason: String },
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    Done,
    GivenUp,
    /// Its row is due again, some time.
    PutOff,
}

impl Attempt {
    pub async fn run(mut self) -> Ran {
        let fate = self.attempt().await;
        let (ran, wait) = match &fate {
            Fate::Finish => (Ran::Done, None),
            Fate::GivenUp => (Ran::GivenUp, None),
            Fate::PutOff { wait, .. } => (Ran::PutOff, Some(*wait)),
        };
        let due = wait.and_then(|wait| (self.clock)().checked_add(wait).ok());
        self.settle(&fate, due.unwrap_or(Timestamp::MAX)).await;
        ran
    }

    async fn attempt(&self) -> Fate {
        let attempts = self.backoff.attempts();
        if self.job.attempt > attempts.saturating_add(CUT_OFF) {
            // They were counted and never ended: the work takes the process down, or giving up failed.
            return self.give_up("no attempt came to an end: each was cut off".to_owned()).await;
        }
        let outcome = match AssertUnwindSafe(self.handler.run(&self.job)).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panic) => Outcome::Retry { reason: panic_text(&*panic), after: None },
        };
        match outcome {
            Outcome::Done => Fate::Finish,
            Outcome::GiveUp { reason } => self.give_up(reason).await,
            Outcome::Retry { reason, after } => match self.backoff.wait_after(self.job.attempt) {
                None => self.give_up(reason).await,
                Some(wait) => {
                    // All that failed together was told the same `after`.
                    let wait = wait.max(after.map(jittered).unwrap_or_default());
                    let Job { kind, subject, attempt, .. } = &self.job;
                    tracing::warn!(%kind, subject, attempt, attempts, ?wait, %reason, "owed work is put off");
                    Fate::PutOff { wait, reason }
                }
            },
        }
    }

    async fn give_up(&self, reason: String) -> Fate {
        let Job { kind, subject, attempt, .. } = &self.job;
        let failure = match AssertUnwindSafe(self.handler.gave_up(&self.job, &reason)).catch_unwind().await {
            Ok(Ok(())) => {
                tracing::error!(%kind, subject, attempt, %reason, "owed work is given up");
                return Fate::GivenUp;
            }
            Ok(Err(fault)) => fault.to_string(),
            Err(panic) => panic_text(&*panic),
        };
        tracing::error!(%kind, subject, attempt, %reason, %failure, "owed work cannot even be given up; tried again later");
        Fate::PutOff { wait: self.backoff.longest(), reason }
    }

    /// Writes what became of the row, however long that takes: nobody else will while this process lives.
    async fn settle(&mut self, fate: &Fate, due: Timestamp) {
        let mut retry_after = RETRY_AFTER;
        while let Err(fault) = self.settle_once(fate, due).await {
            let Job { kind, subject, .. } = &self.job;
            tracing::warn!(%kind, subject, %fault, "what came of owed work cannot be written; tried again");
            // Who stops need not wait for it: the row is free at the next start.
            if timeout(retry_after, self.stopping.wait_for(|stopping| *stopping)).await.is_ok() {
                return;
            }
            retry_after = (retry_after * 2).min(RETRY_AFTER_AT_MOST);
        }
    }

    async fn settle_once(&self, fate: &Fate, due: Timestamp) -> Result<(), Fault> {
        match fate {
            Fate::Finish => self.queue.finish(self.job.id).await,
            Fate::GivenUp => self.queue.given_up(self.job.id).await,
            Fate::PutOff { reason, .. } => self.queue.put_off(self.job.id, due, reason).await,
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the work panicked: {}", text.unwrap_or("without a message"))
}
