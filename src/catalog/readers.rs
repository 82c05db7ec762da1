//! Read-only connections. Single rows are looked up on the spot, in the task that asks; pages go to the blocking
//! pool. Each read is a transaction of its own and ends with it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use tokio::sync::Semaphore;

use super::{error, schema};
use crate::fault::{Fault, FaultKind};

/// How many pages are read at once.
const PAGES_AT_ONCE: usize = 2;

pub(super) struct Readers {
    /// One for each core: the lock is held for the microseconds of a lookup, and hardly ever met.
    lookups: Box<[Mutex<Connection>]>,
    next: AtomicUsize,
    pages: Arc<Pages>,
}

struct Pages {
    turns: Arc<Semaphore>,
    free: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let lookups = (0..cores).map(|_| schema::open_readable(path).map(Mutex::new)).collect::<Result<_, _>>()?;
        let free = (0..PAGES_AT_ONCE).map(|_| schema::open_readable(path)).collect::<Result<_, _>>()?;
        let pages = Arc::new(Pages { turns: Arc::new(Semaphore::new(PAGES_AT_ONCE)), free: Mutex::new(free) });
        Ok(Self { lookups, next: AtomicUsize::new(0), pages })
    }

    /// Looks a row up by an index, on the spot: some 10 µs, where handing it to another thread and back takes longer than the
    /// lookup itself.
    pub(super) fn find<T>(
        &self,
        operation: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Fault> {
        self.few(operation, |connection| find(connection, sql, params, read))
    }

    /// Reads a few rows on the spot.
    pub(super) fn few<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Fault> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = (0..self.lookups.len())
            .find_map(|step| self.lookups[(first + step) % self.lookups.len()].try_lock())
            .unwrap_or_else(|| self.lookups[first % self.lookups.len()].lock());
        work(&connection).map_err(|error| error::fault(operation, error))
    }

    /// Reads on the blocking pool.
    pub(super) async fn page<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let ended = || Fault::new(FaultKind::Broken, format!("{operation}: the reader has stopped"));
        let turn = self.pages.turns.clone().acquire_owned().await.map_err(|_| ended())?;
        let pages = self.pages.clone();
        let read = tokio::task::spawn_blocking(move || {
            let connection = pages.free.lock().pop()?;
            let result = work(&connection);
            pages.free.lock().push(connection);
            drop(turn);
            Some(result)
        });
        let result = read.await.ok().flatten().ok_or_else(ended)?;
        result.map_err(|error| error::fault(operation, error))
    }
}

/// The first row, if there is one.
pub(super) fn find<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    connection.prepare_cached(sql)?.query_row(params, read).optional()
}

/// All rows.
pub(super) fn list<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(params, read)?.collect()
}
