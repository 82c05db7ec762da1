//! Every service but `fs`, by OpenDAL. A file is written to the store while it is prepared and appears when it is
//! placed: by the completion of a multipart upload, by one request, or by a rename in the store. How that is
//! done is in `publish`, reading in `content`.
//!
//! A store cannot give back what was replaced, so [`Storage::undo`] answers `false`; and whether a call that
//! failed did its work is only known by looking ([`Storage::find_placed`]).

mod content;
mod publish;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use opendal::options::{ListOptions, StatOptions};
use opendal::{Entry, EntryMode, ErrorKind, Lister, Metadata, Operator};
use tokio::sync::Semaphore;

use crate::fault::{Fault, FaultKind};
use crate::files::port::{
    AppendFile, Capabilities, FolderMark, Found, Identity, Intent, Mark, Opened, Placed, Prepared, Staged, Storage,
    Version,
};

/// The folder for what is on its way in, in stores that rename. Never listed, swept at boot.
const HIDDEN_FOLDER: &str = ".tidegate/";

pub struct ObjectStorage {
    name: String,
    store: Arc<Store>,
}

/// What all parts of this storage share.
struct Store {
    operator: Operator,
    way: Way,
    label: Label,
    /// Memory for content on its way, in MiB.
    budget: Arc<Semaphore>,
}

/// How a file appears at its path at once and whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The store shows an object when it is complete.
    Complete,
    /// The store shows what is half written: it is written aside and renamed.
    Rename,
}

/// Where an object says which version it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    UserMetadata,
    /// OpenDAL's memory keeps neither times nor ETags nor user metadata. It keeps this text, which nobody reads
    /// there: version and time stand in it.
    CacheControl,
    /// Nowhere: what counts is size and CRC, read back.
    Nowhere,
}

impl ObjectStorage {
    pub fn new(name: &str, operator: Operator) -> Self {
        let can = operator.info().capability();
        let way = if shows_only_whole_objects(&operator) || !can.rename { Way::Complete } else { Way::Rename };
        let label = match way {
            Way::Complete if can.write_with_user_metadata => Label::UserMetadata,
            Way::Complete if is_memory(&operator) => Label::CacheControl,
            _ => Label::Nowhere,
        };
        let store = Store { way, label, budget: Arc::new(Semaphore::new(publish::BUDGET)), operator };
        Self { name: name.to_owned(), store: Arc::new(store) }
    }
}

/// Stores with multipart uploads, and memory, where an object is one assignment.
fn shows_only_whole_objects(operator: &Operator) -> bool {
    operator.info().capability().write_can_multi || is_memory(operator)
}

fn is_memory(operator: &Operator) -> bool {
    operator.info().scheme() == opendal::services::MEMORY_SCHEME
}

pub fn capabilities(operator: &Operator) -> Capabilities {
    let can = operator.info().capability();
    Capabilities {
        atomic_replace: can.write && (can.rename || shows_only_whole_objects(operator)),
        ranges: can.read,
        list: can.list,
        delete: can.delete,
        append: false,
        shared_folder: false,
    }
}

