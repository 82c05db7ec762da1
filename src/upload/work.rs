//! What is owed to an upload that is complete: assemble, digest, validate, publish. It runs as a job, so it goes on after a crash;
//! every step can be begun anew.

use std::sync::Arc;

use super::Uploads;
use super::active::Active;
use super::assembly;
use super::error::UploadError;
use super::port::{Candidate, ChangeAnswer, End, UploadId, UploadRow, UploadState, Verdict};
use crate::collection::Collection;
use crate::crash;
use crate::fault::Fault;
use crate::files::port::{Issue, Staged, Storage, in_words};
use crate::files::{FileContent, NewFile, Published};

/// Issues of a rejected upload that are kept with its row take at most so many bytes: the row is read at each question after it.
const ISSUES_KEPT: usize = 64 * 1024;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkOutcome {
    /// The upload has its end, and the owed work is gone with it.
    Done,
    /// Another attempt can succeed.
    Retry(String),
    /// None can; [`Uploads::give_up`] ends it.
    GiveUp(String),
}

impl Uploads {
    /// Carries a `received` upload to its end.
    pub async fn carry_out(&self, id: UploadId) -> WorkOutcome {
        match self.try_carry_out(id).await {
            Ok(()) => WorkOutcome::Done,
            Err(UploadError::Fault(fault)) => WorkOutcome::Retry(fault.to_string()),
            Err(error) => WorkOutcome::GiveUp(error.to_string()),
        }
    }

    /// Ends an upload whose work cannot succeed as `failed`.
    pub async fn give_up(&self, id: UploadId, reason: String) -> Result<(), Fault> {
        self.end(id, End::new(UploadState::Failed, reason)).await
    }

    async fn try_carry_out(&self, id: UploadId) -> Result<(), UploadError> {
        let Some(row) = self.core.catalog.upload_by_id(id).await? else { return Ok(()) };
        if row.state != UploadState::Received {
            return Ok(());
        }
        let key = row.key.clone();
        let Some(active) = self.activate(&key, id).await? else { return Ok(()) };
        let ended = {
            let _work = active.work.lock().await;
            // A delete or another attempt may have had the lock before.
            match self.core.catalog.upload_by_id(id).await? {
                Some(row) if row.state == UploadState::Received && !*active.cancelled.borrow() => {
                    self.carry_out_locked(&row, &active).await
                }
                _ => Ok(()),
            }
        };
        drop(active);
        ended?;
        let slot = self.core.slots.of(&key);
        let mut held = slot.lock().await;
        if held.as_ref().is_some_and(|active| active.id == id) {
            *held = None;
        }
        drop(held);
        drop(slot);
        self.core.slots.tidy(&key);
        Ok(())
    }

    async fn carry_out_locked(&self, row: &UploadRow, active: &Arc<Active>) -> Result<(), UploadError> {
        let places = self.files.places();
        let Some(collection) = places.collection(&row.key.collection) else {
            let reason = format!("the collection `{}` is not configured any more", row.key.collection);
            return Ok(self.end(row.id, End::new(UploadState::Failed, reason)).await?);
        };
        let Some(storage) = places.storage(&row.storage) else {
            let reason = format!("the storage `{}` is not configured any more", row.storage);
            return Ok(self.end(row.id, End::new(UploadState::Failed, reason)).await?);
        };
        let complete = active.state.lock().ledger.check_complete();
        if let Err(incomplete) = complete {
            let reason = format!("the machine lost power before the parts were on disk: {incomplete}");
            return Ok(self.end(row.id, End::new(UploadState::Failed, reason)).await?);
        }
        crash::point("assemble.begun");
        active.spool.clone().seal().await;
        let staged = self.assemble(row, active).await?;
        crash::point("assemble.done");
        crash::point("validate.begun");
        let mut cancelled = active.cancelled.subscribe();
        let verdict = tokio::select! {
            verdict = self.validate_staged(collection, row, &staged) => verdict,
            _ = cancelled.wait_for(|cancelled| *cancelled) => return Ok(()),
        };
        crash::point("validate.done");
        match verdict {
            Verdict::Reject(issues) => {
                let reason = in_words(&issues);
                self.end(row.id, End { state: UploadState::Rejected, reason, issues: kept(issues) }).await?;
                self.remove_staged(row.id).await;
                Ok(())
            }
            Verdict::Accept => self.publish_staged(collection, storage, row, staged).await,
        }
    }

