//! CRC-64/NVME and SHA-256 as the gateway uses them (a leaf).
//!
//! The CRC of a whole is combined from those of its parts. `crc-fast` combines in 0.1 ms whatever the length; parts of
//! one length share the operator here, so that two thousand of them cost microseconds.

use std::fmt::Write;

use crc_fast::{CrcAlgorithm, Digest};

/// The reflected polynomial of CRC-64/NVME.
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

/// CRC-64/NVME of bytes that come in pieces.
#[derive(Debug, Clone)]
pub struct Crc(Digest);

impl Default for Crc {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Nvme))
    }
}

impl Crc {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(&self) -> u64 {
        self.0.finalize()
    }

    pub fn of(bytes: &[u8]) -> u64 {
        crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
    }
}

/// The CRC of a whole from those of its parts, in order.
#[derive(Debug, Default)]
pub struct Combiner {
    crc: u64,
    /// The operator of the length that came last: all parts but one have it.
    operator: Option<(u64, Matrix)>,
}

impl Combiner {
    pub fn push(&mut self, crc: u64, length: u64) {
        if self.operator.as_ref().is_none_or(|(of, _)| *of != length) {
            self.operator = Some((length, Matrix::zeros(length)));
        }
        let shifted = self.operator.as_ref().map_or(self.crc, |(_, matrix)| matrix.apply(self.crc));
        self.crc = shifted ^ crc;
    }

    pub fn finish(&self) -> u64 {
        self.crc
    }
}

/// A linear map over the CRC's 64 bits: column `n` is the image of bit `n`.
#[derive(Debug, Clone)]
struct Matrix([u64; 64]);

impl Matrix {
    fn identity() -> Self {
        Self(std::array::from_fn(|bit| 1 << bit))
    }

    /// What `length` zero bytes make of a CRC.
    fn zeros(length: u64) -> Self {
        // One zero bit shifts right, and what falls out comes back as the polynomial.
        let mut power = Self(std::array::from_fn(|bit| if bit == 0 { POLYNOMIAL } else { 1 << (bit - 1) }));
        for _ in 0..3 {
            power = power.then(&power);
        }
        let mut result = Self::identity();
        let mut left = length;
        while left > 0 {
            if left & 1 == 1 {
                result = result.then(&power);
            }
            power = power.then(&power);
            left >>= 1;
        }
        result
    }

    fn apply(&self, vector: u64) -> u64 {
        let mut image = 0;
        let mut left = vector;
        while left != 0 {
            image ^= self.0[left.trailing_zeros() as usize];
            left &= left - 1;
        }
        image
    }

    fn then(&self, next: &Self) -> Self {
        Self(std::array::from_fn(|bit| next.apply(self.0[bit])))
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_crc_64_nvme() {
        assert_eq!(Crc::of(b"123456789"), 0xae8b_1486_0a79_9888);
    }

    proptest! {
        #[test]
        fn parts_combine_to_the_whole(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9)) {
            let mut combiner = Combiner::default();
            for part in &parts {
                combiner.push(Crc::of(part), part.len() as u64);
            }
            let mut whole = Crc::default();
            whole.update(&parts.concat());
            prop_assert_eq!(combiner.finish(), whole.finish());
        }
    }
}
