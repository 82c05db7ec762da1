//! Uploads that are being received, in memory: the spool that is open, the ledger, who writes. What is here can be had from the
//! catalog again; it is dropped when an upload was idle for a while.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Uploads;
use super::error::{UploadError, check_extension, sealed};
use super::front::Front;
use super::ledger::Ledger;
use super::port::{
    Announced, ChangeAnswer, Named, OpenAnswer, Place, Receipt, SpoolFile, UploadId, UploadKey, UploadRow, UploadState,
};
use super::requests::Request;
use crate::collection::{Collection, PathValues};
use crate::crash;
use crate::digest::Crc;
use crate::fault::Fault;
use crate::name::{Kind, MAX_NAME_BYTES, NameError};

/// An upload that nobody touched for this long leaves memory, and its spool is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Commits of the same part number wait for one another; different numbers seldom share a lock.
const NUMBER_LOCKS: usize = 16;

/// One upload in memory.
pub(super) struct Active {
    pub id: UploadId,
    pub key: UploadKey,
    pub spool: Arc<dyn SpoolFile>,
    /// The hash of the spool's front, where the collection asks for SHA-256.
    pub front: Option<Front>,
    pub state: Mutex<State>,
    /// Told when the last commit under way has ended.
    pub quiet: Notify,
    /// Held while what clients announce is compared and written.
    announcing: tokio::sync::Mutex<()>,
    number_locks: [tokio::sync::Mutex<()>; NUMBER_LOCKS],
    /// Held by whoever seals the upload, until it is known what came of it.
    pub seal: tokio::sync::Mutex<()>,
    /// Held by whoever seals the upload, carries it out or deletes it.
    pub work: tokio::sync::Mutex<()>,
    /// `true` once a delete wants the work to stop.
    pub cancelled: watch::Sender<bool>,
}

pub(super) struct State {
    pub ledger: Ledger,
    /// No part is admitted and no receipt committed any more.
    pub sealing: bool,
    /// Receipts that are being committed.
    pub commits: usize,
    /// Requests that have a part for it under way.
    visits: usize,
    next_overflow: u32,
    used: Instant,
}

/// A range of the spool that is one part's alone until this is dropped. Each write holds it, on whatever thread it is.
pub(super) struct Claim {
    active: Arc<Active>,
    pub range: Range<u64>,
    /// The receipt has it now.
    settled: AtomicBool,
}

impl Claim {
    pub(super) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Relaxed) {
            self.active.state.lock().ledger.release(self.range.clone());
        }
    }
}

/// One request's hold on an upload, from the moment that it is found or made to the part's receipt. When the last one lets go
/// and there is no part, the upload is taken back: a first part that was refused or broke off leaves no trace.
pub(super) struct Visit {
    uploads: Uploads,
    pub active: Arc<Active>,
}

impl Visit {
    /// The slot's lock is held.
    fn begin(uploads: &Uploads, active: Arc<Active>) -> Self {
        active.state.lock().visits += 1;
        Self { uploads: uploads.clone(), active }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let is_barren = {
            let mut state = self.active.state.lock();
            state.visits -= 1;
            state.is_barren()
        };
        // Without a runtime the process is ending; what is left expires.
        if is_barren && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (uploads, active) = (self.uploads.clone(), self.active.clone());
            runtime.spawn(async move { uploads.take_back(active).await });
        }
    }
}

impl State {
    /// No part is there, and none on its way.
    fn is_barren(&self) -> bool {
        self.visits == 0 && !self.sealing && self.ledger.is_empty()
    }
}

impl Active {
    pub(super) fn begin(&self, number: u32) -> Result<(), UploadError> {
        let mut state = self.state.lock();
        if state.sealing {
            return Err(sealed());
        }
        state.ledger.begin(number);
        if state.ledger.is_beyond_total(number) {
            let total = state.ledger.announced().total_parts.unwrap_or_default();
            return Err(UploadError::Field {
                field: "chunkNumber",
                message: format!("{number} is beyond the {total} chunks that were announced"),
            });
        }
        state.used = Instant::now();
        Ok(())
    }

    /// A place for a part whose length is not known yet.
    pub(super) fn claim(self: &Arc<Self>, number: u32) -> Option<Arc<Claim>> {
        let range = self.state.lock().ledger.claim(number)?;
        Some(self.new_claim(range))
    }

    pub(super) fn claim_complete(self: &Arc<Self>, number: u32, length: u64) -> Option<Arc<Claim>> {
        let range = self.state.lock().ledger.claim_complete(number, length)?;
        Some(self.new_claim(range))
    }

