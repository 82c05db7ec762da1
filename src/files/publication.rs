//! Publication and delete: the order of DESIGN §5 in which a storage and the catalog change together, and what is done at
//! boot about those that a crash interrupted.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedRwLockWriteGuard;
use uuid::Uuid;

use super::port::{
    CatalogAnswer, FileRecord, Identity, Intent, IntentAction, Placed, Publication, Staged, Storage, UploadId,
};
use super::{Files, Places};
use crate::collection::{Collection, Verify};
use crate::crash;
use crate::events::{EventKind, NewEvent};
use crate::fault::{Fault, FaultKind};

/// A staged file that passed validation, and where it is to go.
pub struct NewFile<'a> {
    pub collection: &'a Collection,
    pub storage: Arc<dyn Storage>,
    pub tenant: &'a str,
    pub file_name: &'a str,
    pub path: &'a str,
    pub staged: Staged,
    /// The upload that owes it; `None` for a file that came whole in one request.
    pub upload: Option<UploadId>,
    /// Whatever is at the path already stays, and nothing is published.
    pub exclusive: bool,
}

/// What came of a publication.
#[derive(Debug)]
pub enum Published {
    Stored(Box<FileRecord>),
    /// The path was to be free and is not.
    Occupied,
    /// The upload is not `received` any more; the storage is as it was.
    Refused,
}

impl Files {
    /// Publishes a staged file. Must not be cancelled half-way: callers run it in a task of its own.
    pub async fn publish(&self, new: NewFile<'_>) -> Result<Published, Fault> {
        let catalog = &self.core.catalog;
        let storage = new.storage.clone();
        let version = Uuid::now_v7().simple().to_string();
        let prepared = storage.prepare(&new.staged, new.path, &version, self.core.durable).await?;
        crash::point("publish.prepared");
        let mut record = FileRecord {
            collection: new.collection.name.to_string(),
            tenant: new.tenant.to_owned(),
            file_name: new.file_name.to_owned(),
            storage: storage.name().to_owned(),
            path: new.path.to_owned(),
            version,
            size: new.staged.size,
            crc: new.staged.crc,
            sha256: new.staged.sha256,
            modified: Timestamp::now(),
            identity: NOT_PLACED,
        };
        let intent = Intent {
            id: 0,
            action: IntentAction::Publish,
            record: record.clone(),
            mark: prepared.mark.clone(),
            upload: new.upload,
        };
        let intent = match catalog.declare(intent.clone()).await {
            Ok(id) => Intent { id, ..intent },
            Err(fault) => {
                storage.abandon(prepared).await;
                return Err(fault);
            }
        };
        crash::point("publish.declared");

        let gate = self.core.gates.write(storage.name(), new.path).await;
        let placed = match storage.place(prepared, new.exclusive).await {
            Ok(placed) => placed,
            Err(fault) if fault.kind == FaultKind::Mismatch && new.exclusive => {
                self.withdraw(intent.id).await;
                return Ok(Published::Occupied);
            }
            Err(fault) => return self.after_lost_answer(new.collection, &*storage, intent, fault).await,
        };
        crash::point("publish.placed");
        record.identity = placed.identity.clone();
        let publication = Publication {
            intent: intent.id,
            event: event_of(&record, EventKind::FileUploaded),
            record,
            upload: new.upload,
            follow_ups: new.collection.follow_ups(new.file_name),
        };
        let answer = match self.verify_placed(new.collection, &*storage, &publication.record).await {
            Ok(()) => catalog.publish(publication.clone()).await,
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(CatalogAnswer::Done) => {
                crash::point("publish.committed");
                drop(gate);
                storage.settle(placed).await;
                crash::point("publish.settled");
                Ok(Published::Stored(Box::new(publication.record)))
            }
            Ok(CatalogAnswer::Refused) => {
                self.take_back(storage, placed, publication, gate, false).await;
                Ok(Published::Refused)
            }
            Err(fault) => {
                self.take_back(storage, placed, publication, gate, fault.is_retryable()).await;
                Err(fault)
            }
        }
    }

