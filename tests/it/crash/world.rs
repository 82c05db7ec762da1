//! All clients and one data folder: what the gateway says after a start, and what lies in the folder, against what was told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate::upload::port::{Catalog, UploadState};

use super::appends::{self, Appends};
use super::documents::{self, Document};
use super::gateway::{Gateway, catalog_left, data_path, log_path};
use super::log::Log;
use super::random::Random;
use super::receiver::Receiver;
use super::uploads::{SHAPES, Shape, Upload};

/// More than there are kills of one follow-up.
const RETRY: &str = r#"["20ms", "20ms", "50ms", "50ms", "100ms", "100ms", "200ms", "200ms"]"#;

pub struct World {
    folder: TempDir,
    pub random: Random,
    pub appends: Appends,
    pub uploads: Vec<Upload>,
    pub documents: Vec<Document>,
    log: Log,
    sessions: u64,
    receiver: Receiver,
}

impl World {
    pub async fn new(seed: u64) -> Self {
        Self {
            receiver: Receiver::start().await,
            folder: tempfile::tempdir().unwrap(),
            random: Random::new(seed),
            appends: Appends::default(),
            uploads: Vec::new(),
            documents: Vec::new(),
            log: Log::default(),
            sessions: 0,
        }
    }

    pub fn start(&self, crash_at: Option<&str>) -> Gateway {
        let mut settings: Vec<String> = ["policy", "erp"].iter().flat_map(|name| self.receiver.plugin(name)).collect();
        for collection in ["societes", "largefiles"] {
            settings.push(format!("collection.{collection}.admit=[\"policy\"]"));
            settings.push(format!("collection.{collection}.post_assembly=[{{ plugin = \"erp\", retry = {RETRY} }}]"));
        }
        Gateway::start_with(self.folder.path(), crash_at, &settings)
    }

    /// An upload that nothing was sent of; each has another shape than the one before.
    pub fn new_upload(&mut self) -> Upload {
        self.sessions += 1;
        let shape: Shape = SHAPES[self.sessions as usize % SHAPES.len()];
        Upload::new(format!("s-{}", self.sessions), shape, &mut self.random)
    }

    pub fn acknowledged(&self) -> u64 {
        let uploads: u64 = self.uploads.iter().map(|upload| upload.acknowledged).sum();
        let documents: u64 = self.documents.iter().map(|document| document.acknowledged).sum();
        self.appends.acknowledged() + uploads + documents
    }

    pub fn events(&self) -> usize {
        self.log.len()
    }

    /// Compares all that was told with a gateway that was started again. With `to_the_end`, what is unfinished is finished, the
    /// log is read from its beginning, and every publication has been followed up.
    pub async fn check(&mut self, gateway: &Gateway, to_the_end: bool) {
        let appended = self.appends.check(gateway).await;
        for document in &mut self.documents {
            document.check(gateway).await;
        }
        documents::check_listings(gateway, &self.documents).await;
        for upload in &mut self.uploads {
            upload.check(gateway).await;
            if to_the_end && upload.is_receiving() {
                upload.finish(gateway).await.unwrap();
            }
        }
        self.check_completed(gateway).await;
        self.log.read(gateway, to_the_end).await;
        self.check_events(appended.len() as u64);
        self.check_folder(&appended).await;
        if to_the_end {
            self.check_follow_ups().await;
        }
    }

    /// Each publication is told of, at least once.
    async fn check_follow_ups(&self) {
        let begun = Instant::now();
        for version in self.log.published() {
            while self.receiver.runs("erp", version) == 0 {
                assert!(begun.elapsed() < Duration::from_secs(30), "the version {version} was never followed up");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn check_completed(&self, gateway: &Gateway) {
        let listed = gateway.read_json("/fileupload/list_completed_uploads/").await;
        let listed: BTreeSet<(String, u64)> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|upload| (upload["file_name"].as_str().unwrap().to_owned(), upload["file_size"].as_u64().unwrap()))
            .collect();
        let stored = self.uploads.iter().filter_map(|upload| Some((upload.name(), upload.content()?.len() as u64)));
        assert_eq!(listed, stored.collect(), "the list of completed uploads is not what was told");
    }

    fn check_events(&self, appended: u64) {
        let mut documents = self.log.by_file("societes");
        for document in &self.documents {
            let key = (document.societe.clone(), document.name.clone());
            let events = documents.remove(&key).unwrap_or_default();
            assert_eq!(events, document.events, "the events of {} are not its changes", document.path());
        }
        assert!(documents.is_empty(), "events of files that nobody sent: {documents:?}");

        let mut uploads = self.log.by_file("largefiles");
        for upload in &self.uploads {
            let events = uploads.remove(&(String::new(), upload.name())).unwrap_or_default();
            assert!(upload.allows(&events), "{} in {:?} has the events {events:?}", upload.name(), upload.stage);
        }
        assert!(uploads.is_empty(), "events of files that nobody sent: {uploads:?}");

        let chunks = self.log.by_file("chunks");
        let kinds: Vec<&str> = chunks.into_values().flatten().collect();
        let count = |kind: &str| kinds.iter().filter(|other| **other == kind).count() as u64;
        assert_eq!((count("file_appended"), count("file_cleared")), self.appends.events(), "appends, clears");
        let size = self.log.last_of("chunks").map_or(0, |event| event.size.unwrap_or_default());
        assert_eq!(size, appended, "the last event of the append-only file says another length");
    }

    /// No file that nobody was told of, none missing, and nothing left behind.
    async fn check_folder(&self, appended: &[u8]) {
        let data = data_path(self.folder.path());
        let mut wanted: BTreeMap<PathBuf, &[u8]> = BTreeMap::new();
        wanted.extend(self.documents.iter().filter_map(|it| Some((data.join(it.path()), it.content.as_deref()?))));
        wanted.extend(self.uploads.iter().filter_map(|it| Some((data.join(it.path()), it.content()?))));
        if !appended.is_empty() {
            wanted.insert(data.join(appends::FILE), appended);
        }
        // What is left of an upload is removed after it was said to be completed.
        let receiving = self.uploads.iter().filter(|upload| upload.is_receiving()).count();
        let begun = Instant::now();
        let (mut files, mut staged) = look_through(&data);
        while staged.len() > receiving && begun.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            (files, staged) = look_through(&data);
        }
        assert!(staged.len() <= receiving, "in staging, with {receiving} uploads that are receiving: {staged:?}");
        let there: BTreeSet<&PathBuf> = files.iter().collect();
        assert_eq!(there, wanted.keys().collect(), "the folder has other files than were told of");
        for (path, content) in wanted {
            assert!(std::fs::read(&path).unwrap() == content, "{} has another content", path.display());
        }
    }

    /// The states of the uploads that a gateway that is dead left.
    pub async fn states_left(&self) -> BTreeSet<&'static str> {
        let (catalog, _copy) = catalog_left(self.folder.path());
        let mut states = BTreeSet::new();
        for state in UploadState::ALL {
            if !catalog.uploads("largefiles", state, None, 1).await.unwrap().is_empty() {
                states.insert(state.as_str());
            }
        }
        states
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(log_path(self.folder.path())).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the gateway's last words:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

/// The files of the storages, hidden ones among them; and what is in staging: whole bodies, and uploads.
fn look_through(data: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut files = Vec::new();
    for storage in ["files", "large", "chunks"] {
        walk(&data.join(storage), &mut files);
    }
    let mut staged = entries(&data.join("staging/whole"));
    staged.extend(entries(&data.join("staging/uploads")));
    (files, staged)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).map_or(Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
}
