//! How long a job waits before it is tried again, and how often it is tried.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// While the rows cannot be read or written, how long until it is tried again: first, and at most.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(100);
pub(super) const RETRY_AFTER_AT_MOST: Duration = Duration::from_secs(10);

/// The share of a wait by which it may be longer, so that what failed together does not come back together.
const JITTER: f64 = 0.2;

/// The waits between attempts. There is one attempt more than there are waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff(Arc<[Duration]>);

impl Backoff {
    pub fn new(waits: impl Into<Arc<[Duration]>>) -> Self {
        Self(waits.into())
    }

    pub fn attempts(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How long to wait after this attempt; nothing after the last one.
    pub fn wait_after(&self, attempt: u32) -> Option<Duration> {
        let index = usize::try_from(attempt.max(1) - 1).ok()?;
        self.0.get(index).map(|wait| jittered(*wait))
    }

    /// The wait before giving up is tried again: the longest there is.
    pub fn longest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or(Duration::from_secs(60))
    }
}

impl Default for Backoff {
    /// Eleven attempts within about two hours.
    fn default() -> Self {
        Self::new([1, 2, 5, 10, 30, 60, 300, 900, 1_800, 3_600].map(Duration::from_secs))
    }
}

/// So long, or a little longer.
pub(super) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + JITTER * random())
}

/// From 0 up to 1: the standard library's hashers are keyed at random, which is random enough for jitter.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_listed_or_a_little_longer_and_then_no_more() {
        let listed = [Duration::ZERO, Duration::from_secs(10), Duration::from_secs(60)];
        let backoff = Backoff::new(listed);
        assert_eq!(backoff.attempts(), 4);
        for (attempt, wait) in (1..).zip(listed) {
            for _ in 0..100 {
                let waited = backoff.wait_after(attempt).expect("not the last attempt");
                assert!(waited >= wait && waited <= wait.mul_f64(1.2), "{waited:?} after attempt {attempt}");
            }
        }
        assert_eq!(backoff.wait_after(4), None);
        assert_eq!(backoff.wait_after(u32::MAX), None);
        assert_eq!(Backoff::new([]).wait_after(1), None);
    }

    #[test]
    fn jitter_differs() {
        let backoff = Backoff::new([Duration::from_secs(1_000)]);
        let waits: std::collections::HashSet<_> = (0..20).map(|_| backoff.wait_after(1)).collect();
        assert!(waits.len() > 10);
    }
}
