//! What is published: reading, listing, deleting, appending, and keeping the records true to storages that other
//! programs write to. How bytes come in is the matter of [`crate::upload`]; it calls [`Files::publish`] at the end.
//!
//! - [`port`]: what is needed of storages, catalog and hooks
//! - `publication`: intent, gate, placement, commit; and what boot does about interrupted ones
//! - `reconcile`: what other programs did to a storage
//! - `append`: the append-only file of a collection

mod append;
pub(crate) mod content;
mod gate;
mod local_content;
mod places;
pub mod port;
mod publication;
mod reconcile;

use std::sync::Arc;

use crate::collection::{Collection, PathValues};
use crate::fault::{Fault, FaultKind};
use crate::to_the_end::to_the_end;
use port::{Catalog, Content, FileRecord, Page, Storage, Totals};
use reconcile::Depth;

pub use append::{AppendReader, Appended, Utf8Check};
pub use content::MemoryContent;
pub use local_content::FileContent;
pub use places::Places;
pub use publication::{NewFile, Published};
pub use reconcile::Synced;

/// The domain service. Cheap to clone; a clone with other [`Places`] shares gates and everything that must be one per process.
#[derive(Clone)]
pub struct Files {
    core: Arc<Core>,
    places: Arc<Places>,
}

/// What outlives every reload.
struct Core {
    catalog: Arc<dyn Catalog>,
    gates: gate::Gates,
    looks: reconcile::Looks,
    appenders: append::Appenders,
    /// Whether publications are fsynced (`catalog.durability = "disk"`).
    durable: bool,
}

/// A published file, open: record and bytes are of one version, whatever happens to the path meanwhile.
pub struct Download {
    pub record: FileRecord,
    pub content: Arc<dyn Content>,
}

/// A version that was published, and where.
#[derive(Debug, Clone, Copy)]
pub struct StoredVersion<'a> {
    pub tenant: &'a str,
    pub file_name: &'a str,
    pub path: &'a str,
    pub version: &'a str,
}

impl Files {
    pub fn new(catalog: Arc<dyn Catalog>, places: Arc<Places>, durable: bool) -> Self {
        let core = Core {
            catalog,
            gates: gate::Gates::default(),
            looks: reconcile::Looks::default(),
            appenders: append::Appenders::default(),
            durable,
        };
        Self { core: Arc::new(core), places }
    }

    /// The same service with the collections, storages and hooks of another configuration.
    pub fn with_places(&self, places: Arc<Places>) -> Self {
        Self { core: self.core.clone(), places }
    }

    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.core.durable
    }

    /// Opens a published file. `None`: there is none.
    pub async fn open(
        &self,
        collection: &Collection,
        tenant: &str,
        file_name: &str,
    ) -> Result<Option<Download>, Fault> {
        let storage = self.places.storage_of(collection)?;
        let path = collection.path.render(PathValues { tenant, file_name, session_id: "" });
        self.refresh(collection, tenant, Depth::Folder).await?;
        // What another program changed is taken up and tried again; one that changes it all the time gets no fourth look.
        for _ in 0..3 {
            if let Some(download) = self.open_recorded(storage, &path).await? {
                return Ok(Some(download));
            }
            if !self.take_up(collection, tenant, file_name).await? {
                return Ok(None);
            }
        }
        // There is a file, if not one that stays for long enough: "none" would be wrong.
        Err(Fault::new(FaultKind::Unavailable, format!("open `{path}`: another program goes on changing it")))
    }

    /// The bytes of one version that was published. `None`: it is gone, or another one has its place. One that is recorded and yet cannot be
    /// opened (another program touched it) is a fault, never gone.
    pub async fn open_version(
        &self,
        collection: &Collection,
        storage: &Arc<dyn Storage>,
        file: StoredVersion<'_>,
    ) -> Result<Option<Arc<dyn Content>>, Fault> {
        for _ in 0..3 {
            if let Some(download) = self.open_recorded(storage, file.path).await? {
                return Ok(Some(download).filter(|it| it.record.version == file.version).map(|it| it.content));
            }
            match self.core.catalog.file(storage.name(), file.path).await? {
                Some(record) if record.version == file.version => {
                    self.take_up(collection, file.tenant, file.file_name).await?;
                }
                _ => return Ok(None),
            }
        }
        let path = file.path;
        Err(Fault::new(FaultKind::Unavailable, format!("open `{path}`: another program changed it, or changes it")))
    }

    /// The recorded version, if the storage still has it.
    pub(crate) async fn open_recorded(
        &self,
        storage: &Arc<dyn Storage>,
        path: &str,
    ) -> Result<Option<Download>, Fault> {
        let _gate = self.core.gates.read(storage.name(), path).await;
        let Some(record) = self.core.catalog.file(storage.name(), path).await? else { return Ok(None) };
        let opened = storage.open(path, Some(&record.identity)).await?;
        Ok(opened
            .filter(|opened| opened.identity == record.identity)
            .map(|opened| Download { record, content: opened.content }))
    }

    /// A page of a tenant's files by name. `None`: there is no such tenant.
    pub async fn list(
        &self,
        collection: &Collection,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<FileRecord>>, Fault> {
        if after.is_none() {
            self.refresh(collection, tenant, Depth::Files).await?;
        }
        let page = self.core.catalog.files(&collection.name, tenant, after, limit).await?;
        if page.rows.is_empty() && after.is_none() && !self.has_folder(collection, tenant).await? {
            return Ok(None);
        }
        Ok(Some(page))
    }

    /// Deletes the file that is recorded under a name. `false`: there is none.
    pub async fn delete_named(&self, collection: &Collection, tenant: &str, file_name: &str) -> Result<bool, Fault> {
        let storage = self.places.storage_of(collection)?.clone();
        let path = collection.path.render(PathValues { tenant, file_name, session_id: "" });
        self.refresh(collection, tenant, Depth::Folder).await?;
        let files = self.clone();
        to_the_end("delete a file", async move { files.delete(&storage, &path, None, None).await }).await
    }

    /// How many tenants and files a collection has, after a look at what other programs did.
    pub async fn totals(&self, collection: &Collection) -> Result<Totals, Fault> {
        let tenants = self.tenants(collection).await?;
        for tenant in &tenants {
            self.refresh(collection, tenant, Depth::Files).await?;
        }
        let totals = self.core.catalog.totals(&collection.name).await?;
        Ok(Totals { tenants: tenants.len() as u64, ..totals })
    }
}
