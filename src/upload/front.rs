//! SHA-256 of a file that is still being written: it follows the contiguous front on a thread beside. It cannot be
//! combined from parts as the CRC can, and hashing in the receiving task would cost two thirds of the throughput.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::fault::Fault;

/// A run on the blocking pool is begun for no less than this.
const WORTH_A_RUN: u64 = 1024 * 1024;
/// One read; it stays in the second-level cache between read and hash.
const PIECE: usize = 64 * 1024;

/// How far the hash may fall behind before senders wait for it: they would wait as long after the last byte, where a client
/// expects an answer at once.
const MAX_LAG: u64 = 16 * 1024 * 1024;

/// The hash of the first `hashed` bytes.
#[derive(Default)]
pub(super) struct Front(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when a run has come further, and when it ends.
    went_on: Notify,
}

#[derive(Default)]
struct State {
    sha: Sha256,
    hashed: u64,
    front: u64,
    running: bool,
    /// Counts restarts, so that a run that is under way gives up what it read before.
    generation: u64,
}

impl Front {
    /// The first `front` bytes of `file` are there to stay, unless [`Front::replaced`] says otherwise.
    pub(super) fn advance(&self, file: &Arc<File>, front: u64) {
        let mut state = self.0.state.lock();
        state.front = front;
        if state.running || front < state.hashed + WORTH_A_RUN {
            return;
        }
        state.running = true;
        drop(state);
        let (shared, file) = (self.0.clone(), file.clone());
        tokio::task::spawn_blocking(move || follow(&shared, &file));
    }

    /// Waits while a run is far behind.
    pub(super) async fn keep_up(&self) {
        loop {
            let went_on = self.0.went_on.notified();
            tokio::pin!(went_on);
            went_on.as_mut().enable();
            {
                let state = self.0.state.lock();
                if !state.running || state.front <= state.hashed + MAX_LAG {
                    return;
                }
            }
            went_on.await;
        }
    }

    /// Bytes from `offset` on were or will be replaced. If they were hashed, all begins anew.
    pub(super) fn replaced(&self, offset: u64) {
        let mut state = self.0.state.lock();
        state.front = state.front.min(offset);
        if offset < state.hashed || state.running {
            state.sha = Sha256::new();
            state.hashed = 0;
            state.generation += 1;
        }
    }

    /// The hash of the first `size` bytes of `file`, of which those that were hashed are not read again. With `from_start`, all are.
    pub(super) async fn finish(&self, file: Arc<File>, size: u64, from_start: bool) -> Result<[u8; 32], Fault> {
        let shared = self.0.clone();
        let finish = move || {
            let (mut sha, mut hashed) = {
                let mut state = shared.state.lock();
                state.generation += 1;
                // A run that is under way ends with its stretch: two hashes of the same bytes would share the cores.
                state.front = state.hashed;
                if from_start || state.hashed > size { (Sha256::new(), 0) } else { (state.sha.clone(), state.hashed) }
            };
            let mut buffer = vec![0; PIECE];
            while hashed < size {
                hashed += hash_piece(&file, &mut sha, hashed, size, &mut buffer)?;
            }
            Ok(sha.finalize().into())
        };
        tokio::task::spawn_blocking(finish)
            .await
            .map_err(|error| Fault::broken("hash a file", error))?
            .map_err(|error| Fault::io("read a staged file for its SHA-256", error))
    }
}

/// Nobody asks for the hash any more: a run that is under way ends with its stretch, and lets go of a file that may be removed already.
impl Drop for Front {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.front = state.hashed;
    }
}

fn follow(shared: &Shared, file: &File) {
    let mut buffer = vec![0; PIECE];
    loop {
        let (mut sha, mut hashed, front, generation) = {
            let mut state = shared.state.lock();
            if state.hashed + (PIECE as u64) > state.front {
                state.running = false;
                shared.went_on.notify_waiters();
                return;
            }
            (state.sha.clone(), state.hashed, state.front, state.generation)
        };
        let end = front.min(hashed + 16 * PIECE as u64);
        let mut read = Ok(0);
        while hashed < end && read.is_ok() {
            read = hash_piece(file, &mut sha, hashed, end, &mut buffer);
            hashed += read.as_ref().unwrap_or(&0);
        }
        let mut state = shared.state.lock();
        if read.is_err() {
            // What went wrong is met again, and told, when the hash is asked for.
            state.running = false;
            shared.went_on.notify_waiters();
            return;
        }
        if state.generation == generation {
            state.sha = sha;
            state.hashed = hashed;
        }
        drop(state);
        shared.went_on.notify_waiters();
    }
}

fn hash_piece(file: &File, sha: &mut Sha256, offset: u64, end: u64, buffer: &mut [u8]) -> io::Result<u64> {
    let length = (end - offset).min(buffer.len() as u64) as usize;
    file.read_exact_at(&mut buffer[..length], offset)?;
    sha.update(&buffer[..length]);
    Ok(length as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn follows_starts_anew_and_ends_right() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut bytes: Vec<u8> = (0..5_000_000u32).map(|index| (index * 7 % 251) as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        let front = Front::default();
        front.advance(&file, 3_000_000);
        while front.0.state.lock().running {
            tokio::task::yield_now().await;
        }
        assert!(front.0.state.lock().hashed >= 2_000_000);
        bytes[1_000_000] ^= 1;
        file.write_all_at(&bytes, 0).unwrap();
        front.replaced(1_000_000);
        front.advance(&file, 5_000_000);
        let hash = front.finish(file.clone(), 5_000_000, false).await.unwrap();
        assert_eq!(hash, <[u8; 32]>::from(Sha256::digest(&bytes)));
        assert_eq!(front.finish(file, 5_000_000, true).await.unwrap(), hash);
    }
}