    /// A placement that failed may have been done all the same: a store's answer can be lost on its way. Where the file is at its path
    /// the publication goes on; where that cannot be told the intent stays, and the next start tells.
    async fn after_lost_answer(
        &self,
        collection: &Collection,
        storage: &dyn Storage,
        intent: Intent,
        fault: Fault,
    ) -> Result<Published, Fault> {
        match storage.find_placed(&intent).await {
            Ok(None) => {
                self.withdraw(intent.id).await;
                Err(fault)
            }
            Ok(Some(found)) => {
                let record = FileRecord { identity: found.identity, ..intent.record };
                let event = event_of(&record, EventKind::FileUploaded);
                let follow_ups = collection.follow_ups(&record.file_name);
                let publication = Publication { intent: intent.id, record, event, upload: intent.upload, follow_ups };
                match self.core.catalog.publish(publication.clone()).await? {
                    CatalogAnswer::Done => Ok(Published::Stored(Box::new(publication.record))),
                    CatalogAnswer::Refused => {
                        storage
                            .remove(&publication.record.path, &publication.record.identity, self.core.durable)
                            .await?;
                        self.withdraw(intent.id).await;
                        Ok(Published::Refused)
                    }
                }
            }
            Err(unknown) => {
                tracing::error!(path = intent.record.path, %unknown, "whether a file was placed is not known; the next start finds out");
                Err(fault)
            }
        }
    }

    /// `verify = "read-back"`: what the storage gives is what was staged.
    async fn verify_placed(
        &self,
        collection: &Collection,
        storage: &dyn Storage,
        record: &FileRecord,
    ) -> Result<(), Fault> {
        if collection.verify == Verify::Off {
            return Ok(());
        }
        let mismatch = || Fault::new(FaultKind::Mismatch, format!("read `{}` back as it was written", record.path));
        let opened = storage.open(&record.path, Some(&record.identity)).await?.ok_or_else(mismatch)?;
        let (crc, _) = super::content::digest(opened.content, record.size, false).await?;
        if crc == record.crc { Ok(()) } else { Err(mismatch()) }
    }

    /// After a commit that failed: what was displaced comes back before the gate is let go. Where the storage cannot do that, the
    /// file is there for good, so the commit is tried again, with the gate held, until it succeeds or the process ends (the intent is
    /// then gone forward with at boot).
    async fn take_back(
        &self,
        storage: Arc<dyn Storage>,
        placed: Placed,
        publication: Publication,
        gate: OwnedRwLockWriteGuard<()>,
        try_again: bool,
    ) {
        let path = publication.record.path.clone();
        match storage.undo(placed).await {
            Ok(true) => self.withdraw(publication.intent).await,
            Ok(false) if try_again => {
                let catalog = self.core.catalog.clone();
                tokio::spawn(async move {
                    let mut wait = Duration::from_millis(200);
                    while let Err(fault) = catalog.publish(publication.clone()).await {
                        tracing::warn!(path, %fault, "a placed file is not recorded yet; trying again");
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(Duration::from_secs(30));
                    }
                    drop(gate);
                });
            }
            Ok(false) => {
                let identity = publication.record.identity.clone();
                if let Err(fault) = storage.remove(&path, &identity, self.core.durable).await {
                    tracing::error!(path, %fault, "a file that must not be published was not removed");
                }
                self.withdraw(publication.intent).await;
            }
            Err(fault) => tracing::error!(path, %fault, "a placement was not taken back; the next start does it"),
        }
    }

