//! The collections, storages and hooks of one configuration: what a reload swaps.

use std::collections::HashMap;
use std::sync::Arc;

use crate::collection::Collection;
use crate::files::port::{HookChain, Storage};

pub struct Places {
    pub collections: HashMap<String, Arc<Collection>>,
    pub storages: HashMap<String, Arc<dyn Storage>>,
    /// What each storage was configured as, so that a reload takes over those that did not change.
    pub fingerprints: HashMap<String, String>,
    pub hooks: Arc<dyn HookChain>,
}

impl Places {
    pub fn collection(&self, name: &str) -> Option<&Arc<Collection>> {
        self.collections.get(name)
    }

    pub fn storage(&self, name: &str) -> Option<&Arc<dyn Storage>> {
        self.storages.get(name)
    }

    /// The storage of a collection. `config` has checked that it exists.
    pub fn storage_of(&self, collection: &Collection) -> Result<&Arc<dyn Storage>, crate::fault::Fault> {
        self.storage(&collection.storage).ok_or_else(|| {
            crate::fault::Fault::new(
                crate::fault::FaultKind::Broken,
                format!("find the storage `{}` of the collection `{}`", collection.storage, collection.name),
            )
        })
    }
}
