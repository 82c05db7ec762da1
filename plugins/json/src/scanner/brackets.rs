//! The open brackets, one bit each: what the scanner's memory grows with, up to the depth that is allowed.

const BITS: usize = u64::BITS as usize;

#[derive(Debug, Clone)]
pub(super) struct Brackets {
    /// Bit set: an object. The innermost bracket is bit `depth - 1`.
    bits: Vec<u64>,
    depth: usize,
    max_depth: usize,
    in_object: bool,
}

impl Brackets {
    pub(super) fn new(max_depth: usize) -> Self {
        Self { bits: Vec::new(), depth: 0, max_depth, in_object: false }
    }

    pub(super) fn max_depth(&self) -> usize {
        self.max_depth
    }

    pub(super) fn is_empty(&self) -> bool {
        self.depth == 0
    }

    /// Whether the innermost bracket is an object's.
    pub(super) fn in_object(&self) -> bool {
        self.in_object
    }

    /// `false`: too deep, nothing was opened.
    pub(super) fn open(&mut self, object: bool) -> bool {
        if self.depth == self.max_depth {
            return false;
        }
        let (word, bit) = (self.depth / BITS, self.depth % BITS);
        if word == self.bits.len() {
            self.bits.push(0);
        }
        self.bits[word] = (self.bits[word] & !(1 << bit)) | (u64::from(object) << bit);
        self.depth += 1;
        self.in_object = object;
        true
    }

    /// The innermost bracket ends. Not called when there is none.
    pub(super) fn close(&mut self) {
        self.depth -= 1;
        self.in_object = match self.depth.checked_sub(1) {
            Some(innermost) => self.bits[innermost / BITS] >> (innermost % BITS) & 1 == 1,
            None => false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_every_bracket_across_words() {
        let mut brackets = Brackets::new(200);
        let object_at = |depth: usize| depth.is_multiple_of(3);
        for round in 0..3 {
            for depth in 0..200 {
                assert!(brackets.open(object_at(depth) ^ (round == 1)));
            }
            assert!(!brackets.open(true));
            for depth in (0..200).rev() {
                assert_eq!(brackets.in_object(), object_at(depth) ^ (round == 1), "{depth}");
                brackets.close();
            }
            assert!(brackets.is_empty());
        }
    }
}
