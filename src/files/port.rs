//! What the domain needs of a storage and of the catalog to publish, read and delete files; and, in `hooks`, of the hooks.
//!
//! The order of calls in a publication is DESIGN §5: [`Storage::prepare`] → [`Catalog::declare`] → the path's
//! gate → [`Storage::place`] → [`Catalog::publish`] → gate released → [`Storage::settle`]. The domain keeps that
//! order; adapters may rely on it.

mod hooks;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use crate::events::{NewEvent, Position};
use crate::fault::Fault;
pub use hooks::{
    Admission, Announcement, Candidate, Denial, FollowUpOutcome, HookChain, Issue, PublishedFile, Verdict, in_words,
};

// ---------------------------------------------------------------------------------------------------------
// What is published

/// A contiguous staged file, complete and closed for writing, on the gateway's own disk.
#[derive(Debug, Clone)]
pub struct Staged {
    pub path: PathBuf,
    pub file: Arc<File>,
    /// Bytes.
    pub size: u64,
    /// CRC-64/NVME of the whole.
    pub crc: u64,
    pub sha256: Option<[u8; 32]>,
}

/// A version's name: a UUIDv7 in its simple form. It is the file's ETag, and stands in an object's metadata.
pub type Version = String;

/// What tells one state of a stored file from another, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// On a local disk; times in nanoseconds since the epoch. Taken after the file has its final name.
    Local { device: u64, inode: u64, size: u64, mtime: i64, ctime: i64 },
    /// In an object store. `etag` is as the store gives it, quotes and all; empty where it gives none.
    Object { size: u64, etag: String, modified: i64 },
}

impl Identity {
    pub fn size(&self) -> u64 {
        match self {
            Identity::Local { size, .. } | Identity::Object { size, .. } => *size,
        }
    }
}

/// The record of a published file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    pub collection: String,
    /// Empty where the collection has no tenants.
    pub tenant: String,
    pub file_name: String,
    pub storage: String,
    /// Under the storage's root, without a leading `/`. Unique with `storage`.
    pub path: String,
    pub version: Version,
    /// Bytes.
    pub size: u64,
    pub crc: u64,
    pub sha256: Option<[u8; 32]>,
    pub modified: Timestamp,
    pub identity: Identity,
}

/// A file that another program put into the storage and that did not pass validation. It stays as it is,
/// unserved; it is looked at again when its identity changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unserved {
    pub collection: String,
    pub tenant: String,
    pub file_name: String,
    pub storage: String,
    pub path: String,
    pub identity: Identity,
    pub reason: String,
}

// ---------------------------------------------------------------------------------------------------------
// Storage

/// What a storage can do. `check` compares it with what a collection needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A new version replaces the old one at once, and readers of the old one are not disturbed.
    pub atomic_replace: bool,
    /// A range of a file can be read without reading what lies before it.
    pub ranges: bool,
    pub list: bool,
    pub delete: bool,
    /// Bytes can be added at the end of a file in place ([`Storage::append`]).
    pub append: bool,
    /// Other programs can see and change the same files, and [`Storage::folder_mark`] tells when they did.
    pub shared_folder: bool,
}

/// What an intent remembers of the staged file, to know it again at its final path after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// The inode that is moved into place.
    Inode { device: u64, inode: u64 },
    /// An object store: the version stands in the object's metadata.
    Version,
    /// A storage without either: size and CRC, read back.
    Content,
}

/// A staged file that is ready to be placed: on the same filesystem, or written to the store but not completed.
/// Dropping it without [`Storage::place`] gives it up; what it left is cleaned up.
pub struct Prepared {
    pub path: String,
    pub version: Version,
    pub mark: Mark,
    /// The adapter's own.
    pub inner: Box<dyn std::any::Any + Send>,
}

/// A file at its final path, with what it displaced still at hand.
pub struct Placed {
    pub path: String,
    pub identity: Identity,
    /// The adapter's own.
    pub inner: Box<dyn std::any::Any + Send>,
}

/// A file as a storage shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: String,
    pub identity: Identity,
    pub modified: Timestamp,
}

/// A file that is held open: whatever happens to its path, these bytes stay.
pub struct Opened {
    pub identity: Identity,
    pub modified: Timestamp,
    pub content: Arc<dyn Content>,
}

/// The bytes of an opened file.
#[async_trait]
pub trait Content: Send + Sync + 'static {
    /// Fills `buffer` from `offset`, less only at the end of the file.
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// The bytes of `range`, in pieces of the storage's choice. A file that is shorter by now ends in an error,
    /// never early.
    fn stream(self: Arc<Self>, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>>;

    /// A path that opens these bytes for this process and its children, as long as the content is held; where there is one.
    fn local_path(&self) -> Option<PathBuf> {
        None
    }
}

