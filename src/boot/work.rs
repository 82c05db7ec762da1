//! What runs beside requests: owed work as jobs, expiry, the first look at storages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::files::port::UploadId;
use crate::follow_ups::port::FollowUpId;
use crate::follow_ups::{Attempted, FollowUps};
use crate::gateway::GatewayHandle;
use crate::jobs::{Backoff, Handler, Job, Kind, Outcome};
use crate::upload::WorkOutcome;
use crate::upload::port::ASSEMBLE;

/// Uploads are looked through for expired ones this often, or more often when they expire soon.
const EXPIRY_EVERY: Duration = Duration::from_secs(60);
/// Follow-ups that were done are looked through for old ones this often.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// So many runs of one hook are under way at the same time, if its plugin has no smaller bound: they wait for their counterparts more than
/// they work.
const FOLLOW_UPS_AT_ONCE: usize = 16;

/// Carries uploads from `received` to their end, with the hooks that are configured when the work is claimed.
struct Assemble(GatewayHandle);

#[async_trait]
impl Handler for Assemble {
    async fn run(&self, job: &Job) -> Outcome {
        match self.0.current().uploads.carry_out(UploadId(job.subject)).await {
            WorkOutcome::Done => Outcome::Done,
            WorkOutcome::Retry(reason) => Outcome::Retry { reason, after: None },
            WorkOutcome::GiveUp(reason) => Outcome::GiveUp { reason },
        }
    }

    async fn gave_up(&self, job: &Job, reason: &str) -> Result<(), Fault> {
        self.0.current().uploads.give_up(UploadId(job.subject), reason.to_owned()).await
    }
}

/// The work that uploads owe.
pub(super) fn assembly(gateway: GatewayHandle) -> Kind {
    let at_once = std::thread::available_parallelism().map_or(4, |cores| cores.get() * 2);
    let handler = Arc::new(Assemble(gateway));
    Kind { name: ASSEMBLE.into(), handler, at_once, backoff: Backoff::default(), is_paced: false }
}

/// Carries follow-ups out, with the hooks that are configured when they are claimed.
struct FollowUp(GatewayHandle);

#[async_trait]
impl Handler for FollowUp {
    async fn run(&self, job: &Job) -> Outcome {
        let gateway = self.0.current();
        match gateway.follow_ups.carry_out(FollowUpId(job.subject), job.attempt).await {
            Attempted::Done => Outcome::Done,
            Attempted::Retry { reason, after } => Outcome::Retry { reason, after },
            Attempted::GiveUp { reason } => Outcome::GiveUp { reason },
        }
    }

    async fn gave_up(&self, job: &Job, reason: &str) -> Result<(), Fault> {
        self.0.current().follow_ups.give_up(FollowUpId(job.subject), reason).await
    }
}

/// The work that publications owe: a kind for each hook that is configured, so that none waits for another.
pub(super) fn follow_ups(configured: &FollowUps, gateway: &GatewayHandle) -> Vec<Kind> {
    let handler: Arc<dyn Handler> = Arc::new(FollowUp(gateway.clone()));
    let hooks = configured.configured().into_iter();
    let kind = |(name, hook): (crate::follow_ups::port::HookName, crate::collection::HookUse<_>)| Kind {
        name: name.to_string().into(),
        handler: handler.clone(),
        // What a plugin has no room for is not claimed: waiting in it would use up the attempt.
        at_once: configured.at_once(&name).map_or(FOLLOW_UPS_AT_ONCE, |bound| bound.min(FOLLOW_UPS_AT_ONCE)),
        backoff: Backoff::new(hook.retry),
        is_paced: true,
    };
    hooks.map(kind).collect()
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

/// Takes follow-ups that were done off the list when they are older than `keep`, and looks for what is owed to hooks that are gone
/// (a publication of before a reload may owe it), until `stop`. A reload changes `keep`, and has it done at once.
pub(super) async fn tidy_follow_ups(
    gateway: GatewayHandle,
    keep: Arc<Mutex<Duration>>,
    reloaded: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        let keep_now = *keep.lock();
        let tidied = async {
            let last = gateway.current().follow_ups.last().await?;
            let follow_ups = gateway.current().follow_ups.clone();
            follow_ups.bury_orphans(last).await?;
            match Timestamp::now().checked_sub(keep_now) {
                Ok(before) => follow_ups.prune_done(before).await,
                Err(_) => Ok(0),
            }
        };
        if let Err(fault) = tidied.await {
            tracing::warn!(%fault, "follow-ups could not be looked through");
        }
        tokio::select! {
            () = tokio::time::sleep(TIDY_EVERY.min(keep_now).max(Duration::from_secs(1))) => {}
            () = reloaded.notified() => {}
            () = stop.cancelled() => return,
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
