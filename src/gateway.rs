//! The snapshot of services that a request takes once. A reload builds another beside it and swaps; requests that took the old one
//! keep it to their end.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::collection::Collection;
use crate::events::Events;
use crate::files::Files;
use crate::follow_ups::FollowUps;
use crate::upload::Uploads;

/// The services under one configuration.
pub struct Gateway {
    pub uploads: Uploads,
    pub files: Files,
    pub follow_ups: FollowUps,
    pub events: Arc<Events>,
    pub dialects: Dialects,
}

/// Which collection each dialect serves; `None`: the dialect is switched off.
#[derive(Debug, Clone, Default)]
pub struct Dialects {
    pub chunk_writer: Option<Arc<Collection>>,
    pub fileupload: Option<Arc<Collection>>,
    pub relay: Option<Arc<Collection>>,
    /// Whether operators are served over HTTP.
    pub admin: bool,
}

/// Where the current snapshot is had.
#[derive(Clone)]
pub struct GatewayHandle(Arc<ArcSwap<Gateway>>);

impl GatewayHandle {
    pub fn new(gateway: Gateway) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(gateway)))
    }

    /// The snapshot for one request.
    pub fn current(&self) -> Arc<Gateway> {
        self.0.load_full()
    }

    /// What every request from now on gets; gives what they got before.
    pub fn swap(&self, gateway: Gateway) -> Arc<Gateway> {
        self.0.swap(Arc::new(gateway))
    }

    /// Takes a swap back.
    pub fn put_back(&self, gateway: Arc<Gateway>) {
        self.0.store(gateway);
    }
}
