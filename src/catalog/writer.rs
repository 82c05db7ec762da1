//! The writer: one thread with the one connection that writes. It takes whatever waits, runs it in one transaction,
//! and answers after COMMIT. A batch never waits for company: whoever comes while one is being committed is in the next.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, Params, Row};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::error;

use super::checkpoints::Log;
use super::error::{fault_of, kind};
use crate::events::Position;
use crate::fault::{Fault, FaultKind};

/// How many commands one transaction takes at most, and how many may wait: callers past that wait for their turn
/// before they are in line.
const BATCH: usize = 256;
const WAITING: usize = 1024;

thread_local! {
    /// Set by SQLite's hook in the thread that commits: how long the write-ahead log is now, in pages.
    static LOGGED: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The handle on the thread. Dropped, it waits until everything that was in line is done.
pub(super) struct Writer {
    line: Option<mpsc::Sender<Box<dyn Command>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        log: Arc<Log>,
        head: watch::Sender<Position>,
        jobs_woken: Arc<Notify>,
    ) -> io::Result<Self> {
        let (line, waiting) = mpsc::channel(WAITING);
        connection.wal_hook(Some(|_, pages| {
            LOGGED.set(u32::try_from(pages).ok());
            Ok(())
        }));
        let thread = Thread { connection, waiting, log, head, jobs_woken };
        let thread = thread::Builder::new().name("catalog-writer".into()).spawn(move || thread.run())?;
        Ok(Self { line: Some(line), thread: Some(thread) })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Change<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let stopped = || Fault::new(FaultKind::Broken, format!("{operation}: the catalog's writer has stopped"));
        let (caller, answer) = oneshot::channel();
        let pending = Pending { operation, work: Some(work), result: None, caller };
        let line = self.line.as_ref().ok_or_else(stopped)?;
        line.send(Box::new(pending)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.line = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the catalog's writer ended in a panic");
        }
    }
}

/// What a command can do in its transaction.
pub(super) struct Change<'batch> {
    connection: &'batch Connection,
    effects: Effects,
}

/// What others are told once the transaction is committed.
#[derive(Default)]
struct Effects {
    head: Option<Position>,
    jobs: bool,
}

impl Effects {
    fn add(&mut self, other: Effects) {
        self.head = other.head.or(self.head);
        self.jobs |= other.jobs;
    }
}

impl<'batch> Change<'batch> {
    /// Gives how many rows were changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    /// The row that an INSERT made.
    pub(super) fn insert(&self, sql: &str, params: impl Params) -> rusqlite::Result<i64> {
        self.connection.prepare_cached(sql)?.insert(params)
    }

    pub(super) fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        super::readers::find(self.connection, sql, params, read)
    }

    pub(super) fn connection(&self) -> &'batch Connection {
        self.connection
    }

    /// An event got this position: the head is moved there after COMMIT.
    pub(super) fn logged(&mut self, position: Position) {
        self.effects.head = Some(position);
    }

    /// A job may be due: the runner is woken after COMMIT.
    pub(super) fn wake_jobs(&mut self) {
        self.effects.jobs = true;
    }
}

/// A command in line, whatever its answer's type.
trait Command: Send {
    fn run(&mut self, change: &mut Change<'_>) -> Result<(), Arc<rusqlite::Error>>;

    /// Tells the caller what came of it, or that the whole batch failed.
    fn answer(self: Box<Self>, batch: &Result<(), Arc<rusqlite::Error>>);
}

struct Pending<W, T> {
    operation: &'static str,
    work: Option<W>,
    result: Option<Result<T, Arc<rusqlite::Error>>>,
    caller: oneshot::Sender<Result<T, Fault>>,
}

impl<W, T> Command for Pending<W, T>
where
    W: FnOnce(&mut Change<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, change: &mut Change<'_>) -> Result<(), Arc<rusqlite::Error>> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = work(change).map_err(Arc::new);
        let outcome = result.as_ref().map(|_| ()).map_err(Arc::clone);
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, batch: &Result<(), Arc<rusqlite::Error>>) {
        let failed = |error: Arc<rusqlite::Error>| fault_of(self.operation, kind(&error), error);
        let answer = match (self.result, batch) {
            // Its own failure says more than that of the batch that it brought down.
            (Some(Err(error)), _) => Err(failed(error)),
            (_, Err(error)) => Err(failed(error.clone())),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Fault::new(FaultKind::Broken, format!("{}: it was not run", self.operation))),
        };
        // Nobody waits any more: what was done stays done.
        let _ = self.caller.send(answer);
    }
}

struct Thread {
    connection: Connection,
    waiting: mpsc::Receiver<Box<dyn Command>>,
    log: Arc<Log>,
    head: watch::Sender<Position>,
    jobs_woken: Arc<Notify>,
}

impl Thread {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
            let outcome = self.commit(&mut batch);
            for command in batch.drain(..) {
                command.answer(&outcome);
            }
        }
    }

    /// Runs the batch as one transaction. What failed by itself is taken back by itself; an error here means that
    /// nothing of the batch was done.
    fn commit(&self, batch: &mut [Box<dyn Command>]) -> Result<(), Arc<rusqlite::Error>> {
        let turn = self.log.turn_to_write();
        let outcome = self.transact(batch);
        if outcome.is_err() && !self.connection.is_autocommit() {
            // After a full disk SQLite leaves it to us, at times, to end the transaction.
            self.execute("ROLLBACK")?;
        }
        drop(turn);
        if let Some(pages) = LOGGED.take() {
            self.log.grew_to(pages);
        }
        let effects = outcome?;
        if let Some(position) = effects.head {
            self.head.send_replace(position);
        }
        if effects.jobs {
            self.jobs_woken.notify_one();
        }
        Ok(())
    }

    fn transact(&self, batch: &mut [Box<dyn Command>]) -> Result<Effects, Arc<rusqlite::Error>> {
        self.execute("BEGIN IMMEDIATE")?;
        let mut effects = Effects::default();
        if let [only] = batch {
            effects = self.attempt(only.as_mut())?;
        } else {
            for command in batch {
                self.execute("SAVEPOINT command")?;
                match self.attempt(command.as_mut()) {
                    Ok(told) => effects.add(told),
                    // SQLite has taken the whole transaction back: the disk is full, or broken.
                    Err(error) if self.connection.is_autocommit() => return Err(error),
                    Err(_) => self.execute("ROLLBACK TO command")?,
                }
                self.execute("RELEASE command")?;
            }
        }
        self.execute("COMMIT")?;
        Ok(effects)
    }

    fn attempt(&self, command: &mut dyn Command) -> Result<Effects, Arc<rusqlite::Error>> {
        let mut change = Change { connection: &self.connection, effects: Effects::default() };
        command.run(&mut change)?;
        Ok(change.effects)
    }

    fn execute(&self, sql: &str) -> Result<(), Arc<rusqlite::Error>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.execute([])?;
        Ok(())
    }
}
