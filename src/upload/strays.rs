//! Parts that came before it was known whether their client counts from 0 or from 1: they lie in overflow files, and are brought to
//! their place in the spool once it is known. So the hash can follow the front, and assembly has nothing left to copy.
//!
//! A part that stays where it is costs that copy at assembly and nothing else, so a failure here is nobody's.

use std::sync::Arc;

use jiff::Timestamp;

use super::Uploads;
use super::active::{Active, Claim};
use super::error::{UploadError, sealed};
use super::port::{ChangeAnswer, Place, Receipt};
use crate::crash;

impl Uploads {
    pub(super) async fn bring_strays_home(&self, active: &Arc<Active>) {
        while let Some((stray, claim)) = active.claim_for_stray() {
            if let Err(error) = self.bring_home(active, &stray, &claim).await {
                tracing::debug!(upload = active.id.0, number = stray.number, %error, "a part stays in its overflow file");
                return;
            }
        }
    }

    /// Counts as a commit of that number, so that nobody replaces the part meanwhile, and sealing waits for the copy.
    async fn bring_home(&self, active: &Active, stray: &Receipt, claim: &Claim) -> Result<(), UploadError> {
        let Place::Overflow { number: overflow } = stray.place else { return Ok(()) };
        let _number = active.lock_number(stray.number).await;
        active.enter_commit()?;
        let moved = self.move_stray(active, stray, overflow, claim).await;
        active.leave_commit();
        if moved? {
            self.core.staging.remove_overflow(active.id, overflow).await;
        }
        Ok(())
    }

    /// The receipt changes after the copy. `false`: the part was replaced before its number was locked.
    async fn move_stray(
        &self,
        active: &Active,
        stray: &Receipt,
        overflow: u32,
        claim: &Claim,
    ) -> Result<bool, UploadError> {
        let catalog = &self.core.catalog;
        if catalog.receipt(active.id, stray.number).await?.as_ref() != Some(stray) {
            return Ok(false);
        }
        let file = self.core.staging.open_overflow(active.id, overflow).await?;
        active.spool.clone().copy_from(file, 0, claim.range.start, stray.length).await?;
        if self.files.is_durable() {
            active.spool.clone().sync().await?;
        }
        crash::point("stray.copied");
        let home = Receipt { place: Place::Spool { offset: claim.range.start }, ..stray.clone() };
        match catalog.keep_receipt(active.id, home.clone(), Timestamp::now()).await? {
            ChangeAnswer::Done => {}
            _ => return Err(sealed()),
        }
        crash::point("stray.receipt-kept");
        claim.settle();
        let mut state = active.state.lock();
        state.ledger.keep(&home, Some(claim.range.clone()), Some(stray));
        if let Some(front) = &active.front {
            front.advance(&active.spool.file(), state.ledger.front());
        }
        Ok(true)
    }
}
