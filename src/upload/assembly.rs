//! Making one contiguous file of an upload's parts. Which parts must move is decided by a pure function; moving is
//! a copy in the kernel. Acknowledged bytes are never written over, so that a crash finds every part where its receipt says.

use std::ops::Range;
use std::sync::Arc;

use super::port::{Place, Receipt, SpoolFile, Staging};
use crate::crash;
use crate::digest::Combiner;
use crate::fault::Fault;
use crate::files::port::UploadId;

/// How the parts become one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// One part, in an overflow file: that file is the whole.
    Overflow { number: u32 },
    /// The spool is the whole once these parts were copied to their places in it, which are free.
    IntoSpool(Vec<Move>),
    /// Too much is in the wrong place: all parts are copied to a new file.
    IntoNew(Vec<Move>),
}

/// A part that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    from: Place,
    to: u64,
    length: u64,
}

impl Move {
    fn target(&self) -> Range<u64> {
        self.to..self.to + self.length
    }

    fn source_in_spool(&self) -> Option<Range<u64>> {
        match self.from {
            Place::Spool { offset } => Some(offset..offset + self.length),
            Place::Overflow { .. } => None,
        }
    }
}

/// `receipts` are complete and in order.
pub(super) fn plan(receipts: &[Receipt]) -> Plan {
    if let [Receipt { place: Place::Overflow { number }, .. }] = receipts {
        return Plan::Overflow { number: *number };
    }
    let mut offset = 0;
    let mut all = Vec::new();
    for receipt in receipts.iter().filter(|receipt| receipt.length > 0) {
        all.push(Move { from: receipt.place, to: offset, length: receipt.length });
        offset += receipt.length;
    }
    let misplaced: Vec<Move> =
        all.iter().filter(|part| part.from != Place::Spool { offset: part.to }).cloned().collect();
    let mut sources: Vec<Range<u64>> = misplaced.iter().filter_map(Move::source_in_spool).collect();
    sources.sort_by_key(|range| range.start);
    let is_free = |target: Range<u64>| {
        let before = sources.partition_point(|source| source.start < target.end);
        before == 0 || sources[before - 1].end <= target.start
    };
    // The spool is cut at the end of the whole. Until the publication is recorded, a part behind that end must be found where its
    // receipt says.
    let ends_within = sources.last().is_none_or(|source| source.end <= offset);
    let fits = ends_within && misplaced.iter().all(|part| is_free(part.target()));
    if fits { Plan::IntoSpool(misplaced) } else { Plan::IntoNew(all) }
}

/// The whole in one file.
pub(super) struct Assembled {
    pub file: Arc<dyn SpoolFile>,
    pub size: u64,
    pub crc: u64,
    /// Whether the file is the spool, so that what was hashed of the spool's front still holds.
    pub is_spool: bool,
}

/// Carries a plan out. May be called again after a crash at any point of it.
pub(super) async fn assemble(
    staging: &dyn Staging,
    upload: UploadId,
    spool: &Arc<dyn SpoolFile>,
    receipts: &[Receipt],
) -> Result<Assembled, Fault> {
    let mut crc = Combiner::default();
    let mut size = 0;
    for receipt in receipts {
        crc.push(receipt.crc, receipt.length);
        size += receipt.length;
    }
    let (file, is_spool) = match plan(receipts) {
        Plan::Overflow { number } => (staging.open_overflow(upload, number).await?, false),
        Plan::IntoSpool(moves) => {
            copy_all(staging, upload, spool, spool, &moves).await?;
            (spool.clone(), true)
        }
        Plan::IntoNew(moves) => {
            let new = staging.create_assembled(upload).await?;
            copy_all(staging, upload, spool, &new, &moves).await?;
            (new, false)
        }
    };
    let length = file.file().metadata().map_err(|error| Fault::io("look at an assembled file", error))?.len();
    if length != size {
        // What unfinished or replaced parts left behind the end.
        file.clone().set_len(size).await?;
    }
    Ok(Assembled { file, size, crc: crc.finish(), is_spool })
}

