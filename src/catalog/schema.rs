//! Opening the database: folder, lock, settings, migrations, and what a boot finds out about the one before.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rusqlite_migration::{M, Migrations};

use super::columns::unsigned;
use super::config::Durability;
use super::{OpenError, Opened};
use crate::events::Position;

/// As in the first migration.
const APPLICATION_ID: i64 = 0x5449_4445;
const MIGRATIONS: [M<'static>; 2] =
    [M::up(include_str!("migrations/1-first.sql")), M::up(include_str!("migrations/2-hooks.sql"))];

/// More than a log can lose at once: it holds what was committed in the seconds before the machine went down.
const JUMP: i64 = 1_000_000;
/// For a shell that somebody has open on the file; nobody of ours makes another wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// KiB of pages that a writing connection keeps, and a reading one.
const WRITER_CACHE: i64 = 4096;
const READER_CACHE: i64 = 1024;

pub(super) fn make_folder(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(|source| OpenError::Folder { folder: folder.to_owned(), source })
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The lock is on a file beside the database: SQLite's own locks are let go when any handle of the process on the
/// database is closed, and a shell must be able to read it.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let in_folder = |source| OpenError::Folder { folder: folder_of(path).to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).open(PathBuf::from(name)).map_err(in_folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::HeldByAnother { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(in_folder(source)),
    }
}

/// The writer's connection, up to date, with what the boot found out and the head of the log.
pub(super) fn open(
    path: &Path,
    durability: Durability,
    boot_id: &str,
) -> Result<(Connection, Opened, Position), OpenError> {
    let failed = |source| OpenError::from_sqlite(path, source);
    let mut connection = open_writable(path).map_err(failed)?;
    refuse_strangers(path, &connection)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog { path: path.to_owned() });
    }
    // Whatever the durability, a new schema and a jump of the counters must not be lost: what was promised after them
    // would be promised again.
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    Migrations::from_slice(&MIGRATIONS)
        .to_latest(&mut connection)
        .map_err(|source| OpenError::from_migration(path, source))?;
    let (opened, head) = note_boot(&mut connection, durability, boot_id).map_err(failed)?;
    if opened.previous_boot_id.is_none() {
        sync_folder(path)?;
    }
    let synchronous = match durability {
        Durability::Process => "normal",
        Durability::Disk => "full",
    };
    connection.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
    Ok((connection, opened, head))
}

fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    let synced = if cfg!(unix) { File::open(folder).and_then(|handle| handle.sync_all()) } else { Ok(()) };
    synced.map_err(|source| OpenError::Folder { folder: folder.to_owned(), source })
}

/// A connection that may write, without anything done to the file yet.
pub(super) fn open_writable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    set_up(Connection::open_with_flags(path, flags)?, WRITER_CACHE, 128)
}

pub(super) fn open_readable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    set_up(Connection::open_with_flags(path, flags)?, READER_CACHE, 32)
}

fn set_up(connection: Connection, cache: i64, statements: usize) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cache_size", -cache)?;
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(())).optional()?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // Else a statement with `LIMIT ?` is compiled anew at each use: its plan could hang on the value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(statements);
    Ok(connection)
}

/// Refuses a database that is not a catalog, or one that a newer gateway wrote, before anything in it is touched.
fn refuse_strangers(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let failed = |source| OpenError::from_sqlite(path, source);
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if tables > 0 && number("application_id").map_err(failed)? != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let (found, known) = (number("user_version").map_err(failed)?, MIGRATIONS.len() as i64);
    if found > known { Err(OpenError::Newer { path: path.to_owned(), found, known }) } else { Ok(()) }
}

/// Compares the machine's boot with the one before, and jumps ahead where commits may have been lost: a position or
/// an id that somebody was told must not come to mean something else.
fn note_boot(
    connection: &mut Connection,
    durability: Durability,
    boot_id: &str,
) -> rusqlite::Result<(Opened, Position)> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (previous_boot_id, previous_durability) =
        transaction.query_row("SELECT boot_id, durability FROM meta", [], |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get::<_, Option<String>>(1)?))
        })?;
    let tail_may_be_lost = previous_boot_id.as_deref().is_some_and(|previous| previous != boot_id)
        && previous_durability.as_deref() != Some(name(Durability::Disk));
    if tail_may_be_lost {
        let head = last_given(&transaction, "event")?;
        transaction.execute("INSERT INTO event_gap (after, up_to) VALUES (?1, ?2)", [head, head + JUMP])?;
        for table in ["event", "upload", "intent", "job", "follow_up"] {
            jump(&transaction, table)?;
        }
    }
    transaction.execute("UPDATE meta SET boot_id = ?1, durability = ?2", [boot_id, name(durability)])?;
    let head = head(&transaction)?;
    transaction.commit()?;
    Ok((Opened { previous_boot_id, tail_may_be_lost }, head))
}

/// As the table `meta` has it.
fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::Process => "process",
        Durability::Disk => "disk",
    }
}

fn jump(connection: &Connection, table: &str) -> rusqlite::Result<()> {
    let to = last_given(connection, table)? + JUMP;
    if connection.execute("UPDATE sqlite_sequence SET seq = ?2 WHERE name = ?1", (table, to))? == 0 {
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (table, to))?;
    }
    Ok(())
}

fn last_given(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    let given = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = ?1")?
        .query_row([table], |row| row.get(0))
        .optional()?;
    Ok(given.unwrap_or(0))
}

/// The last position that the log gave.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Position> {
    last_given(connection, "event").map(unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_are_sound() {
        Migrations::from_slice(&MIGRATIONS).validate().unwrap();
    }
}
