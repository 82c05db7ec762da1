//! Which parts of an upload are there, and where the next one goes. Pure bookkeeping, no I/O: the state machine
//! that the property tests drive.
//!
//! A part's place is `chunk size × (number − first)`. Neither is told by the client: `first` is 0 or 1, the
//! chunk size is learnt from the first part that is complete. Both may be guessed wrongly. That costs a copy
//! at assembly and nothing else, because a place is handed out only while no acknowledged and no unfinished part
//! has a byte in it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::port::{Announced, Place, Receipt};

/// CONTRACTS B: chunk numbers go up to here.
pub const MAX_NUMBER: u32 = 1_000_000;
/// CONTRACTS B: a refusal names at most so many missing parts.
pub const MAX_MISSING_NAMED: usize = 1_000;
/// So many different numbers begun without a 0 among them are taken for a client that counts from 1. More than
/// one, because parallel connections begin out of order.
const NUMBERS_BEFORE_GUESS: usize = 5;

/// So many parts in overflow files are remembered to be brought to their place. Those of a client that counts from 1 are fewer;
/// more are only where parts are of many lengths, and then the places are wrong.
const MAX_STRAYS: usize = 32;

/// What is known of an upload's parts.
#[derive(Debug, Default)]
pub struct Ledger {
    announced: Announced,
    present: Bitmap,
    /// Sum of the lengths of the parts that count.
    bytes: u64,
    chunk: Option<u64>,
    first: Option<u32>,
    begun: Vec<u32>,
    /// Bytes of the spool that a part has or may yet write.
    taken: Ranges,
    /// Bytes of the spool that acknowledged parts have.
    kept: Ranges,
    /// Acknowledged parts in overflow files that nobody has tried to bring to their place; a few at most.
    strays: BTreeMap<u32, Receipt>,
}

/// Why an upload is not complete, or a part does not fit it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    #[error("{total} of the parts are missing")]
    Missing { numbers: Vec<u32>, total: u64 },
    #[error("the parts have {received} bytes together, but {announced} were announced")]
    Size { received: u64, announced: u64 },
    #[error("no part has been uploaded")]
    Empty,
}

impl Ledger {
    /// From what the catalog has.
    pub fn restore(announced: Announced, receipts: &[Receipt]) -> Self {
        let mut ledger = Self { announced, ..Self::default() };
        for receipt in receipts {
            ledger.begin(receipt.number);
            if let Place::Spool { offset } = receipt.place {
                ledger.taken.add(offset..offset + receipt.length);
            }
            ledger.count(receipt, None);
        }
        ledger
    }

    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    pub fn set_announced(&mut self, announced: Announced) {
        self.announced = announced;
    }

    pub fn has(&self, number: u32) -> bool {
        self.present.has(number)
    }

