//! Keeping the records true to what other programs do to a storage.
//!
//! A file's identity (device, inode, size, times) is kept with its record. What has another one is new or changed: it is validated
//! as it lies, outside its gate, then recorded and announced; what fails stays as it is, unserved, with its reason; what is gone is
//! recorded as deleted.
//!
//! Before a download a folder is looked at again when its mark changed; before a listing each of its files is, for one that was changed in
//! place leaves the folder's mark alone. Either happens at most once a second. (A download notices such a file by itself.)

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use super::port::{
    Candidate, CatalogAnswer, FileRecord, FolderMark, Found, Identity, Issue, Opened, Storage, Unserved, Verdict,
    in_words,
};
use super::publication::event_of;
use super::{Files, content};
use crate::collection::{Collection, PathValues};
use crate::events::{EventKind, NewEvent};
use crate::fault::Fault;
use crate::name;

/// A folder is looked at no more often than this.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Kernels older than 6.13 stamp a folder once a tick: a change just after a look can leave the mark as it was.
const COARSE_TICK: Duration = Duration::from_millis(20);
/// Records of one tenant that a look holds in memory at once; past it they are asked for one by one.
const KNOWN_AT_ONCE: usize = 10_000;
/// So many folders are remembered; past it all are forgotten and looked at anew.
const LOOKS_KEPT: usize = 20_000;
/// A file that another program goes on changing is left for the next look after so many tries.
const TRIES: usize = 3;

/// When each tenant's folder was looked at, and what it was like.
pub(super) struct Looks {
    start: Instant,
    by_folder: Mutex<HashMap<(String, String), Arc<Look>>>,
}

#[derive(Default)]
struct Look {
    /// When the folder's mark was compared: milliseconds after `Looks::start`, plus one; `0` for never.
    checked: AtomicU64,
    /// When each file was looked at.
    gone_through: AtomicU64,
    mark: tokio::sync::Mutex<Option<FolderMark>>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { start: Instant::now(), by_folder: Mutex::default() }
    }
}

impl Looks {
    fn of(&self, storage: &str, folder: &str) -> Arc<Look> {
        let mut looks = self.by_folder.lock();
        let key = (storage.to_owned(), folder.to_owned());
        if looks.len() >= LOOKS_KEPT && !looks.contains_key(&key) {
            looks.clear();
        }
        looks.entry(key).or_default().clone()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + 1
    }

    fn is_recent(&self, stamp: &AtomicU64) -> bool {
        let checked = stamp.load(Ordering::Acquire);
        checked != 0 && self.now() - checked.min(self.now()) < BETWEEN_LOOKS.as_millis() as u64
    }
}

/// What a sync found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    pub files_count: u64,
}

/// How closely a look looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// At the folder's mark: whether an entry came, went or was renamed.
    Folder,
    /// At every file too.
    Files,
}

/// What one look at one file came to.
enum Settled {
    /// The record says what is there.
    Yes,
    /// Somebody changed it meanwhile.
    ChangedAgain,
}

impl Files {
    /// Takes up what other programs did to a tenant's folder since the last look.
    pub(super) async fn refresh(&self, collection: &Collection, tenant: &str, depth: Depth) -> Result<(), Fault> {
        let storage = self.places.storage_of(collection)?;
        let Some(folder) = tenant_folder(collection, tenant).filter(|_| storage.capabilities().shared_folder) else {
            return Ok(());
        };
        let looks = &self.core.looks;
        let look = looks.of(storage.name(), &folder);
        let stamp = match depth {
            Depth::Folder => &look.checked,
            Depth::Files => &look.gone_through,
        };
        if looks.is_recent(stamp) {
            return Ok(());
        }
        let mut seen = look.mark.lock().await;
        if looks.is_recent(stamp) {
            return Ok(());
        }
        let mark = storage.folder_mark(&folder).await?;
        if depth == Depth::Files || mark.is_none() || mark != *seen {
            self.reconcile_tenant(collection, storage, tenant, &folder).await?;
            *seen = mark.filter(|mark| !is_racy(mark));
        }
        look.checked.store(looks.now(), Ordering::Release);
        if depth == Depth::Files {
            look.gone_through.store(looks.now(), Ordering::Release);
        }
        Ok(())
    }

