//! The budget of memory that all documents which are being checked share.

use std::sync::Arc;

use tidegate_plugin_sdk::units::ByteSize;
use tidegate_plugin_sdk::{ErrorKind, PluginError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a document takes in memory beside its bytes, as a rule.
pub const TIMES_ITS_SIZE: u64 = 10;

/// Permits are this many bytes each, as a semaphore counts in 32 bits.
const UNIT: u64 = 1024;

#[derive(Debug, Clone)]
pub struct Budget {
    allowed: ByteSize,
    free: Arc<Semaphore>,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    permit: OwnedSemaphorePermit,
    units: u64,
}

impl Budget {
    pub fn new(allowed: ByteSize) -> Self {
        let units = usize::try_from(allowed.get().div_ceil(UNIT)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { allowed, free: Arc::new(Semaphore::new(units)) }
    }

    /// Takes what a document of this size takes as a rule. It does not wait: whoever waits here holds a file, and maybe others up.
    pub fn reserve_for(&self, document: u64) -> Result<Reservation, PluginError> {
        self.reserve(document.saturating_mul(TIMES_ITS_SIZE))
    }

    fn reserve(&self, bytes: u64) -> Result<Reservation, PluginError> {
        let units = bytes.div_ceil(UNIT);
        let permit = self.take(units, bytes)?;
        Ok(Reservation { budget: self.clone(), permit, units })
    }

    fn take(&self, units: u64, bytes: u64) -> Result<OwnedSemaphorePermit, PluginError> {
        let permit = match u32::try_from(units) {
            Ok(units) => self.free.clone().try_acquire_many_owned(units).ok(),
            Err(_) => None,
        };
        permit.ok_or_else(|| self.exceeded(bytes))
    }

    fn exceeded(&self, bytes: u64) -> PluginError {
        let (allowed, takes) = (self.allowed, ByteSize::bytes(bytes));
        if bytes > allowed.get() {
            let context = format!("a document takes {takes} of memory, and `memory` allows {allowed} for all of them");
            return PluginError::permanent(ErrorKind::Limit, context);
        }
        let context = format!(
            "a document takes {takes} of memory, and others use too much of the {allowed} that `memory` allows"
        );
        PluginError::retryable(ErrorKind::Limit, context)
    }
}

impl Reservation {
    /// Holds at least as many bytes from here on.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), PluginError> {
        let units = bytes.div_ceil(UNIT);
        if units > self.units {
            self.permit.merge(self.budget.take(units - self.units, bytes)?);
            self.units = units;
        }
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.units * UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_given_back() {
        let budget = Budget::new(ByteSize::bytes(100 * UNIT));
        let held = budget.reserve_for(6 * UNIT).unwrap();
        let error = budget.reserve_for(5 * UNIT).unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, true), "{error}");
        drop(held);
        budget.reserve_for(5 * UNIT).unwrap();
    }

    #[test]
    fn what_never_fits_is_no_matter_of_time() {
        let budget = Budget::new(ByteSize::bytes(100 * UNIT));
        let mut held = budget.reserve_for(UNIT).unwrap();
        held.grow_to(100 * UNIT).unwrap();
        assert_eq!(budget.free.available_permits(), 0);
        let error = held.grow_to(101 * UNIT).unwrap_err();
        assert!(!error.retryable && error.context.contains("`memory`"), "{error}");
    }
}
