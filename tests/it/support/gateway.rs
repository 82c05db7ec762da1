//! The gateway of a test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tidegate::auth::config::Anonymous;
use tidegate::catalog::config::Durability;
use tidegate::catalog::{OpenError, Sqlite};
use tidegate::collection::{
    Collection, HookUse, OnAdmitFailure, OnCheckFailure, OnFollowUpFailure, PathTemplate, Verify,
};
use tidegate::events::Events;
use tidegate::fault::Fault;
use tidegate::files::port::{
    Admission, Announcement, Candidate, FollowUpOutcome, HookChain, PublishedFile, Storage, UploadId, Verdict,
};
use tidegate::files::{Files, Places};
use tidegate::follow_ups::FollowUps;
use tidegate::gateway::{Dialects, Gateway, GatewayHandle};
use tidegate::http::api::Serving;
use tidegate::http::app::{App, Site};
use tidegate::http::config::ServerConfig;
use tidegate::http::health::Readiness;
use tidegate::http::{listen, server};
use tidegate::jobs::{Backoff, Handler, Job, Kind, Outcome, Runner};
use tidegate::staging::LocalStaging;
use tidegate::storage;
use tidegate::storage::config::StorageConfig;
use tidegate::upload::port::ASSEMBLE;
use tidegate::upload::{Uploads, WorkOutcome};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;

/// What a test wants otherwise.
#[derive(Debug, Clone)]
pub struct Options {
    pub max_file_size: u64,
    /// Bytes of memory for parts whose place is not known.
    pub unplaced_memory: u64,
    /// Whether there is a hook that is asked before the first byte.
    pub admits: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_file_size: 1 << 40, unplaced_memory: 16 << 20, admits: false }
    }
}

fn admission() -> HookUse<OnAdmitFailure> {
    HookUse {
        plugin: "policy".into(),
        files: None,
        timeout: PATIENCE,
        retry: Arc::default(),
        on_failure: OnAdmitFailure::Deny,
    }
}

pub struct TestGateway {
    pub address: SocketAddr,
    pub client: Client,
    pub work: Arc<Gate>,
    pub validation: Arc<HeldValidation>,
    pub handle: GatewayHandle,
    folder: TempDir,
    runner: Arc<Runner>,
    stop: CancellationToken,
    ended: JoinHandle<server::Drained>,
}

