//! How much one read of a socket may bring. Bodies come fastest in large pieces that still fit into a core's cache, for each piece costs a
//! turn through the whole stack; but a busy connection holds several times as much. So the connections that bring much share one
//! room: few get large pieces, and many do not fill the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of one connection in bytes, as long as there are few. Twice as much is no faster: it falls out of the cache.
pub const MOST: usize = 384 << 10;
/// Of one connection in bytes, however many there are.
const LEAST: usize = 64 << 10;
/// Of all that bring much, in bytes.
const ROOM: usize = 4 << 20;

#[derive(Default)]
pub struct ReadRoom {
    sharers: AtomicUsize,
}

impl ReadRoom {
    fn each(&self) -> usize {
        (ROOM / self.sharers.load(Ordering::Relaxed).max(1)).clamp(LEAST, MOST)
    }
}

/// What one connection has of the room.
pub struct Share {
    room: Arc<ReadRoom>,
    is_taken: bool,
}

impl Share {
    pub fn new(room: Arc<ReadRoom>) -> Self {
        Self { room, is_taken: false }
    }

    /// Bytes that the next read may bring.
    pub fn next_read(&self) -> usize {
        if self.is_taken { self.room.each() } else { LEAST }
    }

    /// A read brought `bytes`: who brings all that it may has a share, until [`Share::give_back`].
    pub fn record(&mut self, bytes: usize) {
        if !self.is_taken && bytes >= LEAST {
            self.is_taken = true;
            self.room.sharers.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn give_back(&mut self) {
        if std::mem::take(&mut self.is_taken) {
            self.room.sharers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_get_much_and_many_get_the_least() {
        let room = Arc::<ReadRoom>::default();
        let mut shares: Vec<Share> = (0..100).map(|_| Share::new(Arc::clone(&room))).collect();
        assert_eq!(shares[0].next_read(), LEAST, "who has brought nothing yet");
        for share in &mut shares[..4] {
            share.record(LEAST - 1);
            assert_eq!(share.next_read(), LEAST);
            share.record(LEAST);
            share.record(MOST);
        }
        assert_eq!(shares[0].next_read(), MOST);
        for share in &mut shares[4..] {
            share.record(LEAST);
        }
        assert_eq!(shares[0].next_read(), LEAST);
        shares.truncate(16);
        assert_eq!(shares[0].next_read(), ROOM / 16);
        shares[0].give_back();
        assert_eq!(shares[0].next_read(), LEAST);
        drop(shares);
        assert_eq!(room.sharers.load(Ordering::Relaxed), 0);
    }
}
