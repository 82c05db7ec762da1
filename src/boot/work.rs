//! What runs beside requests: owed work as jobs, expiry, the first look at storages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::files::port::UploadId;
use crate::gateway::GatewayHandle;
use crate::jobs::{Handler, Job, Outcome};
use crate::upload::WorkOutcome;

/// Uploads are looked through for expired ones this often, or more often when they expire soon.
const EXPIRY_EVERY: Duration = Duration::from_secs(60);

/// Carries uploads from `received` to their end, with the hooks that are configured when the work is claimed.
pub(super) struct Assemble(pub GatewayHandle);

#[async_trait]
impl Handler for Assemble {
    async fn run(&self, job: &Job) -> Outcome {
        match self.0.current().uploads.carry_out(UploadId(job.subject)).await {
            WorkOutcome::Done => Outcome::Done,
            WorkOutcome::Retry(reason) => Outcome::Retry { reason },
            WorkOutcome::GiveUp(reason) => Outcome::GiveUp { reason },
        }
    }

    async fn gave_up(&self, job: &Job, reason: &str) -> Result<(), Fault> {
        self.0.current().uploads.give_up(UploadId(job.subject), reason.to_owned()).await
    }
}

/// Ends uploads that got no byte for `after`, until `stop`. A reload changes `after`.
pub(super) async fn expire(gateway: GatewayHandle, after: Arc<Mutex<Duration>>, stop: CancellationToken) {
    loop {
        let after_now = *after.lock();
        let wait = EXPIRY_EVERY.min(after_now / 2).max(Duration::from_millis(100));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        let Ok(before) = Timestamp::now().checked_sub(after_now) else { continue };
        match gateway.current().uploads.expire(before).await {
            Ok(0) => {}
            Ok(expired) => tracing::info!(expired, "uploads that got no byte for too long were given up"),
            Err(fault) => tracing::warn!(%fault, "uploads could not be looked through for expired ones"),
        }
    }
}

/// Takes up what other programs did to the storages while nobody looked.
pub(super) async fn first_look(gateway: GatewayHandle) {
    let gateway = gateway.current();
    for collection in gateway.files.places().collections.values() {
        if collection.path.adopts().is_some()
            && let Err(fault) = gateway.files.reconcile_all(collection).await
        {
            tracing::warn!(collection = %collection.name, %fault, "a storage could not be looked through");
        }
    }
}