#[async_trait]
impl Storage for ObjectStorage {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.store.operator)
    }

    async fn prepare(&self, staged: &Staged, path: &str, version: &Version, _durable: bool) -> Result<Prepared, Fault> {
        publish::prepare(&self.store, staged, path, version).await
    }

    async fn abandon(&self, prepared: Prepared) {
        publish::abandon(prepared).await;
    }

    async fn place(&self, prepared: Prepared, expected_absent: bool) -> Result<Placed, Fault> {
        publish::place(&self.store, prepared, expected_absent).await
    }

    async fn undo(&self, _placed: Placed) -> Result<bool, Fault> {
        Ok(false)
    }

    async fn settle(&self, _placed: Placed) {}

    async fn find_placed(&self, intent: &Intent) -> Result<Option<Found>, Fault> {
        let Some(metadata) = self.store.stat(&intent.record.path, None).await? else { return Ok(None) };
        let is_ours = match intent.mark {
            Mark::Version => self.store.version_in(&metadata) == Some(&intent.record.version),
            Mark::Content => self.store.holds(&metadata, &intent.record).await?,
            Mark::Inode { .. } => false,
        };
        Ok(is_ours.then(|| self.store.found(&intent.record.path, &metadata)))
    }

    async fn sweep(&self) -> Result<(), Fault> {
        if self.store.way == Way::Complete {
            return Ok(());
        }
        let mut entries = self.list(HIDDEN_FOLDER).await?;
        while let Some(entry) = entries.next().await {
            let path = entry.map_err(|error| fault("sweep the storage", error))?.path().to_owned();
            if !path.ends_with('/') {
                self.store.delete(&path).await?;
            }
        }
        Ok(())
    }

    async fn stat(&self, path: &str) -> Result<Option<Found>, Fault> {
        let metadata = self.store.stat(path, None).await?;
        Ok(metadata.map(|metadata| self.store.found(path, &metadata)))
    }

    async fn open(&self, path: &str, expected: Option<&Identity>) -> Result<Option<Opened>, Fault> {
        content::open(&self.store, path, expected).await
    }

    async fn remove(&self, path: &str, expected: &Identity, _durable: bool) -> Result<bool, Fault> {
        match self.store.stat(path, None).await? {
            Some(metadata) if self.store.identity(&metadata) == *expected => {}
            _ => return Ok(false),
        }
        let can = self.store.operator.info().capability();
        let if_match = etag_of(expected).filter(|_| can.delete_with_if_match);
        let options = opendal::options::DeleteOptions { if_match: if_match.map(str::to_owned), ..Default::default() };
        match self.store.operator.delete_options(path, options).await {
            Ok(()) => Ok(true),
            Err(error) if means_other_version(&error) => Ok(false),
            // Not every store that speaks the protocol knows the condition. The look above has to do.
            Err(error) if error.kind() == ErrorKind::Unsupported => self.store.delete(path).await.map(|()| true),
            Err(error) => Err(fault(format!("remove {path:?}"), error)),
        }
    }

    async fn list_files(&self, folder: &str) -> Result<BoxStream<'static, Result<Found, Fault>>, Fault> {
        let entries = self.list(&as_folder(folder)).await?;
        let store = self.store.clone();
        let files = entries.filter_map(move |entry| {
            let store = store.clone();
            async move { store.listed_file(entry).await.transpose() }
        });
        Ok(files.boxed())
    }

    async fn list_folders(&self, folder: &str) -> Result<BoxStream<'static, Result<String, Fault>>, Fault> {
        let folder = as_folder(folder);
        let entries = self.list(&folder).await?;
        let folders = entries.filter_map(move |entry| {
            let name = entry.map_err(|error| fault("list folders", error)).map(|entry| {
                let name = entry.name().trim_end_matches('/').to_owned();
                let is_folder =
                    entry.path().ends_with('/') && entry.path().trim_matches('/') != folder.trim_matches('/');
                (is_folder && !is_hidden(&name)).then_some(name)
            });
            async move { name.transpose() }
        });
        Ok(folders.boxed())
    }

    async fn folder_mark(&self, _folder: &str) -> Result<Option<FolderMark>, Fault> {
        Ok(None)
    }

    async fn append(
        &self,
        path: &str,
        _expected: Option<(u64, u64)>,
        _length: u64,
        _durable: bool,
    ) -> Result<Arc<dyn AppendFile>, Fault> {
        let service = self.store.operator.info().scheme();
        Err(Fault::new(FaultKind::Broken, format!("append to {path:?}: the service {service:?} cannot")))
    }
}

type Entries = BoxStream<'static, opendal::Result<Entry>>;

impl ObjectStorage {
    async fn list(&self, folder: &str) -> Result<Entries, Fault> {
        let options = ListOptions { recursive: false, ..Default::default() };
        match self.store.operator.lister_options(folder, options).await {
            Ok(lister) => Ok(until_not_found(lister)),
            Err(error) if is_missing(&error) => Ok(stream::empty().boxed()),
            Err(error) => Err(fault(format!("list the folder {folder:?}"), error)),
        }
    }
}

