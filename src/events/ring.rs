//! The newest entries of the log, in memory, within a bound. It knows for each collection what has left it, so
//! that a subscriber to a quiet collection is served from here however much has happened elsewhere since.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Entry, Filter, Position};

/// How much the ring holds, whichever is reached first.
#[derive(Debug, Clone, Copy)]
pub(super) struct RingLimits {
    pub entries: usize,
    pub bytes: usize,
}

impl Default for RingLimits {
    fn default() -> Self {
        Self { entries: 4_096, bytes: 4 << 20 }
    }
}

#[derive(Debug)]
pub(super) struct Ring {
    limits: RingLimits,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// What happened up to here was never in the ring.
    begin: Position,
    /// What happened up to here is in the ring, or was.
    reached: Position,
    /// The last entry that left, of all and of each collection. Collections are those of the configuration, so few.
    left: Position,
    left_of: HashMap<String, Position>,
}

/// What the ring has for a subscriber.
#[derive(Debug)]
pub(super) enum Taken {
    /// Entries that match, at most as many as asked for; and up to where they were looked for.
    Entries(Vec<Arc<Entry>>, Position),
    /// Some that may match have left the ring.
    Behind,
}

impl Ring {
    pub fn new(begin: Position, limits: RingLimits) -> Self {
        let left_of = HashMap::new();
        Self { limits, entries: VecDeque::new(), bytes: 0, begin, reached: begin, left: begin, left_of }
    }

    pub fn reached(&self) -> Position {
        self.reached
    }

    /// Everything that matches and lies after this position is in the ring.
    pub fn complete_after(&self, filter: &Filter) -> Position {
        if filter.collections.is_empty() {
            return self.left;
        }
        let left_of = |collection| self.left_of.get(collection).copied().unwrap_or(self.begin);
        filter.collections.iter().map(left_of).max().unwrap_or(self.begin)
    }

    pub fn take(&self, after: Position, filter: &Filter, limit: usize) -> Taken {
        if after < self.complete_after(filter) {
            return Taken::Behind;
        }
        let first = self.entries.partition_point(|entry| entry.position() <= after);
        let mut taken = Vec::new();
        for entry in self.entries.range(first..).filter(|entry| filter.matches(&entry.event().event)) {
            taken.push(entry.clone());
            if taken.len() >= limit {
                return Taken::Entries(taken, entry.position());
            }
        }
        Taken::Entries(taken, self.reached.max(after))
    }

    /// Adds what the log has after [`Ring::reached`].
    pub fn push(&mut self, entry: Arc<Entry>) {
        self.reached = entry.position();
        self.bytes += entry.weight();
        self.entries.push_back(entry);
        while self.entries.len() > self.limits.entries || self.bytes > self.limits.bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.weight();
            self.left = oldest.position();
            match self.left_of.get_mut(&oldest.event().event.collection) {
                Some(left) => *left = oldest.position(),
                None => {
                    self.left_of.insert(oldest.event().event.collection.clone(), oldest.position());
                }
            }
        }
    }

    /// Begins anew at `position`: what lies between was removed from the log before it could be read.
    pub fn restart(&mut self, position: Position) {
        *self = Self::new(position, self.limits);
    }

    /// The log has nothing more up to `position`.
    pub fn reach(&mut self, position: Position) {
        self.reached = self.reached.max(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Event;
    use crate::events::testing::uploaded;

    fn ring(entries: usize) -> Ring {
        Ring::new(10, RingLimits { entries, bytes: 1 << 20 })
    }

    fn push(ring: &mut Ring, position: Position, collection: &str) {
        ring.push(Entry::new(Event { position, event: uploaded(collection, "acme", "a.json") }));
    }

    fn positions(taken: Taken) -> (Vec<Position>, Position) {
        match taken {
            Taken::Entries(entries, position) => (entries.iter().map(|entry| entry.position()).collect(), position),
            Taken::Behind => panic!("behind"),
        }
    }

    #[test]
    fn gives_what_lies_after_a_position_and_how_far_it_looked() {
        let mut ring = ring(10);
        for position in [11, 12, 15] {
            push(&mut ring, position, "a");
        }
        ring.reach(20);
        let all = Filter::default();
        assert_eq!(positions(ring.take(11, &all, 9)), (vec![12, 15], 20));
        assert_eq!(positions(ring.take(11, &all, 1)), (vec![12], 12));
        assert_eq!(positions(ring.take(25, &all, 9)), (vec![], 25));
        assert!(matches!(ring.take(9, &all, 9), Taken::Behind));
    }

    #[test]
    fn a_quiet_collection_is_served_though_others_pushed_everything_out() {
        let mut ring = ring(3);
        push(&mut ring, 11, "quiet");
        for position in 12..40 {
            push(&mut ring, position, "busy");
        }
        push(&mut ring, 40, "quiet");
        assert!(matches!(ring.take(12, &Filter::collection("busy"), 9), Taken::Behind));
        assert!(matches!(ring.take(12, &Filter::default(), 9), Taken::Behind));
        assert!(matches!(ring.take(10, &Filter::collection("quiet"), 9), Taken::Behind));
        assert_eq!(positions(ring.take(11, &Filter::collection("quiet"), 9)), (vec![40], 40));
        assert_eq!(positions(ring.take(10, &Filter::collection("never"), 9)), (vec![], 40));
    }

    #[test]
    fn is_bounded_by_bytes_too() {
        let mut ring = Ring::new(0, RingLimits { entries: 1_000, bytes: 10_000 });
        for position in 1..1_000 {
            push(&mut ring, position, "a");
        }
        let kept: usize = ring.entries.iter().map(|entry| entry.weight()).sum();
        assert!(kept <= 10_000 && kept == ring.bytes && ring.entries.len() > 5);
    }
}