    /// No part is there.
    pub fn is_empty(&self) -> bool {
        self.present.count == 0
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Up to here the spool holds acknowledged bytes without a hole, each at the place that it will most likely keep.
    pub fn front(&self) -> u64 {
        self.kept.0.get(&0).copied().unwrap_or(0)
    }

    /// A part of this number has begun to arrive.
    pub fn begin(&mut self, number: u32) {
        if self.begun.len() < NUMBERS_BEFORE_GUESS && !self.begun.contains(&number) {
            self.begun.push(number);
        }
        if number == 0 {
            self.first = Some(0);
        } else if self.announced.total_parts == Some(number) {
            self.first = self.first.or(Some(1));
        } else if self.first.is_none() && self.begun.len() == NUMBERS_BEFORE_GUESS && self.present.count > 0 {
            self.first = Some(1);
        }
    }

    /// A place in the spool for a part that has begun and whose length is not known yet: a range of one chunk, which
    /// is taken until [`Ledger::release`] or [`Ledger::keep`]. `None`: not known, or not free.
    pub fn claim(&mut self, number: u32) -> Option<Range<u64>> {
        self.claim_length(number, self.chunk?)
    }

    /// The same for a part that is complete and has `length` bytes.
    pub fn claim_complete(&mut self, number: u32, length: u64) -> Option<Range<u64>> {
        if self.chunk.is_none() && !self.is_short_last(length) {
            self.chunk = Some(length);
        }
        (length <= self.chunk?).then(|| self.claim_length(number, length))?
    }

    fn claim_length(&mut self, number: u32, length: u64) -> Option<Range<u64>> {
        let index = number.checked_sub(self.first?)?;
        let offset = self.chunk?.checked_mul(u64::from(index))?;
        let range = offset..offset.checked_add(length)?;
        self.taken.is_free(&range).then(|| self.taken.add(range.clone()))?;
        Some(range)
    }

    /// A part in an overflow file whose place is known and free by now, and that place, which is taken as in [`Ledger::claim`]. Each
    /// part is given once.
    pub fn claim_for_stray(&mut self) -> Option<(Receipt, Range<u64>)> {
        let chunk = self.chunk?;
        let candidates: Vec<(u32, u64)> = self.strays.values().map(|part| (part.number, part.length)).collect();
        let (number, range) = candidates
            .into_iter()
            .filter(|(_, length)| *length <= chunk)
            .find_map(|(number, length)| Some((number, self.claim_length(number, length)?)))?;
        Some((self.strays.remove(&number)?, range))
    }

    /// Gives back what a part had claimed and did not use.
    pub fn release(&mut self, range: Range<u64>) {
        self.taken.remove(range);
    }

    /// A receipt was committed; `replaced` is the one of the same number that it took the place of. Of `claimed`, what the part does
    /// not fill is given back.
    pub fn keep(&mut self, receipt: &Receipt, claimed: Option<Range<u64>>, replaced: Option<&Receipt>) {
        if let Some(claimed) = claimed {
            match receipt.place {
                Place::Spool { offset } => self.taken.remove(offset + receipt.length..claimed.end),
                Place::Overflow { .. } => self.taken.remove(claimed),
            }
        }
        if let Some(Receipt { place: Place::Spool { offset }, length, .. }) = replaced {
            self.taken.remove(*offset..offset + length);
            self.kept.remove(*offset..offset + length);
        }
        self.count(receipt, replaced);
    }

    fn count(&mut self, receipt: &Receipt, replaced: Option<&Receipt>) {
        self.present.set(receipt.number);
        self.strays.remove(&receipt.number);
        match receipt.place {
            Place::Spool { offset } => self.kept.add(offset..offset + receipt.length),
            Place::Overflow { .. } if receipt.length > 0 && self.strays.len() < MAX_STRAYS => {
                self.strays.insert(receipt.number, receipt.clone());
            }
            Place::Overflow { .. } => {}
        }
        self.bytes = self.bytes - replaced.map_or(0, |old| old.length) + receipt.length;
        if self.chunk.is_none_or(|chunk| chunk < receipt.length) && !self.is_short_last(receipt.length) {
            self.chunk = Some(receipt.length);
        }
    }

    /// Whether a part is shorter than the parts must be on average, so that it cannot be one of full length.
    fn is_short_last(&self, length: u64) -> bool {
        match (self.announced.size, self.announced.total_parts) {
            (Some(size), Some(total)) if total > 0 => length < size.div_ceil(u64::from(total)),
            _ => length == 0,
        }
    }

    /// Whether the parts that are there are all: from 0 or from 1 without a hole, as many and as long as announced.
    pub fn check_complete(&self) -> Result<(), Incomplete> {
        let Some(highest) = self.present.highest() else { return Err(self.all_missing()) };
        let first = if self.present.has(0) { 0 } else { 1 };
        let last = match self.announced.total_parts {
            Some(total) => highest.max(first + total.saturating_sub(1)),
            None => highest,
        };
        // A client that began at 1 and lacks one part may lack its 0 or its last: it is told of the last.
        let expected = u64::from(last - first) + 1;
        if u64::from(self.present.count) < expected {
            let numbers = (first..=last).filter(|number| !self.present.has(*number)).take(MAX_MISSING_NAMED).collect();
            return Err(Incomplete::Missing { numbers, total: expected - u64::from(self.present.count) });
        }
        match self.announced.size {
            Some(announced) if announced != self.bytes => Err(Incomplete::Size { received: self.bytes, announced }),
            _ => Ok(()),
        }
    }

    fn all_missing(&self) -> Incomplete {
        match self.announced.total_parts {
            Some(total) if total > 0 => {
                Incomplete::Missing { numbers: (1..=total).take(MAX_MISSING_NAMED).collect(), total: u64::from(total) }
            }
            _ => Incomplete::Empty,
        }
    }

    /// Whether a part of this number contradicts the announced total: `total` parts are numbered 0 to total−1 or 1 to
    /// total.
    pub fn is_beyond_total(&self, number: u32) -> bool {
        self.announced.total_parts.is_some_and(|total| {
            let counts_from_zero = self.present.has(0) || self.begun.contains(&0);
            number > total || (number == total && counts_from_zero)
        })
    }
}

/// Part numbers that are there.
#[derive(Debug, Default)]
struct Bitmap {
    words: Vec<u64>,
    count: u32,
}

impl Bitmap {
    fn has(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn set(&mut self, number: u32) {
        if !self.has(number) {
            let index = number as usize / 64;
            if self.words.len() <= index {
                self.words.resize(index + 1, 0);
            }
            self.words[index] |= 1 << (number % 64);
            self.count += 1;
        }
    }

    fn highest(&self) -> Option<u32> {
        let (index, word) = self.words.iter().enumerate().rev().find(|(_, word)| **word != 0)?;
        Some(index as u32 * 64 + 63 - word.leading_zeros())
    }
}

/// Byte ranges, merged where they touch: an upload in order is one entry, whatever its size.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn is_free(&self, range: &Range<u64>) -> bool {
        let before = self.0.range(..range.end).next_back();
        range.is_empty() || before.is_none_or(|(_, end)| *end <= range.start)
    }

    fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&other_start, &other_end)) = self.0.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.0.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.0.insert(start, end);
    }

    fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.0.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.0.remove(&start);
            if start < range.start {
                self.0.insert(start, range.start);
            }
            if end > range.end {
                self.0.insert(range.end, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn total(total: u32) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.set_announced(Announced { total_parts: Some(total), ..Announced::default() });
        ledger
    }

    /// A part arrives alone, as the intake lets it: begin, claim, keep.
    fn arrive(ledger: &mut Ledger, number: u32, length: u64) -> Place {
        ledger.begin(number);
        let claimed = ledger.claim(number).or_else(|| ledger.claim_complete(number, length));
        let place = match &claimed {
            Some(range) if length <= range.end - range.start => Place::Spool { offset: range.start },
            _ => Place::Overflow { number },
        };
        ledger.keep(&Receipt { number, place, length, crc: 0 }, claimed, None);
        place
    }

    #[test]
    fn parts_from_zero_go_to_their_places_at_once() {
        let mut ledger = Ledger::default();
        for number in 0..10 {
            assert_eq!(arrive(&mut ledger, number, 5), Place::Spool { offset: u64::from(number) * 5 });
        }
        assert_eq!(ledger.check_complete(), Ok(()));
    }

    #[test]
    fn parts_from_one_go_to_their_places_after_the_first_few() {
        let mut ledger = Ledger::default();
        for number in 1..=20 {
            let place = arrive(&mut ledger, number, 5);
            let known = number as usize >= NUMBERS_BEFORE_GUESS;
            let at = Place::Spool { offset: u64::from(number - 1) * 5 };
            assert_eq!(place == at, known, "{number}: {place:?}");
        }
    }

    #[test]
    fn the_first_few_are_brought_to_their_places_once_these_are_known() {
        let mut ledger = Ledger::default();
        for number in 1..NUMBERS_BEFORE_GUESS as u32 {
            arrive(&mut ledger, number, 5);
            assert_eq!(ledger.claim_for_stray(), None);
        }
        arrive(&mut ledger, NUMBERS_BEFORE_GUESS as u32, 5);
        for number in 1..NUMBERS_BEFORE_GUESS as u32 {
            let (stray, range) = ledger.claim_for_stray().unwrap();
            assert_eq!((stray.number, range.start), (number, u64::from(number - 1) * 5));
            let home = Receipt { place: Place::Spool { offset: range.start }, ..stray.clone() };
            ledger.keep(&home, Some(range), Some(&stray));
        }
        assert_eq!(ledger.claim_for_stray(), None);
        assert_eq!(ledger.front(), ledger.bytes());
    }

    #[test]
    fn the_total_as_a_number_says_that_counting_begins_at_one() {
        let mut ledger = total(3);
        ledger.begin(3);
        assert!(ledger.claim_complete(2, 4).is_some());
    }

    #[test]
    fn names_what_is_missing() {
        let mut ledger = total(5);
        assert!(matches!(ledger.check_complete(), Err(Incomplete::Missing { total: 5, .. })));
        for number in [1, 2, 4] {
            arrive(&mut ledger, number, 5);
        }
        assert_eq!(ledger.check_complete(), Err(Incomplete::Missing { numbers: vec![3, 5], total: 2 }));
        assert!(ledger.is_beyond_total(6) && !ledger.is_beyond_total(5));
        let mut ledger = total(2);
        arrive(&mut ledger, 0, 5);
        assert!(ledger.is_beyond_total(2));
        let mut ledger = Ledger::default();
        arrive(&mut ledger, MAX_NUMBER, 1);
        let Err(Incomplete::Missing { numbers, total }) = ledger.check_complete() else { panic!() };
        assert_eq!((numbers.len(), total), (MAX_MISSING_NAMED, u64::from(MAX_NUMBER) - 1));
    }

    #[test]
    fn sizes_that_contradict_are_told() {
        let mut ledger = Ledger::default();
        ledger.set_announced(Announced { size: Some(11), ..Announced::default() });
        arrive(&mut ledger, 0, 10);
        assert_eq!(ledger.check_complete(), Err(Incomplete::Size { received: 10, announced: 11 }));
    }

    proptest! {
        /// Whatever numbers and lengths come, in whatever order and however often: no two parts that count share a byte of
        /// the spool, and the sums are those of the parts that count.
        #[test]
        fn nothing_acknowledged_is_ever_written_over(
            steps in prop::collection::vec((0u32..12, 0u64..9, any::<bool>()), 0..60),
            announced in prop::option::of(1u32..14),
        ) {
            let mut ledger = Ledger::default();
            ledger.set_announced(Announced { total_parts: announced, ..Announced::default() });
            let mut kept: BTreeMap<u32, Receipt> = BTreeMap::new();
            let mut open: Vec<(u32, Option<Range<u64>>)> = Vec::new();
            for (step, (number, length, finish)) in steps.into_iter().enumerate() {
                ledger.begin(number);
                let claimed = ledger.claim(number);
                open.push((number, claimed));
                if !finish {
                    continue;
                }
                let (number, claimed) = open.swap_remove(step % open.len());
                let claimed = claimed.or_else(|| ledger.claim_complete(number, length));
                let place = match &claimed {
                    Some(range) if length <= range.end - range.start => Place::Spool { offset: range.start },
                    _ => Place::Overflow { number: step as u32 },
                };
                let receipt = Receipt { number, place, length, crc: 0 };
                if let Place::Spool { offset } = place {
                    for other in kept.values() {
                        if let Place::Spool { offset: at } = other.place {
                            prop_assert!(offset + length <= at || at + other.length <= offset || length == 0 || other.length == 0);
                        }
                    }
                    for (_, claim) in &open {
                        if let Some(claim) = claim {
                            prop_assert!(offset + length <= claim.start || claim.end <= offset || length == 0);
                        }
                    }
                }
                let replaced = kept.insert(number, receipt.clone());
                ledger.keep(&receipt, claimed, replaced.as_ref());
                prop_assert_eq!(ledger.bytes(), kept.values().map(|receipt| receipt.length).sum::<u64>());
                prop_assert_eq!(ledger.present.count as usize, kept.len());
                let restored = Ledger::restore(ledger.announced().clone(), &kept.values().cloned().collect::<Vec<_>>());
                prop_assert_eq!(restored.check_complete(), ledger.check_complete());
            }
        }

        #[test]
        fn ranges_agree_with_a_set_of_bytes(steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..10), 0..50)) {
            let mut ranges = Ranges::default();
            let mut model = std::collections::BTreeSet::new();
            for (add, start, length) in steps {
                let range = start..start + length;
                prop_assert_eq!(ranges.is_free(&range), range.clone().all(|byte| !model.contains(&byte)));
                if add { ranges.add(range.clone()); model.extend(range); } else { ranges.remove(range.clone()); model.retain(|b| !range.contains(b)); }
            }
        }
    }
}
