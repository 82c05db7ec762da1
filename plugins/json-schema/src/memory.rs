//! The budget of memory that all documents which are being checked share, whatever instance checks them: memory is the process's, and
//! after a reload the instances of before still check what they have begun.

use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_plugin_sdk::units::ByteSize;
use tidegate_plugin_sdk::{ErrorKind, PluginError};

/// What a document takes in memory beside its bytes, as a rule.
pub const TIMES_ITS_SIZE: u64 = 10;

/// What all reservations of the process hold, in bytes.
static HELD: AtomicU64 = AtomicU64::new(0);

/// How much all may hold for one more to get something.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    allowed: ByteSize,
    held: &'static AtomicU64,
}

/// A part of what all hold, given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    pub fn new(allowed: ByteSize) -> Self {
        Self { allowed, held: &HELD }
    }

    /// One that counts for itself, whatever other tests hold meanwhile.
    #[cfg(test)]
    pub fn apart(allowed: ByteSize) -> Self {
        Self { allowed, held: Box::leak(Box::default()) }
    }

    /// Takes what a document of this size takes as a rule. It does not wait: whoever waits here holds a file, and maybe others up.
    pub fn reserve_for(&self, document: u64) -> Result<Reservation, PluginError> {
        let bytes = document.saturating_mul(TIMES_ITS_SIZE);
        self.take(bytes, bytes)?;
        Ok(Reservation { budget: *self, bytes })
    }

    /// Takes `more` for a document that takes `bytes` with it.
    fn take(&self, more: u64, bytes: u64) -> Result<(), PluginError> {
        let with_it = |held: u64| held.checked_add(more).filter(|held| *held <= self.allowed.get());
        match self.held.try_update(Ordering::Relaxed, Ordering::Relaxed, with_it) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.exceeded(bytes)),
        }
    }

    fn exceeded(&self, bytes: u64) -> PluginError {
        let (allowed, takes) = (self.allowed, ByteSize::bytes(bytes));
        if bytes > allowed.get() {
            let context = format!("a document takes {takes} of memory, and `memory` allows {allowed} for all of them");
            return PluginError::permanent(ErrorKind::Limit, context);
        }
        let context = format!(
            "a document takes {takes} of memory, and others, of this instance or another, use too much of the {allowed} \
             that `memory` allows"
        );
        PluginError::retryable(ErrorKind::Limit, context)
    }
}

impl Reservation {
    /// Holds at least as many bytes from here on.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), PluginError> {
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes, bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn held(budget: &Budget) -> u64 {
        budget.held.load(Ordering::Relaxed)
    }

    #[test]
    fn a_reservation_is_given_back() {
        let budget = Budget::apart(ByteSize::bytes(100));
        let held = budget.reserve_for(6).unwrap();
        let error = budget.reserve_for(5).unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, true), "{error}");
        drop(held);
        budget.reserve_for(5).unwrap();
    }

    #[test]
    fn what_never_fits_is_no_matter_of_time() {
        let budget = Budget::apart(ByteSize::bytes(100));
        let mut reservation = budget.reserve_for(1).unwrap();
        reservation.grow_to(100).unwrap();
        reservation.grow_to(50).unwrap();
        assert_eq!((reservation.bytes(), held(&budget)), (100, 100));
        let error = reservation.grow_to(101).unwrap_err();
        assert!(!error.retryable && error.context.contains("`memory`"), "{error}");
        assert!(!budget.reserve_for(u64::MAX).unwrap_err().retryable);
        drop(reservation);
        assert_eq!(held(&budget), 0);
    }

    #[test]
    fn budgets_of_any_size_count_what_all_hold() {
        let large = Budget::apart(ByteSize::bytes(1000));
        let small = Budget { allowed: ByteSize::bytes(100), ..large };
        let reservation = large.reserve_for(10).unwrap();
        assert!(small.reserve_for(1).unwrap_err().retryable);
        large.reserve_for(90).unwrap();
        drop(reservation);
        small.reserve_for(10).unwrap();
    }

    #[test]
    fn nothing_is_lost_or_given_twice_by_many_at_once() {
        let budget = Budget::apart(ByteSize::bytes(1000));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if let Ok(mut reservation) = budget.reserve_for(30) {
                            let _ = reservation.grow_to(400);
                            assert!(held(&budget) <= 1000);
                        }
                    }
                });
            }
        });
        assert_eq!(held(&budget), 0);
    }
}
