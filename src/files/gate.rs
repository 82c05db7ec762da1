//! The gates of paths: whoever changes what is at a path holds its gate alone, from touching the storage to the record's
//! commit; readers hold it shared, from reading the record to having the file open.
//!
//! One set for the whole process, outside any snapshot, so that a request with an old configuration and one with a
//! new one meet at the same gate.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Paths share gates by hash. Nobody holds two, so sharing can make one wait and never block for good.
const GATES: usize = 4096;

pub(super) struct Gates(Box<[Arc<RwLock<()>>]>);

impl Default for Gates {
    fn default() -> Self {
        Self((0..GATES).map(|_| Arc::default()).collect())
    }
}

impl Gates {
    fn of(&self, storage: &str, path: &str) -> Arc<RwLock<()>> {
        let mut hasher = DefaultHasher::new();
        (storage, path).hash(&mut hasher);
        self.0[hasher.finish() as usize % GATES].clone()
    }

    pub(super) async fn read(&self, storage: &str, path: &str) -> OwnedRwLockReadGuard<()> {
        self.of(storage, path).read_owned().await
    }

    pub(super) async fn write(&self, storage: &str, path: &str) -> OwnedRwLockWriteGuard<()> {
        self.of(storage, path).write_owned().await
    }
}
