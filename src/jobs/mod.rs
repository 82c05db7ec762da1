//! The runner of owed work. It claims rows, runs what was registered for their kind, and puts off or ends what fails.
//! It knows no kind of work; the rows are written by whoever owes the work, in the transaction that caused it.

mod attempt;
mod backoff;
mod runner;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use runner::Runner;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::fault::Fault;

/// One kind of work: who does it, and how. Kinds are run beside each other, and never wait for one another.
#[derive(Clone)]
pub struct Kind {
    /// As `assemble`.
    pub name: Arc<str>,
    pub handler: Arc<dyn Handler>,
    /// How many jobs of it run at the same time.
    pub at_once: usize,
    pub backoff: Backoff,
    /// Whether a long row of failures slows it down: where all of it goes to one counterpart, that is down then, and ten thousand
    /// attempts in a second help nobody.
    pub is_paced: bool,
}

/// A piece of owed work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: i64,
    /// As `assemble`.
    pub kind: String,
    /// What the work is about, as an upload's id.
    pub subject: i64,
    /// Counted before each run, this one included: the first run is attempt 1. A run that a crash cut off counts, for it may have caused
    /// the crash; but some more are granted for those, since most did not.
    pub attempt: u32,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done; its row goes now, if it has not gone in the transaction that did the work.
    Done,
    /// Another attempt can succeed, after the next wait and not before `after` (a little later, so that what failed
    /// together does not come back together). After the last one this is [`Outcome::GiveUp`].
    Retry { reason: String, after: Option<Duration> },
    /// No attempt can succeed.
    GiveUp { reason: String },
}

/// Does one kind of work.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// One attempt. It may follow one that was cut off at any point by a crash. A panic counts as
    /// [`Outcome::Retry`].
    async fn run(&self, job: &Job) -> Outcome;

    /// The work is given up: brings what it is about to a visible end. Asked again later if it fails, and again after a
    /// crash; the row goes when it has succeeded.
    async fn gave_up(&self, job: &Job, reason: &str) -> Result<(), Fault>;
}

/// The rows. On SQLite the owner is this process: rows that another one had claimed are free at boot, and there
/// is no time-out within one.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Frees every claimed row. Asked once, at boot.
    async fn free_claimed(&self) -> Result<(), Fault>;

    /// Claims of each kind at most so many rows that are due, those that have been due longest first, and counts the
    /// attempt. Kinds are claimed apart, so that a thousand rows of one never stand before a row of another.
    async fn claim(&self, wanted: &[(&str, usize)], now: Timestamp) -> Result<Vec<Job>, Fault>;

    /// When the next unclaimed row of any of `kinds` is due; in the past if one is due already.
    async fn next_due(&self, kinds: &[&str]) -> Result<Option<Timestamp>, Fault>;

    /// The work is done, or will never be: the row goes. (Work that ends in a transaction of its own removes it there:
    /// then there is nothing to do. No id is ever given twice.)
    async fn finish(&self, id: i64) -> Result<(), Fault>;

    /// The work was given up, and [`Handler::gave_up`] has brought what it is about to its end: what is left of the row goes.
    async fn given_up(&self, id: i64) -> Result<(), Fault>;

    /// To be tried again, at `due`.
    async fn put_off(&self, id: i64, due: Timestamp, reason: &str) -> Result<(), Fault>;

    /// Wakes whenever a row may have become due earlier than was known.
    fn woken(&self) -> Arc<tokio::sync::Notify>;
}
