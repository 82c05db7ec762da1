//! What the way in needs of staging and of the catalog. (What it needs of the hooks, `files` needs too: it stands there.)

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::fault::Fault;
pub use crate::files::port::{Candidate, Issue, UploadId, Verdict};

// ---------------------------------------------------------------------------------------------------------
// Staging

/// The spool: a folder on the gateway's own disk, one sub-folder per upload plus single files for whole bodies.
#[async_trait]
pub trait Staging: Send + Sync + 'static {
    /// A new file for a body that comes whole in one request. It vanishes when the last handle is dropped
    /// without [`SpoolFile::keep`], and at the next boot.
    async fn create_whole(&self) -> Result<Arc<dyn SpoolFile>, Fault>;

    /// The spool of an upload: opened if it is there, made if not.
    async fn open_spool(&self, upload: UploadId) -> Result<Arc<dyn SpoolFile>, Fault>;

    /// A new overflow file of an upload; `number` was never used before for this upload. It vanishes when the last handle is
    /// dropped without [`SpoolFile::keep`]: a part that does not come to its end leaves nothing.
    async fn create_overflow(&self, upload: UploadId, number: u32) -> Result<Arc<dyn SpoolFile>, Fault>;

    async fn open_overflow(&self, upload: UploadId, number: u32) -> Result<Arc<dyn SpoolFile>, Fault>;

    /// The highest number of an overflow file that the upload has; `0` without any.
    async fn last_overflow(&self, upload: UploadId) -> Result<u32, Fault>;

    async fn remove_overflow(&self, upload: UploadId, number: u32);

    /// A new file of an upload to assemble into.
    async fn create_assembled(&self, upload: UploadId) -> Result<Arc<dyn SpoolFile>, Fault>;

    /// Removes all that an upload has in staging. Nothing there: nothing to do.
    async fn remove_upload(&self, upload: UploadId) -> Result<(), Fault>;

    /// Removes whole bodies, and the folders of uploads that `live` does not name. Asked at boot.
    async fn sweep(&self, live: &[UploadId]) -> Result<(), Fault>;
}

/// Keeps something as it is while a write is under way.
pub type Hold = Arc<dyn std::any::Any + Send + Sync>;

/// One file in staging.
///
/// Writes to different ranges may run at once. After [`SpoolFile::seal`] has returned no write touches the file
/// any more, whatever thread it was on.
#[async_trait]
pub trait SpoolFile: Send + Sync + 'static {
    fn path(&self) -> PathBuf;
    fn file(&self) -> Arc<File>;

    /// Writes at `offset`: on the spot while the disk keeps up, on the blocking pool while it does not.
    /// `Ok(false)`: the file is sealed, nothing was written. `hold` is dropped when the write has returned, on whatever
    /// thread that is, also when the caller has gone away: what it guards is not given to another writer before.
    async fn write_at(self: Arc<Self>, offset: u64, data: Bytes, hold: Hold) -> Result<bool, Fault>;

    /// Has all that was written on disk. Calls that wait together share one `fdatasync`, begun after the last
    /// write that returned before the call. After a failure every further call fails.
    async fn sync(self: Arc<Self>) -> Result<(), Fault>;

    /// Admits no more writes and waits for those under way.
    async fn seal(self: Arc<Self>);

    fn is_sealed(&self) -> bool;

    /// Copies `length` bytes of `from` to `offset` in the kernel, where the kernel can.
    async fn copy_from(
        self: Arc<Self>,
        from: Arc<dyn SpoolFile>,
        from_offset: u64,
        offset: u64,
        length: u64,
    ) -> Result<(), Fault>;

    /// Sets the length.
    async fn set_len(self: Arc<Self>, length: u64) -> Result<(), Fault>;

    /// Dropping the handle removes nothing any more: the file has a receipt, or was moved away by a publication.
    fn keep(&self);
}

// ---------------------------------------------------------------------------------------------------------
// Catalog

/// Durable states of an upload (DESIGN §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UploadState {
    Receiving,
    Received,
    Stored,
    Rejected,
    Failed,
    Expired,
    Aborted,
}

impl UploadState {
    pub const ALL: [UploadState; 7] = [
        UploadState::Receiving,
        UploadState::Received,
        UploadState::Stored,
        UploadState::Rejected,
        UploadState::Failed,
        UploadState::Expired,
        UploadState::Aborted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            UploadState::Receiving => "receiving",
            UploadState::Received => "received",
            UploadState::Stored => "stored",
            UploadState::Rejected => "rejected",
            UploadState::Failed => "failed",
            UploadState::Expired => "expired",
            UploadState::Aborted => "aborted",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// An upload that came to nothing stands in nobody's way.
    pub fn is_replaceable(self) -> bool {
        matches!(self, UploadState::Expired | UploadState::Aborted)
    }
}

/// Who chose which id where. Unique among uploads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadKey {
    pub collection: String,
    pub principal: String,
    /// The client's id, as B's `sessionId`.
    pub session: String,
}

