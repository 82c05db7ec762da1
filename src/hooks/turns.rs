//! The turns of plugins that have a bound on how many calls are under way (`Plugin::at_once`). Each use has as many of its own, so that no
//! collection and no stage takes another's; who waits for a turn has not begun, and its deadline neither.
//!
//! For the stages where somebody waits for the answer. Follow-ups that there is no room for are not even claimed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_plugin_sdk::Stage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call::Failure;

/// A use: the plugin, of which collection, at which stage.
type Use = (Arc<str>, String, Stage);

#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Use, Arc<Semaphore>>>);

impl Turns {
    /// One of the `at_once` turns of a use, for which is waited no longer than `patience`.
    pub(super) async fn take(
        &self,
        (plugin, collection, stage): (&Arc<str>, &str, Stage),
        at_once: usize,
        patience: Duration,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        let turns = {
            let mut uses = self.0.lock();
            let turns = uses.entry((plugin.clone(), collection.to_owned(), stage));
            turns.or_insert_with(|| Arc::new(Semaphore::new(at_once))).clone()
        };
        match tokio::time::timeout(patience, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Failure::Busy { at_once, patience }),
        }
    }
}
