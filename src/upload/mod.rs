//! The way in: parts and whole files are received into staging, sealed, assembled, validated and handed to [`crate::files`] for publication.
//! Every dialect comes through here; none of them is known here.
//!
//! - `whole`: a file that comes whole in one request, and its client waits for the verdict
//! - `part`, `active`, `ledger`: an upload in numbered parts, while it is being received
//! - `session`: completing, asking after, listing and deleting such an upload
//! - `work`, `assembly`, `front`: what is owed to an upload that is complete
//! - `admission`: whether a file may be sent at all
//! - `append`: a body for the append-only file

mod active;
mod admission;
mod append;
mod assembly;
mod error;
mod front;
mod ledger;
mod part;
pub mod port;
mod requests;
mod session;
mod strays;
mod whole;
mod work;

use std::sync::Arc;

use crate::fault::Fault;
use crate::files::Files;
use port::{Catalog, Staging};

pub use append::{AppendIntake, AppendOutcome};
pub use error::UploadError;
pub use ledger::{Incomplete, MAX_NUMBER};
pub use part::PartIntake;
pub use session::Status;
pub use whole::WholeIntake;
pub use work::WorkOutcome;

/// The domain service. Cheap to clone; [`Uploads::with_files`] gives it the places of another configuration.
#[derive(Clone)]
pub struct Uploads {
    core: Arc<Core>,
    files: Files,
}

/// What outlives every reload.
struct Core {
    catalog: Arc<dyn Catalog>,
    staging: Arc<dyn Staging>,
    slots: active::Slots,
    memory: part::Memory,
    requests: Arc<requests::Requests>,
    /// The machine's boot id: with another one, bytes that nobody synced may be lost.
    boot_id: String,
}

impl Uploads {
    /// `unplaced_memory`: bytes of memory for parts whose place is not known, over all uploads.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        staging: Arc<dyn Staging>,
        files: Files,
        unplaced_memory: u64,
        boot_id: String,
    ) -> Self {
        let core = Core {
            catalog,
            staging,
            slots: active::Slots::default(),
            memory: part::Memory::new(unplaced_memory),
            requests: Arc::default(),
            boot_id,
        };
        Self { core: Arc::new(core), files }
    }

    /// The same service over the places of another configuration.
    pub fn with_files(&self, files: Files) -> Self {
        Self { core: self.core.clone(), files }
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Clears staging of what no upload owns. Asked once at boot, after the intents were gone forward with
    /// ([`Files::recover`]) and before anything is received.
    pub async fn recover(&self) -> Result<(), Fault> {
        let live = self.core.catalog.live_uploads().await?;
        self.core.staging.sweep(&live).await
    }
}