/// What a client says of an upload, with any part or at completion; what was said once must not change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announced {
    pub file_name: Option<String>,
    /// Bytes of the whole.
    pub size: Option<u64>,
    pub total_parts: Option<u32>,
    pub user: Option<String>,
}

/// What an upload is called, once that is known and admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub path: String,
    /// Where an admission hook made another name of the announced one.
    pub admitted_as: Option<String>,
}

/// An upload's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    pub id: UploadId,
    pub key: UploadKey,
    pub state: UploadState,
    pub announced: Announced,
    /// Fixed when the file's name is known; unique with `storage` among uploads, and against published files of others.
    pub storage: String,
    pub path: Option<String>,
    /// The name that an admission hook gave it in the place of the announced one.
    pub admitted_as: Option<String>,
    pub sha256: bool,
    /// The machine's boot id under which its parts were written or last verified.
    pub boot_id: String,
    pub created: Timestamp,
    /// When the last byte was acknowledged.
    pub touched: Timestamp,
    /// Why it was rejected or failed.
    pub reason: Option<String>,
    /// What the checks found, if it was rejected.
    pub issues: Vec<Issue>,
    /// The published version, once `stored`, with its size.
    pub version: Option<String>,
    pub stored_size: Option<u64>,
    pub stored_at: Option<Timestamp>,
    pub parts: u32,
}

/// Where a part's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Spool {
        offset: u64,
    },
    /// A file of its own, from offset 0.
    Overflow {
        number: u32,
    },
}

/// A part that is there and counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub number: u32,
    pub place: Place,
    /// Bytes.
    pub length: u64,
    /// CRC-64/NVME.
    pub crc: u64,
}

/// What came of opening an upload.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and nearly always a row")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenAnswer {
    /// There it is, made or found, whatever its state.
    Row(UploadRow),
    /// Another upload or file has the path that this one would get.
    PathTaken { path: String },
}

/// What came of a conditional change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeAnswer {
    Done,
    /// Not in the expected state any more, or gone.
    WrongState,
    PathTaken {
        path: String,
    },
}

/// The end that an upload comes to without being stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub state: UploadState,
    pub reason: String,
    /// What the checks found, if it is rejected.
    pub issues: Vec<Issue>,
}

impl End {
    pub fn new(state: UploadState, reason: impl Into<String>) -> Self {
        Self { state, reason: reason.into(), issues: Vec::new() }
    }
}

/// The rows of uploads, receipts and owed assembly. Every write is one transaction that has returned from COMMIT.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Finds the upload of `row.key`, or makes it as `row` says (`row.id` is ignored). An `expired` one of the same key is replaced
    /// by a new one.
    async fn open_upload(&self, row: UploadRow) -> Result<OpenAnswer, Fault>;

    async fn upload(&self, key: &UploadKey) -> Result<Option<UploadRow>, Fault>;

    async fn upload_by_id(&self, id: UploadId) -> Result<Option<UploadRow>, Fault>;

    /// Uploads of a collection in a state, oldest first, after `after`, at most `limit`.
    async fn uploads(
        &self,
        collection: &str,
        state: UploadState,
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadRow>, Fault>;

    /// Ids of all uploads that have bytes in staging: every state but `stored`, `expired` and `aborted`.
    async fn live_uploads(&self) -> Result<Vec<UploadId>, Fault>;

    /// Sets what was announced, and what it is called when that becomes known, while the upload is `receiving`.
    async fn announce(&self, id: UploadId, announced: Announced, named: Option<Named>) -> Result<ChangeAnswer, Fault>;

    /// Keeps a receipt (in the place of one with the same number) while the upload is `receiving`, and touches it.
    async fn keep_receipt(&self, id: UploadId, receipt: Receipt, at: Timestamp) -> Result<ChangeAnswer, Fault>;

    async fn receipt(&self, id: UploadId, number: u32) -> Result<Option<Receipt>, Fault>;

    /// All receipts by number.
    async fn receipts(&self, id: UploadId) -> Result<Vec<Receipt>, Fault>;

    /// Removes receipts whose bytes a power loss took, and notes the boot id under which the rest was verified.
    async fn void_receipts(&self, id: UploadId, numbers: Vec<u32>, boot_id: &str) -> Result<(), Fault>;

    /// `receiving → received`, and owes the assembly (a job of kind [`ASSEMBLE`]), in one transaction.
    async fn seal(&self, id: UploadId, at: Timestamp) -> Result<ChangeAnswer, Fault>;

    /// To `rejected`, `failed`, `expired` or `aborted` from `from`; removes parts, intents and owed work of it.
    async fn end_upload(&self, id: UploadId, from: UploadState, end: End) -> Result<ChangeAnswer, Fault>;

    /// Removes the row with all that hangs on it.
    async fn forget_upload(&self, id: UploadId) -> Result<(), Fault>;

    /// Uploads that are `receiving` and were last touched before `before`.
    async fn idle_uploads(&self, before: Timestamp, limit: usize) -> Result<Vec<UploadRow>, Fault>;
}

/// The kind of job that carries an upload from `received` to its end; its subject is the upload's id.
pub const ASSEMBLE: &str = "assemble";
