//! An upload in parts as its client sees it as a whole: completing it, asking after it, listing, deleting.

use jiff::Timestamp;

use super::Uploads;
use super::error::UploadError;
use super::port::{Announced, ChangeAnswer, End, Issue, UploadId, UploadKey, UploadRow, UploadState};
use crate::auth::Principal;
use crate::collection::Collection;
use crate::crash;
use crate::fault::Fault;
use crate::name;
use crate::to_the_end::to_the_end;

/// The name of a file whose client never named it.
const UNNAMED: &str = "upload";
/// Uploads that one round of expiry ends at most.
const EXPIRED_AT_ONCE: usize = 1_000;

/// Where an upload is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub state: UploadState,
    /// Why it was rejected, failed or expired.
    pub reason: Option<String>,
    /// What the checks found, if it was rejected.
    pub issues: Vec<Issue>,
}

impl Uploads {
    /// Seals an upload whose parts are all there, and owes its assembly. Once more: nothing happens.
    pub async fn complete(
        &self,
        principal: &Principal,
        collection: &Collection,
        session: &str,
        announced: &Announced,
    ) -> Result<(), UploadError> {
        let key = self.key(principal, collection, session)?;
        let row = self.core.catalog.upload(&key).await?.ok_or(UploadError::Unknown)?;
        match row.state {
            UploadState::Receiving => {}
            UploadState::Received | UploadState::Stored => return Ok(()),
            state => return Err(ended(state, row.reason.as_deref())),
        }
        let (uploads, collection, announced) = (self.clone(), collection.clone(), announced.clone());
        to_the_end("seal an upload", async move { uploads.seal(row, &collection, announced).await }).await
    }

    async fn seal(&self, row: UploadRow, collection: &Collection, mut announced: Announced) -> Result<(), UploadError> {
        let id = row.id;
        let Some(active) = self.activate(&row.key, id).await? else { return self.sealed_by_another(id).await };
        if active.state.lock().ledger.announced().file_name.is_none() {
            announced.file_name.get_or_insert_with(|| UNNAMED.to_owned());
        }
        self.announce(collection, &active, &announced).await?;
        // Who completes at the same time waits here, and not for the assembly: that holds the other lock.
        let _seal = active.seal.lock().await;
        let sealed_before = {
            let mut state = active.state.lock();
            if !state.sealing {
                state.ledger.check_complete()?;
            }
            std::mem::replace(&mut state.sealing, true)
        };
        if sealed_before {
            return self.sealed_by_another(id).await;
        }
        let _work = active.work.lock().await;
        active.commits_ended().await;
        // A part may have been replaced by one of another length while the last commits ended.
        let answer = match active.state.lock().ledger.check_complete() {
            Ok(()) => None,
            Err(incomplete) => Some(UploadError::from(incomplete)),
        };
        let sealed = match answer {
            Some(error) => Err(error),
            None => {
                crash::point("seal.writes-ended");
                self.core.catalog.seal(id, Timestamp::now()).await.map_err(UploadError::from)
            }
        };
        match sealed {
            Ok(ChangeAnswer::Done) => {
                crash::point("seal.committed");
                Ok(())
            }
            Ok(_) => Err(UploadError::Unknown),
            Err(error) => {
                // Unless a delete waits, which wants no more parts either.
                active.state.lock().sealing = *active.cancelled.borrow();
                Err(error)
            }
        }
    }

    /// What to say of an upload that somebody else has sealed, or deletes.
    async fn sealed_by_another(&self, id: UploadId) -> Result<(), UploadError> {
        match self.core.catalog.upload_by_id(id).await? {
            Some(row) if matches!(row.state, UploadState::Received | UploadState::Stored) => Ok(()),
            // Still open, and yet it takes nothing more: a delete is under way, and wins.
            None | Some(UploadRow { state: UploadState::Receiving, .. }) => Err(UploadError::Unknown),
            Some(row) => Err(ended(row.state, row.reason.as_deref())),
        }
    }