    /// A part in an overflow file that can be brought to its place, and that place.
    pub(super) fn claim_for_stray(self: &Arc<Self>) -> Option<(Receipt, Arc<Claim>)> {
        let (stray, range) = self.state.lock().ledger.claim_for_stray()?;
        Some((stray, self.new_claim(range)))
    }

    fn new_claim(self: &Arc<Self>, range: Range<u64>) -> Arc<Claim> {
        Arc::new(Claim { active: self.clone(), range, settled: AtomicBool::new(false) })
    }

    pub(super) fn next_overflow(&self) -> u32 {
        let mut state = self.state.lock();
        state.next_overflow += 1;
        state.next_overflow
    }

    pub(super) async fn lock_number(&self, number: u32) -> tokio::sync::MutexGuard<'_, ()> {
        self.number_locks[number as usize % NUMBER_LOCKS].lock().await
    }

    /// A commit of a receipt begins, unless the upload is being sealed.
    pub(super) fn enter_commit(&self) -> Result<(), UploadError> {
        let mut state = self.state.lock();
        if state.sealing {
            return Err(sealed());
        }
        state.commits += 1;
        state.used = Instant::now();
        Ok(())
    }

    pub(super) fn leave_commit(&self) {
        let mut state = self.state.lock();
        state.commits -= 1;
        if state.commits == 0 {
            self.quiet.notify_waiters();
        }
    }

    /// Waits until no receipt is being committed.
    pub(super) async fn commits_ended(&self) {
        loop {
            let quiet = self.quiet.notified();
            tokio::pin!(quiet);
            quiet.as_mut().enable();
            if self.state.lock().commits == 0 {
                return;
            }
            quiet.await;
        }
    }

    fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.commits == 0 && state.used.elapsed() > IDLE
    }
}

/// The uploads in memory. A slot's lock is held while its upload is loaded, sealed in the catalog or deleted.
#[derive(Default)]
pub(super) struct Slots(Mutex<HashMap<UploadKey, Arc<Slot>>>);

pub(super) type Slot = tokio::sync::Mutex<Option<Arc<Active>>>;

impl Slots {
    pub(super) fn of(&self, key: &UploadKey) -> Arc<Slot> {
        self.0.lock().entry(key.clone()).or_default().clone()
    }

    /// Forgets the slot if nobody else has it: whoever comes next makes a new one.
    pub(super) fn tidy(&self, key: &UploadKey) {
        let mut slots = self.0.lock();
        let unused =
            |slot: &Arc<Slot>| Arc::strong_count(slot) == 1 && slot.try_lock().is_ok_and(|slot| slot.is_none());
        if slots.get(key).is_some_and(unused) {
            slots.remove(key);
        }
    }

    /// Forgets what was idle for a while.
    pub(super) fn tidy_idle(&self) {
        self.0.lock().retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot.try_lock().map_or(true, |slot| {
                    slot.as_ref().is_some_and(|active| Arc::strong_count(active) > 1 || !active.is_idle())
                })
        });
    }
}

impl Uploads {
    /// The upload of `key`, ready to receive; made if there is none.
    pub(super) async fn open(
        &self,
        collection: &Collection,
        key: UploadKey,
        announced: &Announced,
        request: &Request,
    ) -> Result<Visit, UploadError> {
        self.check_announced(collection, announced)?;
        let slot = self.core.slots.of(&key);
        let mut slot = slot.lock().await;
        if request.is_older_than_delete(&key) {
            return Err(UploadError::Conflict("the upload was deleted while this request was under way".to_owned()));
        }
        if let Some(active) = &*slot {
            let visit = Visit::begin(self, active.clone());
            self.announce(collection, &visit.active, announced).await?;
            return Ok(visit);
        }
        let row = self.find_or_make(collection, &key, announced).await?;
        if row.state != UploadState::Receiving {
            return Err(sealed());
        }
        let (id, is_new) = (row.id, row.parts == 0);
        let active = match self.load(row).await {
            Ok(active) => Arc::new(active),
            Err(error) => {
                if is_new {
                    self.forget_barren(id).await;
                }
                return Err(error);
            }
        };
        crash::point("receive.opened");
        *slot = Some(active.clone());
        let visit = Visit::begin(self, active);
        self.announce(collection, &visit.active, announced).await?;
        Ok(visit)
    }

