//! The catalog: the metadata database, on SQLite. It implements the ports of `files`, `upload`, `follow_ups`, `events` and `jobs` with
//! one type, [`Sqlite`], for what one of them owes another (a record and its event, a seal and its job) is one
//! transaction. It decides nothing: which change is right in which state is said by the ports.
//!
//! - `writer`: one thread that writes, and commits together whatever waits for it.
//! - `readers`: read-only connections beside it; a reader never waits for the writer, nor the writer for a reader.
//! - `checkpoints`: the thread that copies the write-ahead log into the database.
//! - `schema`: opening, migrations, and what a boot finds out.
//! - one file a port: `files` (with `records` and `appends`), `uploads`, `follow_ups`, `events`, `jobs`; `columns` is
//!   between rows and types.

mod appends;
mod checkpoints;
mod columns;
pub mod config;
mod error;
mod events;
mod files;
mod follow_ups;
mod jobs;
mod readers;
mod records;
mod schema;
mod uploads;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::events::Position;
use crate::fault::Fault;
use checkpoints::Checkpoints;
use config::Durability;
pub use error::OpenError;
pub use follow_ups::FollowUpQueue;
use readers::Readers;
use writer::{Change, Told, Writer};

/// What was found out when the catalog was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The machine's boot under which the catalog was opened before; `None` for a new one.
    pub previous_boot_id: Option<String>,
    /// The machine went down under `durability = "process"`: the last commits may be gone, and the bytes of receipts too.
    pub tail_may_be_lost: bool,
}

/// The catalog in one SQLite file. Dropping it ends its threads, after what they were given is done.
pub struct Sqlite {
    // In this order they are dropped: no writer is left when the readers go, and whoever closes last takes the
    // write-ahead log in. The lock goes when nothing of ours has the file open.
    writer: Writer,
    readers: Readers,
    _checkpoints: Checkpoints,
    head: watch::Sender<Position>,
    jobs_woken: Arc<Notify>,
    follow_ups_woken: Arc<Notify>,
    _lock: File,
}

impl Sqlite {
    /// Opens the catalog at `path`, made with its folder if it is not there, for this process alone.
    /// `boot_id` is the machine's.
    pub fn open(path: &Path, durability: Durability, boot_id: &str) -> Result<(Self, Opened), OpenError> {
        schema::make_folder(path)?;
        let lock = schema::lock(path)?;
        let (connection, opened, head) = schema::open(path, durability, boot_id)?;
        let failed = |source| OpenError::from_sqlite(path, source);
        let readers = Readers::open(path).map_err(failed)?;
        let checkpoints = Checkpoints::start(path).map_err(failed)?;
        let head = watch::Sender::new(head);
        let (jobs_woken, follow_ups_woken) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let told = Told { head: head.clone(), jobs: jobs_woken.clone(), follow_ups: follow_ups_woken.clone() };
        let writer =
            Writer::start(connection, checkpoints.log(), told).map_err(|source| OpenError::Thread { source })?;
        let catalog =
            Self { writer, readers, _checkpoints: checkpoints, head, jobs_woken, follow_ups_woken, _lock: lock };
        Ok((catalog, opened))
    }

    /// Runs `work` in a transaction, and answers after its COMMIT. A caller that goes away does not undo it. It may be run
    /// again, where a neighbour in the same transaction failed.
    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnMut(&mut Change<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.writer.run(operation, work).await
    }
}
