//! What tests of the whole have in common.
//!
//! - `process`: the gateway as it is shipped, the binary in a process of its own
//! - `gateway`: a gateway within the test's own process, for what can be held still only there: the work that is owed and
//!   the validation within it

pub mod gateway;
pub mod multipart;
pub mod process;

use std::time::Duration;

use sha2::{Digest, Sha256};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes that look like nothing else and are the same at every run.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