    async fn assemble(&self, row: &UploadRow, active: &Active) -> Result<Staged, UploadError> {
        let receipts = self.core.catalog.receipts(row.id).await?;
        let assembled = assembly::assemble(&*self.core.staging, row.id, &active.spool, &receipts).await?;
        let file = assembled.file;
        let sha256 = match &active.front {
            Some(front) => Some(front.finish(file.file(), assembled.size, !assembled.is_spool).await?),
            None => None,
        };
        Ok(Staged { path: file.path(), file: file.file(), size: assembled.size, crc: assembled.crc, sha256 })
    }

    async fn validate_staged(&self, collection: &Collection, row: &UploadRow, staged: &Staged) -> Verdict {
        let candidate = Candidate {
            collection: collection.name.to_string(),
            tenant: String::new(),
            file_name: row.admitted_as.clone().or_else(|| row.announced.file_name.clone()).unwrap_or_default(),
            size: staged.size,
            // The dialect of chunks has no word for it.
            content_type: None,
            content: Arc::new(FileContent::new(staged.file.clone())),
        };
        self.files.places().hooks.validate(&collection.validate, &candidate).await
    }

    async fn publish_staged(
        &self,
        collection: &Collection,
        storage: &Arc<dyn Storage>,
        row: &UploadRow,
        staged: Staged,
    ) -> Result<(), UploadError> {
        let Some(path) = &row.path else {
            return Ok(self.end(row.id, End::new(UploadState::Failed, "the upload has no file name")).await?);
        };
        let published = self
            .files
            .publish(NewFile {
                collection,
                storage: storage.clone(),
                tenant: "",
                file_name: path.rsplit('/').next().unwrap_or(path),
                path,
                staged,
                upload: Some(row.id),
                exclusive: true,
            })
            .await?;
        match published {
            Published::Stored(_) => self.remove_staged(row.id).await,
            Published::Occupied => {
                let reason = format!("there is a file at `{path}` already that is not this upload's");
                self.end(row.id, End::new(UploadState::Failed, reason)).await?;
            }
            Published::Refused => {}
        }
        Ok(())
    }

    async fn end(&self, id: UploadId, end: End) -> Result<(), Fault> {
        let (state, reason) = (end.state.as_str(), end.reason.as_str());
        tracing::warn!(upload = id.0, state, reason, "an upload ended without being stored");
        match self.core.catalog.end_upload(id, UploadState::Received, end).await? {
            ChangeAnswer::Done => Ok(()),
            // Deleted meanwhile: there is nothing left to say.
            _ => Ok(()),
        }
    }
}

/// As many of the first issues as are kept, and one that says so if that is not all.
fn kept(mut issues: Vec<Issue>) -> Vec<Issue> {
    let mut bytes = 0;
    let fits = issues.iter().take_while(|issue| {
        bytes += issue.path.len() + issue.code.len() + issue.message.len();
        bytes <= ISSUES_KEPT
    });
    let (fitting, all) = (fits.count(), issues.len());
    if fitting < all {
        issues.truncate(fitting);
        let message = format!("{} more are not told", all - fitting);
        issues.push(Issue { path: String::new(), code: "more".to_owned(), message });
    }
    issues
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_issues_are_kept_as_there_is_room_for() {
        let issue = |length: usize| Issue { path: String::new(), code: String::new(), message: "x".repeat(length) };
        assert_eq!(kept(vec![issue(10); 100]).len(), 100);
        let cut = kept(vec![issue(1024); 100]);
        assert_eq!((cut.len(), cut[64].message.as_str()), (65, "36 more are not told"));
        assert_eq!(kept(vec![issue(1 << 20)])[0].message, "1 more are not told");
    }
}