    pub async fn status(
        &self,
        principal: &Principal,
        collection: &Collection,
        session: &str,
    ) -> Result<Status, UploadError> {
        let key = self.key(principal, collection, session)?;
        let row = self.core.catalog.upload(&key).await?.ok_or(UploadError::Unknown)?;
        Ok(Status { state: row.state, reason: row.reason, issues: row.issues })
    }

    /// Stored uploads of a collection, oldest first, after `after`, at most `limit`.
    pub async fn stored(
        &self,
        collection: &Collection,
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadRow>, UploadError> {
        Ok(self.core.catalog.uploads(&collection.name, UploadState::Stored, after, limit).await?)
    }

    /// Ends an upload and removes all that there is of it: parts, owed work, the published file, the record. A validation is
    /// cancelled, a publication waited out.
    pub async fn delete(
        &self,
        principal: &Principal,
        collection: &Collection,
        session: &str,
    ) -> Result<(), UploadError> {
        let key = self.key(principal, collection, session)?;
        self.core.requests.deleted(&key);
        let uploads = self.clone();
        to_the_end("delete an upload", async move { uploads.delete_key(key).await }).await
    }

    async fn delete_key(&self, key: UploadKey) -> Result<(), UploadError> {
        let slot = self.core.slots.of(&key);
        let mut slot = slot.lock().await;
        let active = slot.clone();
        let _work = match &active {
            Some(active) => {
                active.state.lock().sealing = true;
                active.cancelled.send_replace(true);
                let work = active.work.lock().await;
                active.commits_ended().await;
                active.spool.clone().seal().await;
                Some(work)
            }
            None => None,
        };
        let row = self.core.catalog.upload(&key).await?.ok_or(UploadError::Unknown)?;
        if row.state == UploadState::Stored
            && let (Some(path), Some(version)) = (&row.path, &row.version)
            && let Some(storage) = self.files.places().storage(&row.storage)
        {
            self.files.delete(storage, path, Some(version), Some(row.id)).await?;
        }
        self.core.catalog.forget_upload(row.id).await?;
        *slot = None;
        self.remove_staged(row.id).await;
        Ok(())
    }

    /// Ends uploads that had no byte since `before`; gives how many.
    pub async fn expire(&self, before: Timestamp) -> Result<usize, Fault> {
        self.core.slots.tidy_idle();
        let mut expired = 0;
        for row in self.core.catalog.idle_uploads(before, EXPIRED_AT_ONCE).await? {
            let slot = self.core.slots.of(&row.key);
            // Somebody is about it (a hook may be asked for a while): the next round looks again.
            let Ok(mut slot) = slot.try_lock() else { continue };
            // An intake that holds it is receiving, if slowly.
            if slot.as_ref().is_some_and(|active| std::sync::Arc::strong_count(active) > 1) {
                continue;
            }
            let end = End::new(UploadState::Expired, "no byte came for too long");
            if self.core.catalog.end_upload(row.id, UploadState::Receiving, end).await? == ChangeAnswer::Done {
                *slot = None;
                self.remove_staged(row.id).await;
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// Removes what an ended upload has in staging. What cannot be removed now is swept at the next start.
    pub(super) async fn remove_staged(&self, id: UploadId) {
        if let Err(fault) = self.core.staging.remove_upload(id).await {
            tracing::warn!(upload = id.0, %fault, "an ended upload is still in staging");
        }
    }

    fn key(&self, principal: &Principal, collection: &Collection, session: &str) -> Result<UploadKey, UploadError> {
        Ok(UploadKey {
            collection: collection.name.to_string(),
            principal: principal.as_str().to_owned(),
            session: name::session_id(session)?,
        })
    }
}

fn ended(state: UploadState, reason: Option<&str>) -> UploadError {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    UploadError::Conflict(format!("the upload is {}{reason}", state.as_str()))
}
