//! Which requests were under way when an upload was deleted: none of them may make it anew.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::port::UploadKey;

/// Requests that may touch an upload, and deletes that a request under way may not have seen.
#[derive(Default)]
pub(super) struct Requests(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    next: u64,
    under_way: BTreeSet<u64>,
    deleted: HashMap<UploadKey, u64>,
}

/// A request from its first byte to its answer.
pub(super) struct Request {
    requests: Arc<Requests>,
    number: u64,
}

impl Requests {
    pub(super) fn begin(self: &Arc<Self>) -> Request {
        let mut inner = self.0.lock();
        let number = inner.take_number();
        inner.under_way.insert(number);
        Request { requests: self.clone(), number }
    }

    /// Whoever began before now is too late for `key`.
    pub(super) fn deleted(&self, key: &UploadKey) {
        let mut inner = self.0.lock();
        let number = inner.take_number();
        if !inner.under_way.is_empty() {
            inner.deleted.insert(key.clone(), number);
        }
    }
}

impl Inner {
    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Request {
    pub(super) fn is_older_than_delete(&self, key: &UploadKey) -> bool {
        self.requests.0.lock().deleted.get(key).is_some_and(|deleted| self.number < *deleted)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut inner = self.requests.0.lock();
        inner.under_way.remove(&self.number);
        // A delete that nobody under way is older than need not be remembered.
        if !inner.deleted.is_empty() {
            let oldest = inner.under_way.first().copied().unwrap_or(u64::MAX);
            inner.deleted.retain(|_, deleted| *deleted > oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_that_began_before_a_delete_are_too_late() {
        let requests = Arc::new(Requests::default());
        let key = UploadKey { collection: "c".into(), principal: "p".into(), session: "s".into() };
        let before = requests.begin();
        requests.deleted(&key);
        let after = requests.begin();
        assert!(before.is_older_than_delete(&key));
        assert!(!after.is_older_than_delete(&key));
        drop(before);
        assert!(requests.0.lock().deleted.is_empty());
    }
}