/// What stands behind a [`Storage::folder_mark`]: equal marks mean that no entry came, went or was renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderMark {
    pub inode: u64,
    pub mtime: i64,
    pub ctime: i64,
}

/// One `[storage.NAME]`. Paths are relative to its root, `/` between parts, no leading `/`; they were made from
/// names that passed [`crate::name`].
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    fn name(&self) -> &str;

    fn capabilities(&self) -> Capabilities;

    /// Makes a staged file ready for `place`: nothing is visible at `path` afterwards.
    /// Missing folders are made here (and removed again by `abandon` if they were made for this file alone).
    /// With `durable`, content and folders are fsynced here and in `place`. What is no folder and stands in the place of one, or is
    /// a folder and stands in the file's place, makes both end as [`crate::fault::FaultKind::Obstructed`].
    async fn prepare(&self, staged: &Staged, path: &str, version: &Version, durable: bool) -> Result<Prepared, Fault>;

    /// Gives a prepared file up before it was placed: no trace is left.
    async fn abandon(&self, prepared: Prepared);

    /// Puts the file at its path, at once and whole, in the place of what is there.
    /// With `expected_absent`, whatever is there already stays and the answer is a [`crate::fault::FaultKind::Mismatch`].
    async fn place(&self, prepared: Prepared, expected_absent: bool) -> Result<Placed, Fault>;

    /// Takes a placement back: what was displaced is at the path again. `false`: this storage cannot; the
    /// intent must stay and be gone forward with.
    async fn undo(&self, placed: Placed) -> Result<bool, Fault>;

    /// Lets go of what was displaced.
    async fn settle(&self, placed: Placed);

    /// Whether the file that an intent speaks of is at its final path. Asked at boot.
    async fn find_placed(&self, intent: &Intent) -> Result<Option<Found>, Fault>;

    /// Removes what a crash between `prepare` and `settle` may have left. Asked at boot, after the intents.
    async fn sweep(&self) -> Result<(), Fault>;

    /// A regular file at `path`; folders, symlinks, FIFOs and the like count as absent.
    async fn stat(&self, path: &str) -> Result<Option<Found>, Fault>;

    /// Opens a regular file for reading. Never blocks on a FIFO, never follows a symlink. With `expected`, an
    /// object store reads that version or nothing (`If-Match`).
    async fn open(&self, path: &str, expected: Option<&Identity>) -> Result<Option<Opened>, Fault>;

    /// Removes the file if it still has that identity; `true` if it was removed. Its folder stays.
    async fn remove(&self, path: &str, expected: &Identity, durable: bool) -> Result<bool, Fault>;

    /// Regular files directly in `folder` (`""` is the root), in no order. Hidden ones are left out.
    async fn list_files(&self, folder: &str) -> Result<BoxStream<'static, Result<Found, Fault>>, Fault>;

    /// Names of the folders directly in `folder`, in no order. Hidden ones are left out.
    async fn list_folders(&self, folder: &str) -> Result<BoxStream<'static, Result<String, Fault>>, Fault>;

    /// Changes whenever an entry of `folder` comes, goes or is renamed. `None` where there is no such folder, or
    /// where the storage cannot tell (no `shared_folder`).
    async fn folder_mark(&self, folder: &str) -> Result<Option<FolderMark>, Fault>;

    /// Opens the append-only file at `path` for the one appender, made if missing, cut at `length`.
    /// `expected` is the device and inode that hold the recorded bytes (`None`: there are none yet); another one
    /// there is moved out of the way.
    async fn append(
        &self,
        path: &str,
        expected: Option<(u64, u64)>,
        length: u64,
        durable: bool,
    ) -> Result<Arc<dyn AppendFile>, Fault>;
}

/// The append-only file of one collection, open. Calls come from one task at a time.
#[async_trait]
pub trait AppendFile: Send + Sync + 'static {
    fn identity(&self) -> Result<Identity, Fault>;

    /// Writes at `offset`, and with `durable` has it on disk when this returns.
    async fn write_at(&self, offset: u64, data: &AppendSource) -> Result<(), Fault>;

    /// The same open file for reading.
    fn content(&self) -> Arc<dyn Content>;
}

/// What is appended: small bodies in memory, larger ones from their staging file.
pub enum AppendSource {
    Memory(Bytes),
    Staged(Staged),
}

// ---------------------------------------------------------------------------------------------------------
// Catalog