    async fn find_or_make(
        &self,
        collection: &Collection,
        key: &UploadKey,
        announced: &Announced,
    ) -> Result<UploadRow, UploadError> {
        match self.core.catalog.upload(key).await? {
            Some(row) if !row.state.is_replaceable() => return Ok(row),
            _ => {}
        }
        let named = self.name_upload(collection, announced, &key.session).await?;
        match self.core.catalog.open_upload(self.new_row(collection, key, announced, named)).await? {
            OpenAnswer::Row(row) => Ok(row),
            OpenAnswer::PathTaken { path } => Err(path_taken(&path)),
        }
    }

    /// Ends an upload that no part ever reached.
    async fn take_back(&self, active: Arc<Active>) {
        let slot = self.core.slots.of(&active.key);
        let mut held = slot.lock().await;
        let is_current = held.as_ref().is_some_and(|current| Arc::ptr_eq(current, &active));
        let is_barren = {
            let mut state = active.state.lock();
            // Who began in the meantime has it now, and takes it back in its turn.
            let is_barren = is_current && state.is_barren();
            state.sealing |= is_barren;
            is_barren
        };
        if is_barren {
            *held = None;
            self.forget_barren(active.id).await;
        }
        drop(held);
        drop(slot);
        self.core.slots.tidy(&active.key);
    }

    /// What cannot be forgotten now expires.
    async fn forget_barren(&self, id: UploadId) {
        match self.core.catalog.forget_upload(id).await {
            Ok(()) => self.remove_staged(id).await,
            Err(fault) => tracing::warn!(upload = id.0, %fault, "an upload without any part could not be taken back"),
        }
    }

    /// The upload with that id, for whoever completes or carries it out. `None`: it was deleted, or has its end.
    pub(super) async fn activate(&self, key: &UploadKey, id: UploadId) -> Result<Option<Arc<Active>>, UploadError> {
        let slot = self.core.slots.of(key);
        let mut slot = slot.lock().await;
        if let Some(active) = &*slot
            && active.id == id
        {
            return Ok(Some(active.clone()));
        }
        // Read under the slot's lock: a delete that had it before leaves nothing to bring back.
        let Some(row) = self.core.catalog.upload_by_id(id).await? else { return Ok(None) };
        if !matches!(row.state, UploadState::Receiving | UploadState::Received) {
            return Ok(None);
        }
        let active = Arc::new(self.load(row).await?);
        *slot = Some(active.clone());
        Ok(Some(active))
    }

    fn new_row(
        &self,
        collection: &Collection,
        key: &UploadKey,
        announced: &Announced,
        named: Option<Named>,
    ) -> UploadRow {
        let now = Timestamp::now();
        let (path, admitted_as) = named.map_or((None, None), |named| (Some(named.path), named.admitted_as));
        UploadRow {
            id: UploadId(0),
            path,
            admitted_as,
            key: key.clone(),
            state: UploadState::Receiving,
            announced: announced.clone(),
            storage: collection.storage.to_string(),
            sha256: collection.sha256,
            boot_id: self.core.boot_id.clone(),
            created: now,
            touched: now,
            reason: None,
            issues: Vec::new(),
            version: None,
            stored_size: None,
            stored_at: None,
            parts: 0,
        }
    }

    async fn load(&self, row: UploadRow) -> Result<Active, UploadError> {
        let spool = self.core.staging.open_spool(row.id).await?;
        let mut receipts = self.core.catalog.receipts(row.id).await?;
        if row.boot_id != self.core.boot_id && !self.files.is_durable() {
            self.void_lost(&row, &spool, &mut receipts).await?;
        }
        let state = State {
            ledger: Ledger::restore(row.announced, &receipts),
            sealing: row.state != UploadState::Receiving,
            commits: 0,
            visits: 0,
            next_overflow: self.core.staging.last_overflow(row.id).await?,
            used: Instant::now(),
        };
        Ok(Active {
            id: row.id,
            key: row.key,
            spool,
            front: row.sha256.then(Front::default),
            state: Mutex::new(state),
            quiet: Notify::new(),
            announcing: tokio::sync::Mutex::default(),
            number_locks: Default::default(),
            seal: tokio::sync::Mutex::default(),
            work: tokio::sync::Mutex::default(),
            cancelled: watch::Sender::new(false),
        })
    }