/// Lets pass, or holds. Says how many came to it.
pub struct Gate {
    open: watch::Sender<bool>,
    arrived: Semaphore,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { open: watch::Sender::new(true), arrived: Semaphore::new(0) })
    }

    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until somebody has come to the gate whom nobody waited for before.
    pub async fn arrival(&self) {
        tokio::time::timeout(PATIENCE, self.arrived.acquire()).await.expect("nobody came").unwrap().forget();
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// Admits and accepts every file, but when it is told otherwise.
pub struct HeldValidation {
    pub gate: Arc<Gate>,
    pub verdict: parking_lot::Mutex<Verdict>,
    /// What is said of the next files that are announced; each is admitted as it is when there is nothing more here.
    pub admissions: parking_lot::Mutex<Vec<Admission>>,
    pub announced: parking_lot::Mutex<Vec<Announcement>>,
    pub validated: parking_lot::Mutex<Vec<String>>,
}

#[async_trait]
impl HookChain for HeldValidation {
    async fn admit(&self, _uses: &[HookUse<OnAdmitFailure>], file: Announcement) -> Admission {
        self.announced.lock().push(file.clone());
        let as_it_is = Admission::Allow { file_name: file.file_name, content_type: file.content_type };
        self.admissions.lock().pop().unwrap_or(as_it_is)
    }

    async fn validate(&self, _uses: &[HookUse<OnCheckFailure>], file: &Candidate) -> Verdict {
        self.validated.lock().push(file.file_name.clone());
        self.gate.pass().await;
        self.verdict.lock().clone()
    }

    fn reads_content(&self, _plugin: &str) -> bool {
        false
    }

    fn at_once(&self, _plugin: &str) -> Option<usize> {
        None
    }

    async fn follow_up(&self, _hook: &HookUse<OnFollowUpFailure>, _file: PublishedFile) -> FollowUpOutcome {
        FollowUpOutcome::Done
    }
}

struct HeldWork {
    gate: Arc<Gate>,
    gateway: GatewayHandle,
}

#[async_trait]
impl Handler for HeldWork {
    async fn run(&self, job: &Job) -> Outcome {
        self.gate.pass().await;
        match self.gateway.current().uploads.carry_out(UploadId(job.subject)).await {
            WorkOutcome::Done => Outcome::Done,
            WorkOutcome::Retry(reason) => Outcome::Retry { reason, after: None },
            WorkOutcome::GiveUp(reason) => Outcome::GiveUp { reason },
        }
    }

    async fn gave_up(&self, job: &Job, reason: &str) -> Result<(), Fault> {
        self.gateway.current().uploads.give_up(UploadId(job.subject), reason.to_owned()).await
    }
}

struct AlwaysReady;

#[async_trait]
impl Readiness for AlwaysReady {
    async fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

impl TestGateway {
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options).await
    }

    /// On a folder that was there before.
    pub async fn start_in(folder: TempDir, options: Options) -> Self {
        let catalog = Arc::new(open_catalog(&folder).await);
        let staging = Arc::new(LocalStaging::open(&folder.path().join("staging"), false).unwrap());
        let validation = Arc::new(HeldValidation {
            gate: Gate::new(),
            verdict: Verdict::Accept.into(),
            admissions: Default::default(),
            announced: Default::default(),
            validated: Default::default(),
        });
        let (places, dialects) = places(&folder, &options, validation.clone());
        let files = Files::new(catalog.clone(), places.clone(), false);
        files.recover(&places).await.unwrap();
        let uploads = Uploads::new(catalog.clone(), staging, files.clone(), options.unplaced_memory, "boot".to_owned());
        uploads.recover().await.unwrap();
        files.recover_append(dialects.chunk_writer.as_ref().unwrap()).await.unwrap();
        let events = Events::start(catalog.clone(), PATIENCE);
        let follow_ups = FollowUps::new(catalog.clone(), files.clone());
        let handle = GatewayHandle::new(Gateway { uploads, files, follow_ups, events, dialects });
        let work = Gate::new();
        let assemble: Arc<dyn Handler> = Arc::new(HeldWork { gate: work.clone(), gateway: handle.clone() });
        let assemble =
            Kind { name: ASSEMBLE.into(), handler: assemble, at_once: 4, backoff: Backoff::default(), is_paced: false };
        let runner = Arc::new(Runner::start(catalog, vec![assemble]));
        let (address, stop, ended) = serve(&handle).await;
        let client = Client::builder().no_proxy().build().unwrap();
        Self { address, client, work, validation, handle, folder, runner, stop, ended }
    }

    /// Ends as if told to stop; gives what is left on disk.
    pub async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.ended.await.unwrap();
        self.runner.stop(PATIENCE).await;
        self.handle.current().events.close();
        drop((self.runner, self.handle, self.client));
        self.folder
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(self.url(path))
    }

    /// Where a path of the storage lies on disk.
    pub fn stored(&self, path: &str) -> PathBuf {
        self.folder.path().join("files").join(path)
    }

    /// Names of all that lies in staging, without folders that are empty.
    pub fn staged(&self) -> Vec<PathBuf> {
        files_below(self.folder.path().join("staging"))
    }

    /// Waits until staging is empty: what an upload had there goes just after it is seen to have ended.
    pub async fn nothing_is_staged(&self) {
        let began = std::time::Instant::now();
        while !self.staged().is_empty() {
            assert!(began.elapsed() < PATIENCE, "left in staging: {:?}", self.staged());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// Waits for the gateway that had it before, whose tasks end one after the other.
async fn open_catalog(folder: &TempDir) -> Sqlite {
    let began = std::time::Instant::now();
    loop {
        match Sqlite::open(&folder.path().join("catalog.db"), Durability::Process, "boot") {
            Ok((catalog, _)) => return catalog,
            Err(OpenError::HeldByAnother { .. }) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn files_below(folder: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| match entry.file_type().unwrap().is_dir() {
            true => files_below(entry.path()),
            false => vec![entry.path()],
        })
        .collect()
}

fn places(folder: &TempDir, options: &Options, validation: Arc<HeldValidation>) -> (Arc<Places>, Dialects) {
    let root = folder.path().join("files");
    std::fs::create_dir_all(&root).unwrap();
    let config = StorageConfig {
        service: "fs".to_owned(),
        options: [("root".to_owned(), root.to_str().unwrap().to_owned())].into(),
    };
    let storage: Arc<dyn Storage> = storage::build("files", &config).unwrap();
    let collection = |name: &str, path: &str, sha256: bool| {
        Arc::new(Collection {
            name: name.into(),
            storage: "files".into(),
            path: PathTemplate::parse(path).unwrap(),
            extension: None,
            max_file_size: options.max_file_size,
            sha256,
            verify: Verify::Off,
            admit: options.admits.then(admission).into_iter().collect(),
            validate: Vec::new(),
            post_assembly: Vec::new(),
        })
    };
    let chunks = collection("chunks", "uploads/received_chunks.txt", false);
    let largefiles = collection("largefiles", "largefiles/{stem}_{session_id}{ext}", true);
    let collections = [&chunks, &largefiles].map(|collection| (collection.name.to_string(), collection.clone()));
    let places = Places {
        collections: collections.into(),
        storages: HashMap::from([("files".to_owned(), storage)]),
        fingerprints: HashMap::new(),
        hooks: validation,
    };
    let dialects = Dialects { chunk_writer: Some(chunks), fileupload: Some(largefiles), relay: None, admin: true };
    (Arc::new(places), dialects)
}

async fn serve(handle: &GatewayHandle) -> (SocketAddr, CancellationToken, JoinHandle<server::Drained>) {
    let config = ServerConfig { listen: vec!["127.0.0.1:0".parse().unwrap()], ..ServerConfig::default() };
    let listeners = listen::bind(&config.listen).await.unwrap();
    let address = listeners.addresses()[0];
    let stop = CancellationToken::new();
    let serving = Serving::new(handle.clone(), stop.clone());
    let site = Site::new(App::assemble(&serving, Arc::new(AlwaysReady), &config, Anonymous::Everywhere).unwrap());
    let ended = tokio::spawn(server::serve(listeners, site, config.max_connections, stop.clone()));
    (address, stop, ended)
}

/// What a test asks of an answer.
#[async_trait]
pub trait Answered {
    /// Status and JSON of an answer.
    async fn answer(self) -> (u16, Value);
}

#[async_trait]
impl Answered for RequestBuilder {
    async fn answer(self) -> (u16, Value) {
        let response = self.send().await.unwrap();
        (response.status().as_u16(), json(response).await)
    }
}

async fn json(response: Response) -> Value {
    let bytes = response.bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {:?}", String::from_utf8_lossy(&bytes)))
}
