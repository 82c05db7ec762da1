//! Checkpoints: the thread that copies what was committed from the write-ahead log into the database, so that neither the
//! log grows without end nor a commit pays for the copying.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rusqlite::Connection;
use tracing::{debug, warn};

use super::schema;

/// Pages (of 4 KiB) that may wait before they are copied beside the writer: 4 MiB.
const COPY_AT: u32 = 1024;
/// Pages at which the writer is made to wait, so that the log can begin anew: 64 MiB. It begins anew by itself when a copy
/// catches up with it, and under steady writing none does.
const BEGIN_ANEW_AT: u32 = 16 * 1024;
/// Without a commit for this long the log is emptied.
const IDLE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(1);
/// How long beginning anew waits for readers of the old pages, which the writer waits for too.
const READERS: Duration = Duration::from_millis(100);

/// What writer and checkpoints know together of the write-ahead log.
#[derive(Default)]
pub(super) struct Log {
    state: Mutex<State>,
    changed: Condvar,
    /// Held for each transaction and while the log begins anew: SQLite would have the one that waits sleep and ask again.
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    pages: u32,
    copied: u32,
    commits: u64,
    closing: bool,
}

impl State {
    fn to_copy(&self) -> u32 {
        self.pages.saturating_sub(self.copied)
    }
}

impl Log {
    pub(super) fn turn_to_write(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// A commit has left the log with so many pages.
    pub(super) fn grew_to(&self, pages: u32) {
        let mut state = self.state.lock();
        let was_empty = state.pages == 0;
        if pages < state.copied {
            state.copied = 0;
        }
        state.pages = pages;
        state.commits += 1;
        let wanted = was_empty || state.to_copy() >= COPY_AT || pages >= BEGIN_ANEW_AT;
        drop(state);
        if wanted {
            self.changed.notify_one();
        }
    }

    /// Waits until there is something to do.
    fn next_step(&self) -> Step {
        let mut state = self.state.lock();
        loop {
            if state.closing {
                return Step::Close;
            }
            if state.pages >= BEGIN_ANEW_AT {
                return Step::BeginAnew;
            }
            if state.to_copy() >= COPY_AT {
                return Step::Copy;
            }
            if state.pages == 0 {
                self.changed.wait(&mut state);
                continue;
            }
            let commits = state.commits;
            if self.changed.wait_for(&mut state, IDLE).timed_out() && state.commits == commits {
                return Step::BeginAnew;
            }
        }
    }

    /// Waits, but not past the end of the catalog.
    fn pause(&self) {
        let until = Instant::now() + RETRY;
        let mut state = self.state.lock();
        while !state.closing && !self.changed.wait_until(&mut state, until).timed_out() {}
    }
}

enum Step {
    Copy,
    BeginAnew,
    Close,
}

/// The handle on the thread.
pub(super) struct Checkpoints {
    log: Arc<Log>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn start(path: &Path) -> rusqlite::Result<Self> {
        let connection = schema::open_writable(path)?;
        connection.busy_timeout(READERS)?;
        let log = Arc::new(Log::default());
        let worker = Worker { connection, log: log.clone(), failing: false };
        let thread = thread::Builder::new().name("catalog-checkpoints".into()).spawn(move || worker.run());
        let thread = thread.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(Self { log, thread: Some(thread) })
    }

    pub(super) fn log(&self) -> Arc<Log> {
        self.log.clone()
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.log.state.lock().closing = true;
        self.log.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    connection: Connection,
    log: Arc<Log>,
    failing: bool,
}

impl Worker {
    fn run(mut self) {
        loop {
            let done = match self.log.next_step() {
                Step::Copy => self.copy(),
                Step::BeginAnew => self.copy().and_then(|()| self.begin_anew()),
                Step::Close => return,
            };
            self.report(&done);
            if done.is_err() {
                self.log.pause();
            }
        }
    }

    /// Copies beside writer and readers.
    fn copy(&self) -> rusqlite::Result<()> {
        let (_, copied) = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
        self.log.state.lock().copied = copied;
        Ok(())
    }

    /// Copies the rest while the writer waits, and empties the log.
    fn begin_anew(&self) -> rusqlite::Result<()> {
        let _turn = self.log.turn.lock();
        let (busy, _) = self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")?;
        if !busy {
            let mut state = self.log.state.lock();
            state.pages = 0;
            state.copied = 0;
        }
        Ok(())
    }

    fn checkpoint(&self, sql: &str) -> rusqlite::Result<(bool, u32)> {
        self.connection.prepare_cached(sql)?.query_row([], |row| {
            let copied: i64 = row.get(2)?;
            Ok((row.get(0)?, u32::try_from(copied).unwrap_or(0)))
        })
    }

    /// Says once that checkpoints fail, and once that they go on.
    fn report(&mut self, done: &rusqlite::Result<()>) {
        match done {
            Err(error) if !self.failing => {
                warn!(%error, "the catalog's write-ahead log cannot be taken in; it grows until it can");
            }
            Ok(()) if self.failing => debug!("the catalog's write-ahead log is taken in again"),
            _ => {}
        }
        self.failing = done.is_err();
    }
}