    /// The machine was started anew since these parts were written, and nobody waited for the disk then: what a power loss took
    /// is found by its CRC, and is missing from now on.
    async fn void_lost(
        &self,
        row: &UploadRow,
        spool: &Arc<dyn SpoolFile>,
        receipts: &mut Vec<Receipt>,
    ) -> Result<(), UploadError> {
        let mut lost = Vec::new();
        for receipt in receipts.iter() {
            let (file, offset) = match receipt.place {
                Place::Spool { offset } => (Some(spool.clone()), offset),
                Place::Overflow { number } => (self.core.staging.open_overflow(row.id, number).await.ok(), 0),
            };
            let (length, crc) = (receipt.length, receipt.crc);
            let is_there = match file {
                Some(file) => tokio::task::spawn_blocking(move || crc_at(&file.file(), offset, length) == Some(crc))
                    .await
                    .map_err(|error| Fault::broken("verify a part", error))?,
                None => false,
            };
            if !is_there {
                lost.push(receipt.number);
            }
        }
        if !lost.is_empty() {
            tracing::warn!(
                session = row.key.session,
                parts = lost.len(),
                "parts did not survive the machine's restart"
            );
        }
        receipts.retain(|receipt| !lost.contains(&receipt.number));
        self.core.catalog.void_receipts(row.id, lost, &self.core.boot_id).await?;
        Ok(())
    }

    /// Compares what a client says with what was said before, and keeps what is new.
    pub(super) async fn announce(
        &self,
        collection: &Collection,
        active: &Active,
        said: &Announced,
    ) -> Result<Announced, UploadError> {
        self.check_announced(collection, said)?;
        let _announcing = active.announcing.lock().await;
        let known = active.state.lock().ledger.announced().clone();
        let merged = merge(&known, said)?;
        if merged == known {
            return Ok(known);
        }
        let named = match known.file_name {
            Some(_) => None,
            None => self.name_upload(collection, &merged, &active.key.session).await?,
        };
        match self.core.catalog.announce(active.id, merged.clone(), named).await? {
            ChangeAnswer::Done => {
                active.state.lock().ledger.set_announced(merged.clone());
                Ok(merged)
            }
            ChangeAnswer::WrongState => Err(sealed()),
            ChangeAnswer::PathTaken { path } => Err(path_taken(&path)),
        }
    }

    fn check_announced(&self, collection: &Collection, said: &Announced) -> Result<(), UploadError> {
        if let Some(name) = &said.file_name {
            check_extension(collection, &crate::name::file_name(name)?)?;
        }
        match said.size {
            Some(size) if size > collection.max_file_size => {
                Err(UploadError::TooLarge { limit: collection.max_file_size })
            }
            _ => Ok(()),
        }
    }
}

/// The final path of an upload.
pub(super) fn path_of(collection: &Collection, file_name: &str, session: &str) -> Result<String, UploadError> {
    let path = collection.path.render(PathValues { tenant: "", file_name, session_id: session });
    // File name and session id are short enough each; together they need not be.
    if path.split('/').any(|part| part.len() > MAX_NAME_BYTES) {
        return Err(NameError::TooLong(Kind::FileName, "255 bytes together with the session id").into());
    }
    Ok(path)
}

fn path_taken(path: &str) -> UploadError {
    UploadError::Conflict(format!(
        "another upload has the path `{path}` already; choose another session id or file name"
    ))
}

fn merge(known: &Announced, said: &Announced) -> Result<Announced, UploadError> {
    fn one<T: Clone + PartialEq>(what: &str, known: &Option<T>, said: &Option<T>) -> Result<Option<T>, UploadError> {
        match (known, said) {
            (Some(known), Some(said)) if known != said => {
                Err(UploadError::Conflict(format!("{what} contradicts what was said with an earlier chunk")))
            }
            (known, said) => Ok(known.as_ref().or(said.as_ref()).cloned()),
        }
    }
    Ok(Announced {
        file_name: one("fileName", &known.file_name, &said.file_name)?,
        size: one("fileSize", &known.size, &said.size)?,
        total_parts: one("totalChunks", &known.total_parts, &said.total_parts)?,
        user: one("userId", &known.user, &said.user)?,
    })
}

fn crc_at(file: &std::fs::File, mut offset: u64, length: u64) -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let mut crc = Crc::default();
    let mut buffer = vec![0; 256 * 1024];
    let end = offset + length;
    while offset < end {
        let piece = (end - offset).min(buffer.len() as u64) as usize;
        file.read_exact_at(&mut buffer[..piece], offset).ok()?;
        crc.update(&buffer[..piece]);
        offset += piece as u64;
    }
    Some(crc.finish())
}
