//! What clients of the chunk writer sent and were told, and whether its file says the same.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::RwLock;

use super::gateway::{Gateway, Gone};
use super::random::Random;

/// Where the file lies under the data folder.
pub const FILE: &str = "chunks/uploads/received_chunks.txt";

#[derive(Default)]
pub struct Appends {
    known: Mutex<Known>,
    /// Clears alone: a chunk that is under way beside one may be cleared or not.
    clearing: RwLock<()>,
}

#[derive(Default)]
struct Known {
    next: u64,
    /// Chunks that are in the file, or may be, by their number.
    chunks: BTreeMap<u64, Chunk>,
    /// A clear was sent that no answer came to.
    clear_is_open: bool,
    acknowledged: u64,
    /// Appends and clears of which the log must tell.
    appended: u64,
    cleared: u64,
}

struct Chunk {
    bytes: Vec<u8>,
    is_acknowledged: bool,
}

impl Appends {
    /// Sends one chunk: text or bytes, small or large.
    pub async fn append(&self, gateway: &Gateway, random: &mut Random) -> Result<(), Gone> {
        let _clearing = self.clearing.read().await;
        let length =
            if random.one_in(12) { 200_000 + random.below(1_000_000) } else { 1 + random.below(3_000) } as usize;
        let is_text = random.one_in(2);
        let number = {
            let mut known = self.known.lock();
            known.next += 1;
            let number = known.next;
            let bytes = chunk(number, length, is_text, random);
            known.chunks.insert(number, Chunk { bytes, is_acknowledged: false });
            number
        };
        let bytes = self.known.lock().chunks[&number].bytes.clone();
        let request = match is_text {
            true => gateway.post("/write_chunk").json(&json!({ "chunk": String::from_utf8(bytes).unwrap() })),
            false => gateway.post("/write_chunk_binary").body(bytes),
        };
        let told = gateway.tell(request).await?;
        assert!(told.is_acknowledged(), "{told:?}");
        let mut known = self.known.lock();
        known.acknowledged += 1;
        known.appended += 1;
        known.chunks.get_mut(&number).unwrap().is_acknowledged = true;
        Ok(())
    }

    pub async fn clear(&self, gateway: &Gateway) -> Result<(), Gone> {
        let _clearing = self.clearing.write().await;
        {
            // A chunk whose client was not answered: the gateway is gone already.
            let mut known = self.known.lock();
            if known.chunks.values().any(|chunk| !chunk.is_acknowledged) {
                return Err(Gone);
            }
            known.clear_is_open = true;
        }
        let told = gateway.tell(gateway.post("/clear_file")).await?;
        assert!(told.is_acknowledged(), "{told:?}");
        let mut known = self.known.lock();
        known.acknowledged += 1;
        known.settle_clear();
        Ok(())
    }

    pub fn acknowledged(&self) -> u64 {
        self.known.lock().acknowledged
    }

    /// How many events of appends and of clears the log must have.
    pub fn events(&self) -> (u64, u64) {
        let known = self.known.lock();
        (known.appended, known.cleared)
    }

    /// Compares the file with what was told. What nobody was told of is settled by it.
    pub async fn check(&self, gateway: &Gateway) -> Vec<u8> {
        let (status, content) = gateway.read_as("/get_file", "application/octet-stream").await;
        assert_eq!(status, 200);
        let mut known = self.known.lock();
        let found = known.read(&content);
        if known.clear_is_open && found.is_empty() {
            known.settle_clear();
        }
        known.clear_is_open = false;
        let mut late = 0;
        known.chunks.retain(|number, chunk| {
            let is_there = found.contains(number);
            assert!(is_there || !chunk.is_acknowledged, "chunk {number} was acknowledged and is lost");
            late += u64::from(is_there && !chunk.is_acknowledged);
            chunk.is_acknowledged = true;
            is_there
        });
        known.appended += late;
        content
    }
}

impl Known {
    fn settle_clear(&mut self) {
        // An empty file is not cleared once more. A chunk that was sent behind the clear, to a gateway that was gone, never was in it.
        self.cleared += u64::from(self.chunks.values().any(|chunk| chunk.is_acknowledged));
        self.chunks.clear();
        self.clear_is_open = false;
    }

    /// The numbers of the chunks in the file; each must be whole, and there once.
    fn read(&self, content: &[u8]) -> Vec<u64> {
        let mut found = Vec::new();
        let mut rest = content;
        while !rest.is_empty() {
            let offset = content.len() - rest.len();
            let number = number_of(rest).unwrap_or_else(|| panic!("no chunk begins at {offset}"));
            let chunk = self.chunks.get(&number).unwrap_or_else(|| panic!("chunk {number} was never sent, or cleared"));
            assert!(rest.starts_with(&chunk.bytes), "chunk {number} at {offset} is not whole");
            assert!(!found.contains(&number), "chunk {number} is there twice");
            found.push(number);
            rest = &rest[chunk.bytes.len()..];
        }
        found
    }
}

/// `[7]` and the content.
fn chunk(number: u64, length: usize, is_text: bool, random: &mut Random) -> Vec<u8> {
    let mut bytes = format!("[{number}]").into_bytes();
    match is_text {
        true => bytes.extend("é\"\\\n".bytes().cycle().take(length / 5 * 5 + 5)),
        false => bytes.extend(random.bytes(length)),
    }
    bytes
}

fn number_of(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().take(24).position(|byte| *byte == b']')?;
    std::str::from_utf8(&bytes[..end]).ok()?.strip_prefix('[')?.parse().ok()
}
