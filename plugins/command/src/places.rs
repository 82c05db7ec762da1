//! How many runs are under way at the same time: so many of each use, so that one that is slow takes no other's place. The gateway asks for no
//! more; what is waited for here is the end of a run that its deadline has ended already.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_plugin_sdk::{ErrorKind, PluginError, Stage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A use: what a collection has at a stage.
type Use = (Stage, String);

pub struct Places {
    of_each: usize,
    uses: Mutex<HashMap<Use, Arc<Semaphore>>>,
}

impl Places {
    pub fn new(of_each: usize) -> Self {
        Self { of_each, uses: Mutex::default() }
    }

    /// A place among the runs of a use, for as long as anything is left of the run.
    pub async fn take(&self, stage: Stage, collection: &str) -> Result<OwnedSemaphorePermit, PluginError> {
        let places = {
            let mut uses = self.uses.lock();
            uses.entry((stage, collection.to_owned())).or_insert_with(|| Arc::new(Semaphore::new(self.of_each))).clone()
        };
        let closed = |error| PluginError::permanent(ErrorKind::Internal, "the instance is closed").caused_by(error);
        places.acquire_owned().await.map_err(closed)
    }

    /// Returns when nothing is left of any run.
    pub async fn all_free(&self) {
        let uses: Vec<Arc<Semaphore>> = self.uses.lock().values().cloned().collect();
        let all = u32::try_from(self.of_each).unwrap_or(u32::MAX);
        for places in uses {
            let _ = places.acquire_many(all).await;
        }
    }
}