    /// Takes back an intent whose storage is as before. While the catalog cannot, it is tried again: at boot such an
    /// intent is harmless, for its file is not at its path.
    async fn withdraw(&self, intent: i64) {
        let catalog = self.core.catalog.clone();
        if catalog.withdraw(intent).await.is_ok() {
            return;
        }
        tokio::spawn(async move {
            let mut wait = Duration::from_millis(200);
            while let Err(fault) = catalog.withdraw(intent).await {
                tracing::warn!(intent, %fault, "an intent was not taken back yet; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(30));
            }
        });
    }

    /// Deletes a published file: this version, or whatever is recorded if `version` is `None`. `false`: there is none. The row of
    /// the upload that it came from goes in the same transaction, so that no crash leaves an upload that is stored without its file.
    pub async fn delete(
        &self,
        storage: &Arc<dyn Storage>,
        path: &str,
        version: Option<&str>,
        upload: Option<UploadId>,
    ) -> Result<bool, Fault> {
        let catalog = &self.core.catalog;
        let gate = self.core.gates.write(storage.name(), path).await;
        let Some(record) = catalog.file(storage.name(), path).await? else { return Ok(false) };
        if version.is_some_and(|version| version != record.version) {
            return Ok(false);
        }
        let intent = Intent {
            id: 0,
            action: IntentAction::Delete,
            mark: super::port::Mark::Version,
            upload,
            record: record.clone(),
        };
        let intent = catalog.declare(intent).await?;
        crash::point("delete.declared");
        if let Err(fault) = storage.remove(path, &record.identity, self.core.durable).await {
            self.withdraw(intent).await;
            return Err(fault);
        }
        crash::point("delete.removed");
        let event = event_of(&record, EventKind::FileDeleted);
        let answer = self.unpublish_for_good(intent, &record, event).await;
        drop(gate);
        crash::point("delete.committed");
        answer
    }

    /// The file is gone, so its record must go: a catalog without room is tried a few times before the caller hears of it.
    /// (The intent stays then, and the next start finishes the delete.)
    async fn unpublish_for_good(&self, intent: i64, record: &FileRecord, event: NewEvent) -> Result<bool, Fault> {
        let mut tries = 0;
        loop {
            match self.core.catalog.unpublish(Some(intent), record, event.clone()).await {
                Ok(answer) => return Ok(answer == CatalogAnswer::Done),
                Err(fault) if fault.is_retryable() && tries < 5 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Goes forward from what a crash interrupted. Asked once at boot, before anything else touches a storage.
    pub async fn recover(&self, places: &Places) -> Result<(), Fault> {
        for intent in self.core.catalog.intents().await? {
            let Some(storage) = places.storage(&intent.record.storage) else {
                tracing::warn!(
                    storage = intent.record.storage,
                    path = intent.record.path,
                    "a publication was interrupted on a storage that is not configured any more; it is left as it is"
                );
                continue;
            };
            match intent.action {
                IntentAction::Publish => self.recover_publication(places, &**storage, intent).await?,
                IntentAction::Delete => {
                    storage.remove(&intent.record.path, &intent.record.identity, self.core.durable).await?;
                    let event = event_of(&intent.record, EventKind::FileDeleted);
                    let answer = self.core.catalog.unpublish(Some(intent.id), &intent.record, event).await?;
                    if answer == CatalogAnswer::Refused {
                        self.core.catalog.withdraw(intent.id).await?;
                    }
                }
            }
        }
        for storage in places.storages.values() {
            storage.sweep().await?;
        }
        Ok(())
    }

    async fn recover_publication(&self, places: &Places, storage: &dyn Storage, intent: Intent) -> Result<(), Fault> {
        let catalog = &self.core.catalog;
        let Some(found) = storage.find_placed(&intent).await? else { return catalog.withdraw(intent.id).await };
        // An inode's number is used again. If what is there is recorded, it is another file than the intent's.
        let recorded = catalog.file(&intent.record.storage, &intent.record.path).await?;
        if recorded.is_some_and(|record| record.identity == found.identity) {
            return catalog.withdraw(intent.id).await;
        }
        let record = FileRecord { identity: found.identity.clone(), ..intent.record };
        let event = event_of(&record, EventKind::FileUploaded);
        let collection = places.collection(&record.collection);
        let follow_ups = collection.map_or_else(Vec::new, |collection| collection.follow_ups(&record.file_name));
        let publication = Publication { intent: intent.id, record, event, upload: intent.upload, follow_ups };
        let path = publication.record.path.clone();
        match catalog.publish(publication).await? {
            CatalogAnswer::Done => tracing::info!(path, "went on with a publication that was interrupted"),
            CatalogAnswer::Refused => {
                storage.remove(&path, &found.identity, self.core.durable).await?;
                catalog.withdraw(intent.id).await?;
            }
        }
        Ok(())
    }
}

/// The identity of a file that is not at its path yet.
const NOT_PLACED: Identity = Identity::Local { device: 0, inode: 0, size: 0, mtime: 0, ctime: 0 };

/// The event that tells of a record's change, now.
pub(super) fn event_of(record: &FileRecord, kind: EventKind) -> NewEvent {
    NewEvent {
        kind,
        collection: record.collection.clone(),
        tenant: record.tenant.clone(),
        file_name: record.file_name.clone(),
        version: Some(record.version.clone()),
        size: Some(record.size),
        files_count: None,
        at: Timestamp::now(),
    }
}
