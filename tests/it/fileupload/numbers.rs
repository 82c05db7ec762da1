//! Whatever numbers chunks have, in whatever order and however often they come: the file is the source.

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use serde_json::json;

use super::{bytes_first, chunk};
use crate::support::gateway::{Options, TestGateway};
use crate::support::multipart::Form;
use crate::support::noise;

const CHUNK: usize = 100_000;

/// A source of several chunks, the last one short, with their numbers.
fn chunks(source: &[u8], first: usize) -> Vec<(usize, &[u8])> {
    source.chunks(CHUNK).enumerate().map(|(index, bytes)| (index + first, bytes)).collect()
}

fn source(seed: u64) -> Vec<u8> {
    noise(CHUNK * 12 + 4321, seed)
}

/// An order without pattern, the same at every run.
fn shuffled<T>(mut items: Vec<T>, seed: u64) -> Vec<T> {
    let random = noise(items.len() * 8, seed);
    for (index, bytes) in random.chunks_exact(8).enumerate() {
        let other = u64::from_le_bytes(bytes.try_into().unwrap()) as usize % (index + 1);
        items.swap(index, other);
    }
    items
}

type Way = fn(&str, usize, &[u8]) -> Form;

const WAYS: [(&str, Way); 2] = [("fields-first", chunk), ("bytes-first", bytes_first)];

#[tokio::test(flavor = "multi_thread")]
async fn numbers_from_0_and_from_1_in_order() {
    let gateway = TestGateway::start().await;
    for first in [0, 1] {
        for (name, way) in WAYS {
            let (session, source) = (format!("{name}-{first}"), source(first as u64));
            for (number, bytes) in chunks(&source, first) {
                gateway.upload_well(way(&session, number, bytes).text("fileName", "film.mp4")).await;
            }
            gateway.comes_out_as(&session, &format!("film_{session}.mp4"), &source).await;
        }
    }
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shuffled_chunks_in_parallel() {
    let gateway = TestGateway::start().await;
    for first in [0, 1] {
        for (name, way) in WAYS {
            for with_total in [false, true] {
                let session = format!("{name}-{first}-{with_total}");
                let source = source(7 + first as u64);
                let order = shuffled(chunks(&source, first), 3 + first as u64);
                let send = order.into_iter().map(|(number, bytes)| {
                    let form = way(&session, number, bytes).text("fileName", "a.bin");
                    gateway.upload_well(if with_total { form.text("totalChunks", 13) } else { form })
                });
                stream::iter(send).buffer_unordered(4).collect::<Vec<()>>().await;
                gateway.comes_out_as(&session, &format!("a_{session}.bin"), &source).await;
            }
        }
    }
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_sent_again_replaces_its_chunk() {
    let gateway = TestGateway::start().await;
    for first in [0, 1] {
        let (session, source) = (format!("again-{first}"), source(40));
        for (number, bytes) in shuffled(chunks(&source, first), 5) {
            gateway.upload_well(chunk(&session, number, &noise(bytes.len(), 99))).await;
            gateway.upload_well(bytes_first(&session, number, bytes)).await;
        }
        for (number, bytes) in chunks(&source, first).into_iter().step_by(3) {
            gateway.upload_well(chunk(&session, number, bytes)).await;
        }
        gateway.comes_out_as(&session, &format!("upload_{session}"), &source).await;
    }
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_sent_again_may_have_another_length() {
    let gateway = TestGateway::start().await;
    for first in [0, 1] {
        for (name, way) in WAYS {
            let (session, source) = (format!("{name}-{first}"), source(41));
            let chunks = chunks(&source, first);
            for (index, (number, bytes)) in chunks.iter().enumerate() {
                // Shorter, longer, empty, and back again.
                let wrong = [bytes.len() / 2, bytes.len() * 2, 0][index % 3];
                gateway.upload_well(way(&session, *number, &noise(wrong, 98))).await;
            }
            for (number, bytes) in shuffled(chunks, 6) {
                gateway.upload_well(way(&session, number, bytes)).await;
            }
            gateway.comes_out_as(&session, &format!("upload_{session}"), &source).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_number_twice_at_once_is_one_of_the_two() {
    let gateway = TestGateway::start().await;
    for round in 0..10 {
        let session = format!("twice-{round}");
        let (one, other) = (noise(CHUNK * 3, 50), noise(CHUNK * 3 + round, 51));
        let rest = noise(CHUNK * 3, 52);
        gateway.upload_well(chunk(&session, 0, &rest)).await;
        let both = join_all([&one, &other].map(|bytes| gateway.upload_well(chunk(&session, 1, bytes))));
        both.await;
        gateway.complete_well(&session).await;
        assert_eq!(gateway.outcome(&session).await, json!({"status": "completed"}));
        let stored = std::fs::read(gateway.stored("largefiles").join(format!("upload_{session}"))).unwrap();
        assert!(stored[..rest.len()] == rest);
        assert!(stored[rest.len()..] == one || stored[rest.len()..] == other, "the chunks were mixed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_unequal_length_are_put_together_by_number() {
    let gateway = TestGateway::start().await;
    let source = source(60);
    let lengths = [70_001, 1, 300_000, 5, 100_000, 99_999];
    for first in [0, 1] {
        let (session, mut rest) = (format!("unequal-{first}"), &source[..]);
        let mut pieces = Vec::new();
        for (index, length) in lengths.into_iter().enumerate() {
            pieces.push((index + first, &rest[..length]));
            rest = &rest[length..];
        }
        pieces.push((lengths.len() + first, rest));
        for (number, bytes) in shuffled(pieces, 8 + first as u64) {
            gateway.upload_well(chunk(&session, number, bytes)).await;
        }
        gateway.comes_out_as(&session, &format!("upload_{session}"), &source).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_chunks_and_empty_ones() {
    let gateway = TestGateway::start().await;
    for (session, number, source) in
        [("one-0", 0, &b"x"[..]), ("one-1", 1, &b"xyz"[..]), ("none-0", 0, &b""[..]), ("none-1", 1, &b""[..])]
    {
        gateway.upload_well(chunk(session, number, source)).await;
        gateway.comes_out_as(session, &format!("upload_{session}"), source).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_first_past_the_budget_of_memory_go_through_files() {
    let gateway = TestGateway::start_with(Options { unplaced_memory: 256 << 10, ..Options::default() }).await;
    let source = noise(10 << 20, 70);
    let send = source
        .chunks(1 << 20)
        .enumerate()
        .map(|(number, bytes)| gateway.upload_well(bytes_first("big", number + 1, bytes)));
    stream::iter(send).buffer_unordered(4).collect::<Vec<()>>().await;
    gateway.comes_out_as("big", "upload_big", &source).await;
    gateway.nothing_is_staged().await;
}