/// A publication or delete that was begun: written before the storage is touched, taken back together with the
/// record. What is found at boot says what a crash interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Given by the catalog.
    pub id: i64,
    pub action: IntentAction,
    /// The file as it will be recorded; its identity is unknown before the placement (`Local` zeroes).
    pub record: FileRecord,
    pub mark: Mark,
    /// The upload that owes this publication, or that goes with the file that is deleted. `None` for a file that came whole in one
    /// request: its client has had no answer.
    pub upload: Option<UploadId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentAction {
    Publish,
    Delete,
}

/// An upload's row: never used twice, so it is the incarnation too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(pub i64);

/// What makes a published file visible: one transaction.
#[derive(Debug, Clone)]
pub struct Publication {
    pub intent: i64,
    pub record: FileRecord,
    pub event: NewEvent,
    /// Moves `received → stored`, removes its parts and its owed work. If the upload is not `received` any more the whole
    /// transaction is refused ([`CatalogAnswer::Refused`]).
    pub upload: Option<UploadId>,
    /// The plugins of the collection that are owed a run.
    pub follow_ups: Vec<Arc<str>>,
}

/// Whether a conditional write was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogAnswer {
    Done,
    /// The state was not as expected; nothing was written.
    Refused,
}

/// The state of an append-only file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRecord {
    pub collection: String,
    pub storage: String,
    pub path: String,
    /// Grows by one with each clear.
    pub generation: i64,
    /// Bytes that were acknowledged.
    pub length: u64,
    /// The inode that holds them; `None` while there is no file.
    pub inode: Option<(u64, u64)>,
    pub utf8: Utf8State,
    pub modified: Timestamp,
}

/// Whether all that was appended is UTF-8, so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Utf8State {
    /// All is, but for a code point that the last bytes (at most three, often none) begin.
    Valid {
        open: Vec<u8>,
    },
    Invalid,
}

/// A page of a listing, by name. `next` continues after its last row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub tenants: u64,
    pub files: u64,
    pub last_modified: Option<Timestamp>,
}

/// The records of published files. Every write is one transaction and has returned from COMMIT when it answers.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    // Publication and delete
    async fn declare(&self, intent: Intent) -> Result<i64, Fault>;
    async fn withdraw(&self, intent: i64) -> Result<(), Fault>;
    async fn intents(&self) -> Result<Vec<Intent>, Fault>;
    /// Record (in the place of the one with the same storage and path), event, upload, intent, follow-ups.
    async fn publish(&self, publication: Publication) -> Result<CatalogAnswer, Fault>;
    /// Removes the record if it still has that version, with the upload that the intent names; writes the event, takes back the
    /// intent.
    async fn unpublish(
        &self,
        intent: Option<i64>,
        record: &FileRecord,
        event: NewEvent,
    ) -> Result<CatalogAnswer, Fault>;

    // Reading
    async fn file(&self, storage: &str, path: &str) -> Result<Option<FileRecord>, Fault>;
    /// Files of a tenant by name, after `after`, at most `limit`.
    async fn files(
        &self,
        collection: &str,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<FileRecord>, Fault>;
    async fn tenants(&self, collection: &str) -> Result<Vec<String>, Fault>;
    async fn totals(&self, collection: &str) -> Result<Totals, Fault>;

    // What other programs did
    /// Records a file as it was found and validated: record, event, follow-ups; removes an `Unserved` of that path.
    /// `replaces` is the version that it takes the place of; another one by now: refused.
    async fn adopt(
        &self,
        record: FileRecord,
        replaces: Option<&Version>,
        event: NewEvent,
        follow_ups: Vec<Arc<str>>,
    ) -> Result<CatalogAnswer, Fault>;
    /// The record keeps its version and content digest and gets this identity (touched, not changed).
    async fn refresh_identity(&self, record: &FileRecord, identity: &Identity) -> Result<(), Fault>;
    /// Notes a file that failed validation; with `event` its former record is removed in the same transaction.
    async fn shun(&self, file: Unserved, former: Option<(FileRecord, NewEvent)>) -> Result<(), Fault>;
    async fn forget_unserved(&self, storage: &str, path: &str) -> Result<(), Fault>;
    async fn unserved(&self, collection: &str, tenant: &str) -> Result<Vec<Unserved>, Fault>;
    /// Writes an event that belongs to no single file (`sync_completed`).
    async fn announce(&self, event: NewEvent) -> Result<Position, Fault>;

    // Append-only files
    async fn append_record(&self, collection: &str) -> Result<Option<AppendRecord>, Fault>;
    /// Writes the record if generation and length are still those of `before` (`None`: there was no record). Without an
    /// event nothing changed for readers: a file is about to get its first bytes, or was found.
    async fn appended(
        &self,
        before: Option<&AppendRecord>,
        after: AppendRecord,
        event: Option<NewEvent>,
    ) -> Result<CatalogAnswer, Fault>;
}