async fn copy_all(
    staging: &dyn Staging,
    upload: UploadId,
    spool: &Arc<dyn SpoolFile>,
    to: &Arc<dyn SpoolFile>,
    moves: &[Move],
) -> Result<(), Fault> {
    for part in moves {
        let (from, offset) = match part.from {
            Place::Spool { offset } => (spool.clone(), offset),
            Place::Overflow { number } => (staging.open_overflow(upload, number).await?, 0),
        };
        to.clone().copy_from(from, offset, part.to, part.length).await?;
        crash::point("assemble.copied");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(number: u32, place: Place, length: u64) -> Receipt {
        Receipt { number, place, length, crc: 0 }
    }

    #[test]
    fn parts_in_order_are_not_copied() {
        let receipts = [part(1, Place::Spool { offset: 0 }, 5), part(2, Place::Spool { offset: 5 }, 3)];
        assert_eq!(plan(&receipts), Plan::IntoSpool(vec![]));
    }

    #[test]
    fn a_single_overflow_file_is_the_whole() {
        assert_eq!(plan(&[part(1, Place::Overflow { number: 4 }, 5)]), Plan::Overflow { number: 4 });
    }

    #[test]
    fn a_wrong_guess_costs_a_copy() {
        let receipts = [
            part(0, Place::Overflow { number: 1 }, 5),
            part(1, Place::Spool { offset: 0 }, 5),
            part(2, Place::Spool { offset: 5 }, 5),
        ];
        assert!(matches!(plan(&receipts), Plan::IntoNew(moves) if moves.len() == 3));
    }

    proptest! {
        /// Whatever the plan: carried out over a model of the files, the result is the parts in order, and no byte that a receipt
        /// speaks of was written over or cut off: a crash before the publication has it all done anew.
        #[test]
        fn any_plan_gives_the_parts_in_order(shape in prop::collection::vec((1u64..6, prop::option::of(0u64..12)), 1..9)) {
            let mut spool = vec![0u8; 200];
            let mut taken = [false; 200];
            let mut overflows = std::collections::HashMap::new();
            let mut receipts = Vec::new();
            let mut whole: Vec<u8> = Vec::new();
            for (number, (length, slot)) in shape.into_iter().enumerate() {
                let bytes = vec![number as u8 + 1; length as usize];
                whole.extend(&bytes);
                let range = slot.map(|slot| (slot * 4) as usize..(slot * 4 + length) as usize);
                let place = match range.filter(|range| !taken[range.clone()].contains(&true)) {
                    Some(range) => {
                        spool[range.clone()].copy_from_slice(&bytes);
                        taken[range.clone()].fill(true);
                        Place::Spool { offset: range.start as u64 }
                    }
                    None => { overflows.insert(number as u32, bytes); Place::Overflow { number: number as u32 } }
                };
                receipts.push(part(number as u32, place, length));
            }
            let read = |spool: &[u8], part: &Move| match part.from {
                Place::Spool { offset } => spool[offset as usize..(offset + part.length) as usize].to_vec(),
                Place::Overflow { number } => overflows[&number].clone(),
            };
            let result = match plan(&receipts) {
                Plan::Overflow { number } => overflows[&number].clone(),
                Plan::IntoSpool(moves) => {
                    let is_cut = taken[whole.len()..].contains(&true);
                    prop_assert!(!is_cut, "an acknowledged byte lies behind the end, where the spool is cut");
                    for part in &moves {
                        let bytes = read(&spool, part);
                        let target = part.to as usize..(part.to + part.length) as usize;
                        prop_assert!(!taken[target.clone()].contains(&true), "an acknowledged byte was written over");
                        spool[target].copy_from_slice(&bytes);
                    }
                    spool[..whole.len()].to_vec()
                }
                Plan::IntoNew(moves) => {
                    let mut new = vec![0; whole.len()];
                    for part in &moves {
                        new[part.to as usize..(part.to + part.length) as usize].copy_from_slice(&read(&spool, part));
                    }
                    new
                }
            };
            prop_assert_eq!(result, whole);
        }
    }
}
