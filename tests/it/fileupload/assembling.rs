//! From completion to the published file, and back again by a delete.

use serde_json::json;
use tidegate::files::port::{Issue, Verdict};

use super::{chunk, message};
use crate::support::gateway::{Answered, Options, TestGateway};
use crate::support::{PATIENCE, noise};

#[tokio::test(flavor = "multi_thread")]
async fn the_status_goes_from_pending_over_in_progress_to_completed() {
    let gateway = TestGateway::start().await;
    gateway.work.close();
    gateway.upload_well(chunk("s", 1, b"x")).await;
    assert_eq!(gateway.status("s").await, (200, json!({"status": "pending"})));
    gateway.complete_well("s").await;
    gateway.work.arrival().await;
    assert_eq!(gateway.status("s").await, (200, json!({"status": "in_progress"})));
    assert_eq!(gateway.stored_names(), Vec::<String>::new());
    gateway.validation.gate.close();
    gateway.work.open();
    gateway.validation.gate.arrival().await;
    // Assembled, but nobody sees it before it was checked.
    assert_eq!(gateway.status("s").await, (200, json!({"status": "in_progress"})));
    assert_eq!(gateway.stored_names(), Vec::<String>::new());
    assert_eq!(gateway.list().await.len(), 0);
    gateway.validation.gate.open();
    assert_eq!(gateway.outcome("s").await, json!({"status": "completed"}));
    gateway.is_stored("upload_s", b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_validation_rejects_is_failed_with_its_reason() {
    let gateway = TestGateway::start().await;
    let issue = Issue { path: String::new(), code: "bad".to_owned(), message: "it is not to our taste".to_owned() };
    *gateway.validation.verdict.lock() = Verdict::Reject(vec![issue]);
    gateway.upload_well(chunk("r", 1, b"x")).await;
    gateway.complete_well("r").await;
    let outcome = gateway.outcome("r").await;
    assert_eq!(outcome["status"], "failed");
    assert!(outcome["message"].as_str().unwrap().contains("not to our taste"), "{outcome}");
    assert_eq!((gateway.stored_names(), gateway.list().await.len()), (Vec::new(), 0));
    assert_eq!(gateway.upload(chunk("r", 2, b"x")).await.0, 409);
    assert_eq!(gateway.complete("r").await.0, 409);
    assert_eq!(gateway.delete_upload("r").await.0, 200);
    assert_eq!(gateway.status("r").await.0, 404);
    // And then the session may begin anew.
    *gateway.validation.verdict.lock() = Verdict::Accept;
    gateway.upload_well(chunk("r", 1, b"y")).await;
    gateway.comes_out_as("r", "upload_r", b"y").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_with_chunks_missing_names_them_and_the_upload_stays_open() {
    let gateway = TestGateway::start().await;
    for number in [0, 1, 4] {
        gateway.upload_well(chunk("m", number, &[number as u8; 10])).await;
    }
    let (status, body) = gateway.complete("m").await;
    assert_eq!((status, &body["missing"]), (409, &json!([2, 3])), "{body}");
    message(&body);
    gateway.upload_well(chunk("m", 2, &[2; 10]).text("totalChunks", 6)).await;
    assert_eq!(gateway.complete("m").await.1["missing"], json!([3, 5]));
    assert_eq!(gateway.status("m").await.1, json!({"status": "pending"}));
    for number in [3, 5] {
        gateway.upload_well(chunk("m", number, &[number as u8; 10])).await;
    }
    let source: Vec<u8> = (0..6).flat_map(|number| [number; 10]).collect();
    gateway.comes_out_as("m", "upload_m", &source).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_a_thousand_missing_chunks_are_named() {
    let gateway = TestGateway::start().await;
    gateway.upload_well(chunk("m", 1_000_000, b"x")).await;
    let (status, body) = gateway.complete("m").await;
    let missing = body["missing"].as_array().unwrap();
    assert_eq!((status, missing.len(), &missing[0], &missing[999]), (409, 1000, &json!(1), &json!(1000)));
    assert!(message(&body).contains("999999"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_beyond_the_announced_total_are_refused() {
    let gateway = TestGateway::start().await;
    gateway.upload_well(chunk("b", 1, b"x").text("totalChunks", 2)).await;
    let (status, body) = gateway.upload(chunk("b", 3, b"x")).await;
    assert_eq!(status, 400, "{body}");
    assert!(message(&body).starts_with("chunkNumber: "), "{body}");
    gateway.upload_well(chunk("b", 2, b"y")).await;
    gateway.comes_out_as("b", "upload_b", b"xy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_contradict_the_announced_one_are_409_and_the_upload_stays_open() {
    let gateway = TestGateway::start().await;
    gateway.upload_well(chunk("c", 1, b"abc").text("fileSize", 6)).await;
    gateway.upload_well(chunk("c", 2, b"de")).await;
    let (status, body) = gateway.complete("c").await;
    assert_eq!(status, 409);
    assert!(message(&body).contains('5') && message(&body).contains('6'), "{body}");
    assert_eq!(gateway.status("c").await.1, json!({"status": "pending"}));
    gateway.upload_well(chunk("c", 2, b"def")).await;
    gateway.comes_out_as("c", "upload_c", b"abcdef").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_twice_answers_200_and_nothing_happens_twice() {
    let gateway = TestGateway::start().await;
    gateway.work.close();
    gateway.upload_well(chunk("t", 1, b"x")).await;
    gateway.complete_well("t").await;
    gateway.complete_well("t").await;
    gateway.work.open();
    gateway.outcome("t").await;
    let listed = gateway.list().await;
    gateway.complete_well("t").await;
    assert_eq!(gateway.outcome("t").await, json!({"status": "completed"}));
    assert_eq!((gateway.list().await, listed.len()), (listed, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_sessions_are_404_everywhere() {
    let gateway = TestGateway::start().await;
    for (status, body) in [gateway.complete("u").await, gateway.status("u").await, gateway.delete_upload("u").await] {
        assert_eq!(status, 404, "{body}");
        assert!(message(&body).contains("`u`"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_after_completion_is_409_and_changes_nothing() {
    let gateway = TestGateway::start().await;
    gateway.work.close();
    gateway.upload_well(chunk("l", 1, b"first")).await;
    gateway.complete_well("l").await;
    let late = async |number: u32| {
        for form in [chunk("l", number, b"later"), super::bytes_first("l", number, b"later")] {
            let (status, body) = gateway.upload(form).await;
            assert_eq!(status, 409, "{body}");
            message(&body);
        }
    };
    late(1).await;
    late(2).await;
    gateway.work.open();
    assert_eq!(gateway.outcome("l").await, json!({"status": "completed"}));
    late(1).await;
    gateway.is_stored("upload_l", b"first");
    assert_eq!(gateway.list().await[0]["total_chunks"], 1);
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_whose_files_would_meet_at_one_path_are_told_apart() {
    let gateway = TestGateway::start().await;
    gateway.upload_well(chunk("2_3", 1, b"one").text("fileName", "a")).await;
    let (status, body) = gateway.upload(chunk("3", 1, b"two").text("fileName", "a_2")).await;
    assert_eq!(status, 409, "{body}");
    assert!(message(&body).contains("largefiles/a_2_3"), "{body}");
    let began = std::time::Instant::now();
    while gateway.status("3").await.0 != 404 {
        assert!(began.elapsed() < PATIENCE, "the refused upload stays");
    }
    // Nor when the name is told last, nor when the first one is stored.
    gateway.upload_well(chunk("3", 1, b"two")).await;
    let with_name = json!({"sessionId": "3", "fileName": "a_2"});
    assert_eq!(gateway.post("/fileupload/complete_upload/").json(&with_name).answer().await.0, 409);
    gateway.comes_out_as("2_3", "a_2_3", b"one").await;
    assert_eq!(gateway.post("/fileupload/complete_upload/").json(&with_name).answer().await.0, 409);
    // A delete of the second leaves the first one's file alone.
    assert_eq!(gateway.delete_upload("3").await.0, 200);
    gateway.is_stored("a_2_3", b"one");
    assert_eq!(gateway.delete_upload("2_3").await.0, 200);
    gateway.upload_well(chunk("3", 1, b"two").text("fileName", "a_2")).await;
    gateway.comes_out_as("3", "a_2_3", b"two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_there_already_is_not_replaced() {
    let gateway = TestGateway::start().await;
    std::fs::create_dir_all(gateway.stored("largefiles")).unwrap();
    std::fs::write(gateway.stored("largefiles/x_1.txt"), "another program's").unwrap();
    gateway.upload_well(chunk("1", 1, b"ours").text("fileName", "x.txt")).await;
    gateway.complete_well("1").await;
    let outcome = gateway.outcome("1").await;
    assert_eq!(outcome["status"], "failed", "{outcome}");
    assert_eq!(gateway.delete_upload("1").await.0, 200);
    gateway.is_stored("x_1.txt", b"another program's");
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_removes_file_chunks_and_record_in_every_state() {
    let gateway = TestGateway::start().await;
    let source = noise(1 << 20, 1);
    gateway.upload_well(chunk("open", 1, &source)).await;
    gateway.upload_well(chunk("stored", 1, &source)).await;
    gateway.comes_out_as("stored", "upload_stored", &source).await;
    gateway.work.close();
    gateway.upload_well(chunk("owed", 1, &source)).await;
    gateway.complete_well("owed").await;
    for session in ["open", "stored", "owed"] {
        assert_eq!(gateway.delete_upload(session).await, (200, json!({"status": "upload deleted"})));
        assert_eq!(gateway.status(session).await.0, 404);
        assert_eq!(gateway.delete_upload(session).await.0, 404);
    }
    gateway.work.open();
    assert_eq!((gateway.stored_names(), gateway.list().await.len()), (Vec::new(), 0));
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_removes_its_own_version_only() {
    let gateway = TestGateway::start().await;
    gateway.upload_well(chunk("v", 1, b"ours")).await;
    gateway.comes_out_as("v", "upload_v", b"ours").await;
    // Another program puts its own file in the place.
    let other = gateway.stored("largefiles/other");
    std::fs::write(&other, "theirs").unwrap();
    std::fs::rename(&other, gateway.stored("largefiles/upload_v")).unwrap();
    assert_eq!(gateway.delete_upload("v").await.0, 200);
    gateway.is_stored("upload_v", b"theirs");
    assert_eq!(gateway.list().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_restart() {
    let gateway = TestGateway::start().await;
    let source = noise(700_000, 2);
    let pieces: Vec<&[u8]> = source.chunks(100_000).collect();
    for (number, bytes) in pieces.iter().enumerate().filter(|(number, _)| number % 2 == 0) {
        gateway.upload_well(chunk("again", number + 1, bytes).text("fileName", "r.bin")).await;
    }
    gateway.upload_well(chunk("owed", 1, &source)).await;
    gateway.work.close();
    gateway.complete_well("owed").await;
    gateway.work.arrival().await;
    // The work that was begun ends as if the process had.
    let held = gateway.work.clone();
    let stopping = tokio::spawn(gateway.stop());
    held.open();
    let folder = stopping.await.unwrap();

    let gateway = TestGateway::start_in(folder, Options::default()).await;
    assert_eq!(gateway.outcome("owed").await, json!({"status": "completed"}));
    gateway.is_stored("upload_owed", &source);
    assert_eq!(gateway.complete("again").await.1["missing"], json!([2, 4, 6]));
    for (number, bytes) in pieces.iter().enumerate().filter(|(number, _)| number % 2 == 1) {
        gateway.upload_well(chunk("again", number + 1, bytes)).await;
    }
    gateway.comes_out_as("again", "r_again.bin", &source).await;
    gateway.nothing_is_staged().await;
}
