//! Over the bytes that do not matter, eight at a time: the inside of strings and runs of white space.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// The high bit of each byte that is below `limit` (at most 0x80). The lowest bit set is right; above it a borrow may
/// set wrong ones.
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH_BITS
}

/// The high bit of each byte that equals `byte`, with the same restriction.
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

fn ends_plain_text(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The first place from `at` on that does not simply belong to a string: its end, an escape, a control character, or
/// the end of `bytes`.
#[inline]
pub(super) fn plain_text(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(bytes, at) {
        let hits = below(word, 0x20) | equal(word, b'"') | equal(word, b'\\');
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < bytes.len() && !ends_plain_text(bytes[at]) {
        at += 1;
    }
    at
}

pub(super) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The first place from `at` on that is no white space, or the end of `bytes`.
#[inline]
pub(super) fn white_space(bytes: &[u8], mut at: usize) -> usize {
    // Most often there is none, or the one blank that `json.dumps` puts after a comma.
    match bytes.get(at..) {
        Some([first, ..]) if *first > b' ' => return at,
        Some([b' ', second, ..]) if *second > b' ' => return at + 1,
        _ => {}
    }
    loop {
        // An indent is a run of blanks.
        while let Some(word) = word(bytes, at) {
            let others = word ^ (ONES * u64::from(b' '));
            if others != 0 {
                at += (others.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(&byte) if is_white_space(byte) => at += 1,
            _ => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place of a word, before and after bytes that a borrow could spoil.
    #[test]
    fn agrees_with_a_look_at_each_byte() {
        for filler in [b'a', b' ', b'!', 0x1f, 0x20, b'#', 0x7f, 0x80, 0xff, b'\n'] {
            for byte in 0..=255u8 {
                for place in 0..20 {
                    let mut bytes = [filler; 20];
                    bytes[place] = byte;
                    for from in 0..=20 {
                        let first = |wanted: fn(u8) -> bool| (from..20).find(|at| wanted(bytes[*at])).unwrap_or(20);
                        assert_eq!(plain_text(&bytes, from), first(ends_plain_text), "{bytes:?} from {from}");
                        assert_eq!(white_space(&bytes, from), first(|byte| !is_white_space(byte)), "{bytes:?}");
                    }
                }
            }
        }
    }
}
