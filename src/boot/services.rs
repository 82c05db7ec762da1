//! The services: opened once a process, and the part of them that each configuration has anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::work;
use crate::catalog::config::Durability;
use crate::catalog::{FollowUpQueue, Opened, Sqlite};
use crate::collection::Collection;
use crate::config::Config;
use crate::events::{EventLog, Events};
use crate::files::port::Storage;
use crate::files::{Files, Places};
use crate::follow_ups::FollowUps;
use crate::gateway::{Dialects, Gateway, GatewayHandle};
use crate::hooks::Hooks;
use crate::http::api::Serving;
use crate::http::api::config::Dialect;
use crate::http::app::App;
use crate::http::health::Readiness;
use crate::jobs::Runner;
use crate::staging::LocalStaging;
use crate::storage;
use crate::upload::Uploads;

/// What is opened before anything is served.
pub(super) struct Services {
    catalog: Arc<Sqlite>,
    opened: Opened,
    staging: Arc<LocalStaging>,
    places: Arc<Places>,
    boot_id: String,
    durable: bool,
}

/// The running services. Cheap to clone.
#[derive(Clone)]
pub(super) struct Started {
    pub gateway: GatewayHandle,
    pub events: Arc<Events>,
    pub expire_after: Arc<Mutex<Duration>>,
    pub keep_done: Arc<Mutex<Duration>>,
    reloaded: Arc<Notify>,
    serving: Serving,
    runner: Arc<Runner>,
    /// Apart from the uploads' own work: ten thousand owed hooks do not stand before an assembly.
    follow_up_runner: Arc<Runner>,
    readiness: Arc<Ready>,
}

impl Services {
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        let durable = config.catalog.durability == Durability::Disk;
        let boot_id = machine_boot_id();
        let (catalog, opened) = Sqlite::open(&config.catalog.path, config.catalog.durability, &boot_id)?;
        let staging = LocalStaging::open(&config.staging.path, durable)?;
        let places = Arc::new(build_places(config, None)?);
        Ok(Self { catalog: Arc::new(catalog), opened, staging: Arc::new(staging), places, boot_id, durable })
    }

    /// Goes forward from what a crash left, then starts what runs beside requests.
    pub(super) async fn start(self, config: &Config, stop: &CancellationToken) -> Result<Started, StartError> {
        let files = Files::new(self.catalog.clone(), self.places.clone(), self.durable);
        files.recover(&self.places).await?;
        let memory = config.staging.unplaced_memory.get();
        let uploads = Uploads::new(self.catalog.clone(), self.staging, files.clone(), memory, self.boot_id);
        uploads.recover().await?;
        let dialects = dialects_of(config, &self.places);
        if let Some(collection) = &dialects.chunk_writer {
            files.recover_append(collection).await?;
        }
        if self.opened.tail_may_be_lost {
            tracing::warn!(
                "the machine was restarted: parts are verified when they are next touched, storages are looked through"
            );
        }
        let log: Arc<dyn EventLog> = self.catalog.clone();
        let events = Events::start(log.clone(), *config.events.keep);
        let follow_ups = FollowUps::new(self.catalog.clone(), files.clone());
        let gateway = Gateway { uploads, files, follow_ups: follow_ups.clone(), events: events.clone(), dialects };
        let gateway = GatewayHandle::new(gateway);
        let runner = Runner::start(self.catalog.clone(), vec![work::assembly(gateway.clone())]);
        let queue = Arc::new(FollowUpQueue(self.catalog));
        let follow_up_runner = Runner::start(queue, work::follow_ups(&follow_ups, &gateway));
        let keep_done = Arc::new(Mutex::new(*config.hooks.keep_done));
        let reloaded = Arc::<Notify>::default();
        let tidying = work::tidy_follow_ups(gateway.clone(), keep_done.clone(), reloaded.clone(), stop.clone());
        tokio::spawn(tidying);
        let expire_after = Arc::new(Mutex::new(*config.staging.expire_after));
        tokio::spawn(work::expire(gateway.clone(), expire_after.clone(), stop.clone()));
        tokio::spawn(work::first_look(gateway.clone()));
        Ok(Started {
            serving: Serving::new(gateway.clone(), stop.clone()),
            gateway,
            events,
            expire_after,
            keep_done,
            reloaded,
            runner: Arc::new(runner),
            follow_up_runner: Arc::new(follow_up_runner),
            readiness: Arc::new(Ready { log, stop: stop.clone() }),
        })
    }
}

