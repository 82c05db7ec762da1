//! The writer: one thread with the one connection that writes. It takes whatever waits, runs it in one transaction,
//! and answers after COMMIT. A small batch never waits for company: whoever comes while one is being committed is in the next.

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
/// From how many commands on a batch lets more come.
const BUSY: usize = 8;

thread_local! {
    /// Set by SQLite's hook in the thread that commits: how long the write-ahead log is now, in pages.
    static LOGGED: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Who is told of what, once it is committed.
#[derive(Default)]
pub(super) struct Told {
    pub head: watch::Sender<Position>,
    pub jobs: Arc<Notify>,
    pub follow_ups: Arc<Notify>,
}

/// The handle on the thread. Dropped, it waits until everything that was in line is done.
pub(super) struct Writer {
    line: Option<mpsc::Sender<Box<dyn Command>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, log: Arc<Log>, told: Told) -> io::Result<Self> {
        let (line, waiting) = mpsc::channel(WAITING);
        connection.wal_hook(Some(|_, pages| {
            LOGGED.set(u32::try_from(pages).ok());
            Ok(())
        }));
        let thread = Thread { connection, waiting, log, told };
        let thread = thread::Builder::new().name("catalog-writer".into()).spawn(move || thread.run())?;
        Ok(Self { line: Some(line), thread: Some(thread) })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnMut(&mut Change<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let stopped = || Fault::new(FaultKind::Broken, format!("{operation}: the catalog's writer has stopped"));
        let (caller, answer) = oneshot::channel();
        let pending = Pending { operation, work, result: None, caller };
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
    follow_ups: bool,
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

    /// A follow-up may be due: the runner of these is woken after COMMIT.
    pub(super) fn wake_follow_ups(&mut self) {
        self.effects.follow_ups = true;
    }
}

/// A command in line, whatever its answer's type.
trait Command: Send {
    /// Runs it, anew if it was run in a transaction that was taken back.
    fn run(&mut self, change: &mut Change<'_>) -> Result<(), Arc<rusqlite::Error>>;

    fn has_failed(&self) -> bool;

    /// Tells the caller what came of it, or that the whole batch failed.
    fn answer(self: Box<Self>, batch: &Result<(), Arc<rusqlite::Error>>);
}

struct Pending<W, T> {
    operation: &'static str,
    work: W,
    result: Option<Result<T, Arc<rusqlite::Error>>>,
    caller: oneshot::Sender<Result<T, Fault>>,
}

impl<W, T> Command for Pending<W, T>
where
    W: FnMut(&mut Change<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, change: &mut Change<'_>) -> Result<(), Arc<rusqlite::Error>> {
        let result = (self.work)(change).map_err(Arc::new);
        let outcome = result.as_ref().map(|_| ()).map_err(Arc::clone);
        self.result = Some(result);
        outcome
    }

    fn has_failed(&self) -> bool {
        matches!(self.result, Some(Err(_)))
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
    told: Told,
}

impl Thread {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
            if batch.len() >= BUSY {
                self.take_latecomers(&mut batch);
            }
            let outcome = self.commit(&mut batch);
            for command in batch.drain(..) {
                command.answer(&outcome);
            }
        }
    }

    /// Where many are served, those who run on this core get the chance to join: fewer and larger batches cost a tenth less.
    fn take_latecomers(&mut self, batch: &mut Vec<Box<dyn Command>>) {
        thread::yield_now();
        while batch.len() < BATCH
            && let Ok(command) = self.waiting.try_recv()
        {
            batch.push(command);
        }
    }

    /// Runs the batch as one transaction. An error here means that nothing of the batch was done.
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
            self.told.head.send_replace(position);
        }
        if effects.jobs {
            self.told.jobs.notify_one();
        }
        if effects.follow_ups {
            self.told.follow_ups.notify_one();
        }
        Ok(())
    }

    fn transact(&self, batch: &mut [Box<dyn Command>]) -> Result<Effects, Arc<rusqlite::Error>> {
        loop {
            self.execute("BEGIN IMMEDIATE")?;
            match self.run_all(batch) {
                Ok(effects) => {
                    self.execute("COMMIT")?;
                    return Ok(effects);
                }
                // There is no room for the others either; or SQLite has taken the transaction back itself, for the disk is broken.
                Err(error) if self.connection.is_autocommit() || kind(&error) == FaultKind::Full => return Err(error),
                // One has failed by itself, and is out now. It takes nobody along: the others run again. A savepoint for
                // each would save that, and cost every batch a sixth of its time for what hardly ever happens.
                Err(_) => self.execute("ROLLBACK")?,
            }
        }
    }

    fn run_all(&self, batch: &mut [Box<dyn Command>]) -> Result<Effects, Arc<rusqlite::Error>> {
        let mut change = Change { connection: &self.connection, effects: Effects::default() };
        for command in batch.iter_mut().filter(|command| !command.has_failed()) {
            command.run(&mut change)?;
        }
        Ok(change.effects)
    }

    fn execute(&self, sql: &str) -> Result<(), Arc<rusqlite::Error>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.execute([])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use futures_util::{FutureExt, TryFutureExt};

    /// A writer on a table of unique numbers, in memory.
    fn writer() -> (Writer, watch::Receiver<Position>) {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE number (value INTEGER PRIMARY KEY) STRICT;
                 CREATE TABLE child (value INTEGER REFERENCES number DEFERRABLE INITIALLY DEFERRED) STRICT;
                 CREATE TABLE filler (bytes BLOB) STRICT;",
            )
            .unwrap();
        let told = Told::default();
        let head = told.head.subscribe();
        (Writer::start(connection, Arc::default(), told).unwrap(), head)
    }

    async fn insert(writer: &Writer, value: i64) -> Result<(), Fault> {
        let work = move |change: &mut Change<'_>| {
            change.execute("INSERT INTO number VALUES (?1)", [value])?;
            change.logged(value.cast_unsigned());
            Ok(())
        };
        writer.run("insert", work).await
    }

    async fn numbers(writer: &Writer) -> Vec<i64> {
        let sql = "SELECT value FROM number ORDER BY value";
        let read =
            |change: &mut Change<'_>| super::super::readers::list(change.connection(), sql, [], |row| row.get(0));
        writer.run("read", read).await.unwrap()
    }

    /// Has all of them in line while the writer is held up, so that they are one batch.
    async fn together<T>(writer: &Writer, commands: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let (started, has_started) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel();
        let mut holding = Box::pin(writer.run("hold the writer up", move |_| {
            started.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        }));
        assert!(holding.as_mut().now_or_never().is_none());
        has_started.recv().unwrap();
        let mut all = Box::pin(join_all(commands));
        assert!(all.as_mut().now_or_never().is_none());
        release.send(()).unwrap();
        holding.await.unwrap();
        all.await
    }

    #[tokio::test]
    async fn a_command_that_fails_takes_nobody_along() {
        let (writer, head) = writer();
        insert(&writer, 5).await.unwrap();
        let outcomes = together(&writer, [1, 2, 5, 3, 5, 4].map(|value| insert(&writer, value))).await;
        let done: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(done, [true, true, false, true, false, true]);
        assert_eq!(numbers(&writer).await, [1, 2, 3, 4, 5]);
        assert_eq!(*head.borrow(), 4, "what was taken back told nobody");
    }

    #[tokio::test]
    async fn a_commit_that_fails_fails_its_whole_batch() {
        let (writer, head) = writer();
        let orphan =
            writer.run("insert an orphan", |change| change.execute("INSERT INTO child VALUES (99)", [])).map_ok(drop);
        let batch = [insert(&writer, 1).boxed(), orphan.boxed(), insert(&writer, 2).boxed()];
        let outcomes = together(&writer, batch).await;
        assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
        assert_eq!(*head.borrow(), 0);
        assert_eq!(numbers(&writer).await, [0; 0]);
        insert(&writer, 1).await.unwrap();
        assert_eq!(*head.borrow(), 1);
    }

    #[tokio::test]
    async fn it_goes_on_when_there_is_room_again() {
        let (writer, _) = writer();
        let limit = |pages: i64| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            writer.run("limit", move |change| change.find(&sql, [], |row| row.get::<_, i64>(0)))
        };
        let fill = || writer.run("fill", |change| change.execute("INSERT INTO filler VALUES (zeroblob(100000))", []));
        limit(20).await.unwrap();
        let full = together(&writer, (0..3).map(|_| fill())).await;
        assert!(
            full.iter().all(|outcome| outcome.as_ref().is_err_and(|fault| fault.kind == FaultKind::Full)),
            "{full:?}"
        );
        insert(&writer, 1).await.unwrap();
        limit(1000).await.unwrap();
        let done = together(&writer, (0..3).map(|_| fill())).await;
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        assert_eq!(numbers(&writer).await, [1]);
    }
}