/// A folder that is not there is an empty one.
fn until_not_found(lister: Lister) -> Entries {
    lister.take_while(|entry| std::future::ready(!entry.as_ref().is_err_and(is_missing))).boxed()
}

impl Store {
    async fn stat(&self, path: &str, if_match: Option<&str>) -> Result<Option<Metadata>, Fault> {
        let if_match = if_match.filter(|_| self.operator.info().capability().stat_with_if_match);
        let options = StatOptions { if_match: if_match.map(str::to_owned), ..Default::default() };
        match self.operator.stat_options(path, options).await {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
            Err(error) if is_missing(&error) || means_other_version(&error) => Ok(None),
            Err(error) => Err(fault(format!("look at {path:?}"), error)),
        }
    }

    async fn delete(&self, path: &str) -> Result<(), Fault> {
        self.operator.delete(path).await.map_err(|error| fault(format!("remove {path:?}"), error))
    }

    fn found(&self, path: &str, metadata: &Metadata) -> Found {
        Found { path: path.to_owned(), identity: self.identity(metadata), modified: self.modified(metadata) }
    }

    /// Stores give a time with milliseconds in a listing and without them elsewhere: only the seconds count.
    fn identity(&self, metadata: &Metadata) -> Identity {
        let etag = match self.label {
            Label::CacheControl => self.version_in(metadata),
            _ => metadata.etag(),
        };
        Identity::Object {
            size: metadata.content_length(),
            etag: etag.unwrap_or_default().to_owned(),
            modified: self.modified(metadata).as_second(),
        }
    }

    fn modified(&self, metadata: &Metadata) -> Timestamp {
        let labelled = || metadata.cache_control()?.split_once(' ')?.1.parse().ok();
        let modified = match self.label {
            Label::CacheControl => labelled(),
            _ => metadata.last_modified().map(Timestamp::from),
        };
        modified.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn version_in<'a>(&self, metadata: &'a Metadata) -> Option<&'a str> {
        match self.label {
            Label::UserMetadata => metadata.user_metadata()?.get(publish::VERSION_KEY),
            Label::CacheControl => Some(metadata.cache_control()?.split_once(' ')?.0),
            Label::Nowhere => None,
        }
    }

    async fn listed_file(&self, entry: opendal::Result<Entry>) -> Result<Option<Found>, Fault> {
        let entry = entry.map_err(|error| fault("list files", error))?;
        if entry.metadata().mode() == EntryMode::DIR || entry.path().ends_with('/') || is_hidden(entry.name()) {
            return Ok(None);
        }
        if entry.metadata().last_modified().is_some() {
            return Ok(Some(self.found(entry.path(), entry.metadata())));
        }
        // A store that lists names only.
        let metadata = self.stat(entry.path(), None).await?;
        Ok(metadata.map(|metadata| self.found(entry.path(), &metadata)))
    }
}

fn as_folder(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

fn etag_of(identity: &Identity) -> Option<&str> {
    match identity {
        Identity::Object { etag, .. } if !etag.is_empty() => Some(etag),
        _ => None,
    }
}

fn is_missing(error: &opendal::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

fn means_other_version(error: &opendal::Error) -> bool {
    error.kind() == ErrorKind::ConditionNotMatch
}

fn fault(operation: impl Into<String>, error: opendal::Error) -> Fault {
    let kind = match error.kind() {
        ErrorKind::RateLimited => FaultKind::Unavailable,
        ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists | ErrorKind::Conflict => FaultKind::Mismatch,
        // `Persistent`: still failing after the retries.
        _ if error.is_temporary() || error.is_persistent() => FaultKind::Unavailable,
        _ => FaultKind::Broken,
    };
    let mut fault = Fault::broken(operation, error);
    fault.kind = kind;
    fault
}