impl Started {
    /// What answers requests under a configuration.
    pub(super) fn app(&self, config: &Config) -> Result<App, StartError> {
        App::assemble(&self.serving, self.readiness.clone(), &config.server, config.auth.anonymous)
            .map_err(|error| StartError::Build(error.to_string()))
    }

    /// Runs the follow-ups of the configuration in force.
    pub(super) fn run_follow_ups(&self) {
        let follow_ups = self.gateway.current().follow_ups.clone();
        self.follow_up_runner.set_kinds(work::follow_ups(&follow_ups, &self.gateway));
        self.reloaded.notify_one();
    }

    /// Lets owed work that runs end.
    pub(super) async fn stop(&self, limit: Duration) {
        let (uploads, follow_ups) = tokio::join!(self.runner.stop(limit), self.follow_up_runner.stop(limit));
        let left = uploads + follow_ups;
        if left > 0 {
            tracing::info!(left, "work is left; it goes on at the next start");
        }
    }
}

/// The snapshot of a configuration beside another one.
pub(super) fn gateway_of(config: &Config, now: &Gateway) -> Result<Gateway, StartError> {
    let places = Arc::new(build_places(config, Some(now.files.places()))?);
    let files = now.files.with_places(places.clone());
    Ok(Gateway {
        uploads: now.uploads.with_files(files.clone()),
        follow_ups: now.follow_ups.with_files(files.clone()),
        files,
        events: now.events.clone(),
        dialects: dialects_of(config, &places),
    })
}

/// Storages that are configured as before are taken over: what is in a `memory` one would be lost.
fn build_places(config: &Config, before: Option<&Places>) -> Result<Places, StartError> {
    let mut storages: HashMap<String, Arc<dyn Storage>> = HashMap::new();
    let mut storage_configs = HashMap::new();
    for (name, section) in &config.storages {
        let fingerprint = format!("{section:?}");
        let kept = before.and_then(|before| {
            (before.fingerprints.get(&**name) == Some(&fingerprint)).then(|| before.storage(name).cloned()).flatten()
        });
        let storage = match kept {
            Some(storage) => storage,
            None => storage::build(name, section)?,
        };
        storages.insert(name.to_string(), storage);
        storage_configs.insert(name.to_string(), fingerprint);
    }
    let collections = config.collections.values().map(|collection| &**collection);
    let hooks = Hooks::build(collections, &config.plugins, &config.folder)
        .map_err(|errors| StartError::Build(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let collections: HashMap<String, Arc<Collection>> =
        config.collections.iter().map(|(name, collection)| (name.to_string(), collection.clone())).collect();
    Ok(Places { collections, storages, fingerprints: storage_configs, hooks: Arc::new(hooks) })
}

fn dialects_of(config: &Config, places: &Places) -> Dialects {
    let collection = |dialect| config.apis.collection(dialect).and_then(|name| places.collection(name)).cloned();
    Dialects {
        chunk_writer: collection(Dialect::ChunkWriter),
        fileupload: collection(Dialect::FileUpload),
        relay: collection(Dialect::Relay),
        admin: config.apis.admin(config.auth.anonymous),
    }
}

/// What tells one start of the machine from another. Where the system does not say, every start of the gateway counts as one: parts
/// are verified once too often, never once too seldom.
fn machine_boot_id() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        Err(_) => uuid::Uuid::now_v7().to_string(),
    }
}

/// Ready: the catalog answers, and nobody has asked to stop.
struct Ready {
    log: Arc<dyn EventLog>,
    stop: CancellationToken,
}

#[async_trait]
impl Readiness for Ready {
    async fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.stop.is_cancelled() {
            problems.push("the gateway is stopping".to_owned());
        }
        if let Err(fault) = self.log.bounds().await {
            problems.push(fault.to_string());
        }
        problems
    }
}