    /// Reconciles a tenant whatever its folder looks like, then announces `sync_completed`. `None`: no such tenant.
    pub async fn sync(&self, collection: &Collection, tenant: &str) -> Result<Option<Synced>, Fault> {
        let storage = self.places.storage_of(collection)?;
        if let Some(folder) = tenant_folder(collection, tenant) {
            self.reconcile_tenant(collection, storage, tenant, &folder).await?;
        }
        let mut files_count = 0;
        let mut after = None;
        loop {
            let page = self.core.catalog.files(&collection.name, tenant, after.as_deref(), 1_000).await?;
            files_count += page.rows.len() as u64;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        if files_count == 0 && !self.has_folder(collection, tenant).await? {
            return Ok(None);
        }
        let event = NewEvent {
            kind: EventKind::SyncCompleted,
            collection: collection.name.to_string(),
            tenant: tenant.to_owned(),
            file_name: String::new(),
            version: None,
            size: None,
            files_count: Some(files_count),
            at: Timestamp::now(),
        };
        self.core.catalog.announce(event).await?;
        Ok(Some(Synced { files_count }))
    }

    /// Looks at every tenant of a collection. At boot, for what happened while nobody looked.
    pub async fn reconcile_all(&self, collection: &Collection) -> Result<(), Fault> {
        let storage = self.places.storage_of(collection)?;
        for tenant in self.tenants(collection).await? {
            if let Some(folder) = tenant_folder(collection, &tenant) {
                self.reconcile_tenant(collection, storage, &tenant, &folder).await?;
            }
        }
        Ok(())
    }

    /// Tenants by name: those that have files, and folders without any.
    pub async fn tenants(&self, collection: &Collection) -> Result<Vec<String>, Fault> {
        let storage = self.places.storage_of(collection)?;
        let mut tenants: BTreeSet<String> = self.core.catalog.tenants(&collection.name).await?.into_iter().collect();
        if let Some(root) = collection.path.adopts() {
            let mut folders = storage.list_folders(root).await?;
            while let Some(folder) = folders.try_next().await? {
                if name::tenant(&folder).is_ok() {
                    tenants.insert(folder);
                }
            }
        }
        Ok(tenants.into_iter().collect())
    }

    /// Whether a tenant has a folder, if only an empty one.
    pub(super) async fn has_folder(&self, collection: &Collection, tenant: &str) -> Result<bool, Fault> {
        let storage = self.places.storage_of(collection)?;
        match tenant_folder(collection, tenant) {
            Some(folder) => Ok(storage.folder_mark(&folder).await?.is_some()),
            None => Ok(false),
        }
    }

    async fn reconcile_tenant(
        &self,
        collection: &Collection,
        storage: &Arc<dyn Storage>,
        tenant: &str,
        folder: &str,
    ) -> Result<(), Fault> {
        let known = self.known_identities(collection, tenant).await?;
        let mut entries = storage.list_files(folder).await?;
        while let Some(found) = entries.try_next().await? {
            let file_name = found.path.rsplit('/').next().unwrap_or(&found.path).to_owned();
            if !is_adopted(collection, &file_name) || known.get(&file_name) == Some(&found.identity) {
                continue;
            }
            if let Err(fault) = self.take_up(collection, tenant, &file_name).await {
                tracing::warn!(path = found.path, %fault, "a file in the storage was not taken up");
            }
        }
        self.note_missing(collection, storage, tenant).await
    }

    /// The identities of what is recorded or known to be unfit, by file name.
    async fn known_identities(
        &self,
        collection: &Collection,
        tenant: &str,
    ) -> Result<HashMap<String, Identity>, Fault> {
        let mut known = HashMap::new();
        for file in self.core.catalog.unserved(&collection.name, tenant).await? {
            known.insert(file.file_name, file.identity);
        }
        let mut after = None;
        while known.len() < KNOWN_AT_ONCE {
            let page = self.core.catalog.files(&collection.name, tenant, after.as_deref(), 1_000).await?;
            known.extend(page.rows.into_iter().map(|record| (record.file_name, record.identity)));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(known)
    }

    /// Records as deleted what is recorded and not there any more.
    async fn note_missing(
        &self,
        collection: &Collection,
        storage: &Arc<dyn Storage>,
        tenant: &str,
    ) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let page = self.core.catalog.files(&collection.name, tenant, after.as_deref(), 1_000).await?;
            for record in page.rows {
                if storage.stat(&record.path).await?.is_none() {
                    self.take_up(collection, tenant, &record.file_name).await?;
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        for file in self.core.catalog.unserved(&collection.name, tenant).await? {
            if storage.stat(&file.path).await?.is_none() {
                self.core.catalog.forget_unserved(&file.storage, &file.path).await?;
            }
        }
        Ok(())
    }

    /// Makes the record of one name say what is in the storage. `true`: there is a file that is served.
    pub(super) async fn take_up(&self, collection: &Collection, tenant: &str, file_name: &str) -> Result<bool, Fault> {
        let storage = self.places.storage_of(collection)?;
        if collection.path.adopts().is_none() {
            return Ok(false);
        }
        let path = collection.path.render(PathValues { tenant, file_name, session_id: "" });
        for _ in 0..TRIES {
            let opened = match is_adopted(collection, file_name) {
                true => storage.open(&path, None).await?,
                false => None,
            };
            let settled = match opened {
                None => self.settle_missing(storage, &path).await?,
                Some(opened) => self.settle_found(collection, storage, tenant, file_name, &path, opened).await?,
            };
            if let Settled::Yes = settled {
                break;
            }
        }
        Ok(self.core.catalog.file(storage.name(), &path).await?.is_some())
    }

    async fn settle_missing(&self, storage: &Arc<dyn Storage>, path: &str) -> Result<Settled, Fault> {
        let catalog = &self.core.catalog;
        let _gate = self.core.gates.write(storage.name(), path).await;
        if storage.stat(path).await?.is_some() {
            return Ok(Settled::ChangedAgain);
        }
        if let Some(record) = catalog.file(storage.name(), path).await? {
            catalog.unpublish(None, &record, event_of(&record, EventKind::FileDeleted)).await?;
        }
        catalog.forget_unserved(storage.name(), path).await?;
        Ok(Settled::Yes)
    }

    async fn settle_found(
        &self,
        collection: &Collection,
        storage: &Arc<dyn Storage>,
        tenant: &str,
        file_name: &str,
        path: &str,
        opened: Opened,
    ) -> Result<Settled, Fault> {
        let catalog = &self.core.catalog;
        let former = catalog.file(storage.name(), path).await?;
        if former.as_ref().is_some_and(|record| record.identity == opened.identity) {
            return Ok(Settled::Yes);
        }
        let (identity, size) = (opened.identity.clone(), opened.identity.size());
        let candidate = Candidate {
            collection: collection.name.to_string(),
            tenant: tenant.to_owned(),
            file_name: file_name.to_owned(),
            size,
            content_type: None,
            content: opened.content.clone(),
        };
        let verdict = self.judge(collection, &candidate).await;
        let digests = match &verdict {
            Verdict::Accept => content::digest(opened.content, size, collection.sha256).await,
            Verdict::Reject(_) => Ok((0, None)),
        };
        // A read that fails or comes short is a file that is being written: the next try sees what became of it.
        let Ok((crc, sha256)) = digests else { return Ok(Settled::ChangedAgain) };

        let _gate = self.core.gates.write(storage.name(), path).await;
        let now_there = storage.stat(path).await?;
        if now_there.as_ref().map(|found| &found.identity) != Some(&identity)
            || catalog.file(storage.name(), path).await? != former
        {
            return Ok(Settled::ChangedAgain);
        }
        let modified = now_there.map_or(opened.modified, |Found { modified, .. }| modified);
        let record = FileRecord {
            collection: collection.name.to_string(),
            tenant: tenant.to_owned(),
            file_name: file_name.to_owned(),
            storage: storage.name().to_owned(),
            path: path.to_owned(),
            version: Uuid::now_v7().simple().to_string(),
            size,
            crc,
            sha256,
            modified,
            identity,
        };
        match verdict {
            Verdict::Accept => self.record_found(collection, record, former).await,
            Verdict::Reject(issues) => self.shun(record, former, &issues).await.map(|()| Settled::Yes),
        }
    }

    /// The collection's limit and hooks.
    async fn judge(&self, collection: &Collection, candidate: &Candidate) -> Verdict {
        if candidate.size > collection.max_file_size {
            return Verdict::Reject(vec![Issue {
                path: String::new(),
                code: "too-large".to_owned(),
                message: format!("the file has {} bytes; {} are allowed", candidate.size, collection.max_file_size),
            }]);
        }
        self.places.hooks.validate(&collection.validate, candidate).await
    }

    async fn record_found(
        &self,
        collection: &Collection,
        record: FileRecord,
        former: Option<FileRecord>,
    ) -> Result<Settled, Fault> {
        let catalog = &self.core.catalog;
        // Touched or copied over itself: nobody needs to hear of it.
        if let Some(former) = &former
            && (former.size, former.crc, former.sha256) == (record.size, record.crc, record.sha256)
        {
            catalog.refresh_identity(former, &record.identity).await?;
            return Ok(Settled::Yes);
        }
        let event = event_of(&record, EventKind::FileUploaded);
        let replaces = former.map(|former| former.version);
        let follow_ups = collection.follow_ups(&record.file_name);
        match catalog.adopt(record, replaces.as_ref(), event, follow_ups).await? {
            CatalogAnswer::Done => Ok(Settled::Yes),
            CatalogAnswer::Refused => Ok(Settled::ChangedAgain),
        }
    }

    async fn shun(&self, record: FileRecord, former: Option<FileRecord>, issues: &[Issue]) -> Result<(), Fault> {
        let reason = in_words(issues);
        tracing::warn!(path = record.path, reason, "a file in the storage is not served: it did not pass validation");
        let file = Unserved {
            collection: record.collection,
            tenant: record.tenant,
            file_name: record.file_name,
            storage: record.storage,
            path: record.path,
            identity: record.identity,
            reason,
        };
        let former = former.map(|former| {
            let event = event_of(&former, EventKind::FileDeleted);
            (former, event)
        });
        self.core.catalog.shun(file, former).await
    }
}

/// Whether a file of this name is one of the collection's, wherever it came from. Others are left alone, and nothing is said
/// of them.
fn is_adopted(collection: &Collection, file_name: &str) -> bool {
    name::file_name(file_name).is_ok() && collection.takes(file_name)
}

/// The folder that holds a tenant's files, where the path template puts them into one.
fn tenant_folder(collection: &Collection, tenant: &str) -> Option<String> {
    match collection.path.adopts()? {
        "" => Some(tenant.to_owned()),
        root => Some(format!("{root}/{tenant}")),
    }
}

/// Whether the folder changed so lately that a further change may not show in its mark.
fn is_racy(mark: &FolderMark) -> bool {
    let now = Timestamp::now().as_nanosecond();
    now - i128::from(mark.mtime.max(mark.ctime)) < COARSE_TICK.as_nanos() as i128
}
