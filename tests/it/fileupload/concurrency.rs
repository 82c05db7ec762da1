//! Requests that meet: each of these loses a file in the system that this dialect comes from.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{bytes_first, chunk, message};
use crate::support::gateway::TestGateway;
use crate::support::noise;

const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn several_completes_at_once_assemble_once() {
    let gateway = TestGateway::start().await;
    let source = noise(400_000, 1);
    for round in 0..ROUNDS {
        let session = format!("c{round}");
        for (number, bytes) in source.chunks(100_000).enumerate() {
            gateway.upload_well(chunk(&session, number + 1, bytes)).await;
        }
        join_all((0..8).map(|_| gateway.complete_well(&session))).await;
        assert_eq!(gateway.outcome(&session).await, json!({"status": "completed"}));
        gateway.is_stored(&format!("upload_{session}"), &source);
    }
    assert_eq!(gateway.list().await.len(), ROUNDS);
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_first_chunks_at_once_are_one_upload() {
    let gateway = TestGateway::start().await;
    let source = noise(8 * 50_000, 2);
    for round in 0..ROUNDS {
        let (session, first) = (format!("f{round}"), round % 2);
        let send = source.chunks(50_000).enumerate().map(|(index, bytes)| {
            let way = if index % 3 == 0 { bytes_first } else { chunk };
            gateway.upload_well(way(&session, index + first, bytes).text("fileName", "eight.bin"))
        });
        join_all(send).await;
        gateway.comes_out_as(&session, &format!("eight_{session}.bin"), &source).await;
    }
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_sent_again_while_assembly_runs_changes_nothing() {
    let gateway = TestGateway::start().await;
    let source = noise(300_000, 3);
    gateway.validation.gate.close();
    for (number, bytes) in source.chunks(100_000).enumerate() {
        gateway.upload_well(chunk("a", number + 1, bytes)).await;
    }
    gateway.complete_well("a").await;
    gateway.validation.gate.arrival().await;
    for number in 1..=4 {
        let (status, body) = gateway.upload(chunk("a", number, &noise(100_000, 4))).await;
        assert_eq!(status, 409, "{body}");
        message(&body);
    }
    gateway.validation.gate.open();
    assert_eq!(gateway.outcome("a").await, json!({"status": "completed"}));
    gateway.is_stored("upload_a", &source);
    assert_eq!(gateway.upload(chunk("a", 1, b"late")).await.0, 409);
    gateway.is_stored("upload_a", &source);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_sent_again_as_complete_comes_counts_whole_or_not_at_all() {
    let gateway = TestGateway::start().await;
    let (one, other, rest) = (noise(200_000, 5), noise(200_000, 6), noise(200_000, 7));
    for round in 0..ROUNDS * 2 {
        let session = format!("r{round}");
        gateway.upload_well(chunk(&session, 0, &one)).await;
        gateway.upload_well(chunk(&session, 1, &rest)).await;
        let again = if round % 2 == 0 { chunk } else { bytes_first };
        let (resent, completed) = tokio::join!(gateway.upload(again(&session, 0, &other)), gateway.complete(&session));
        assert_eq!(completed.0, 200, "{completed:?}");
        assert_eq!(gateway.outcome(&session).await, json!({"status": "completed"}));
        let first = match resent.0 {
            200 => &other,
            409 => &one,
            _ => panic!("{resent:?}"),
        };
        gateway.is_stored(&format!("upload_{session}"), &[first.as_slice(), &rest].concat());
    }
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_during_assembly_wins_and_leaves_no_file() {
    let gateway = TestGateway::start().await;
    gateway.validation.gate.close();
    gateway.upload_well(chunk("d", 1, &noise(100_000, 8))).await;
    gateway.complete_well("d").await;
    gateway.validation.gate.arrival().await;
    assert_eq!(gateway.delete_upload("d").await, (200, json!({"status": "upload deleted"})));
    gateway.validation.gate.open();
    is_gone(&gateway, "d").await;

    // And at any moment of it.
    for round in 0..ROUNDS * 2 {
        let session = format!("d{round}");
        gateway.upload_well(chunk(&session, 1, &noise(100_000, 9))).await;
        gateway.complete_well(&session).await;
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        assert_eq!(gateway.delete_upload(&session).await.0, 200);
        is_gone(&gateway, &session).await;
    }
}

async fn is_gone(gateway: &TestGateway, session: &str) {
    assert_eq!(gateway.status(session).await.0, 404);
    assert_eq!((gateway.stored_names(), gateway.list().await), (Vec::<String>::new(), Vec::<Value>::new()));
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_amid_chunks_leaves_nothing_of_those_that_came_before() {
    let gateway = TestGateway::start().await;
    for round in 0..ROUNDS {
        let session = format!("x{round}");
        gateway.upload_well(chunk(&session, 1, b"first")).await;
        let bytes = noise(300_000, 10);
        let chunks = join_all((2..8).map(|number| gateway.upload(chunk(&session, number, &bytes))));
        let (sent, deleted) = tokio::join!(chunks, gateway.delete_upload(&session));
        assert_eq!(deleted.0, 200);
        for (status, body) in sent {
            assert!(matches!(status, 200 | 409), "{status} {body}");
        }
        // What came after the delete is an upload anew: then it lacks the first chunk.
        match gateway.status(&session).await.0 {
            404 => {}
            _ => assert!(gateway.complete(&session).await.1["missing"].as_array().unwrap().contains(&json!(1))),
        }
        gateway.delete_upload(&session).await;
        gateway.nothing_is_staged().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_at_once_end_one_upload_once() {
    let gateway = TestGateway::start().await;
    gateway.upload_well(chunk("o", 1, b"x")).await;
    gateway.comes_out_as("o", "upload_o", b"x").await;
    let answers = join_all((0..6).map(|_| gateway.delete_upload("o"))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 404)), "{answers:?}");
    is_gone(&gateway, "o").await;
}
