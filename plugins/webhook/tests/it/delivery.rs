//! What is sent: events, signatures, headers.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tidegate_plugin_sdk::testing::{MemoryFile, announcement, publication};
use tidegate_plugin_sdk::{Admission, Admit, ErrorKind, FollowUp, Plugin, PostAssembly, Validate, Verdict};

use crate::receiver::Receiver;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl0Xn2v0Xn2v0Xn2v0Xn0=";

fn verify(secret: &str, request: &crate::receiver::Request) -> Result<(), standardwebhooks::WebhookError> {
    standardwebhooks::Webhook::new(secret).unwrap().verify(&request.body, &request.headers)
}

#[tokio::test]
async fn a_publication_is_told_as_a_signed_event() {
    let receiver = Receiver::saying("200 OK", "", "").await;
    let webhook = receiver.asked_with(&format!("secrets = ['{OLD}']\nsource = 'https://files.example.org'"));
    let file = MemoryFile::new("a b.json", "{}").declared("application/json");
    let told = publication("event-1").with_sha256(Some("ab".repeat(32)));
    assert_eq!(webhook.follow_up(&file, &told).await.unwrap(), FollowUp::Done);
    assert!(!webhook.reads_content());

    let request = receiver.request();
    assert_eq!(request.first_line, "POST /hook?token=hunter2 HTTP/1.1");
    assert_eq!(request.header("content-type"), "application/cloudevents+json");
    assert_eq!(request.header("host"), format!("127.0.0.1:{}", receiver.port));
    assert!(request.header("user-agent").starts_with("tidegate-webhook/"));
    assert_eq!(request.header("webhook-id"), "event-1");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(request.header("webhook-timestamp").parse().unwrap()) < 60);
    verify(OLD, &request).unwrap();
    verify(NEW, &request).unwrap_err();
    assert_eq!(
        request.event(),
        json!({
            "specversion": "1.0",
            "id": "event-1",
            "source": "https://files.example.org",
            "type": "tidegate.file.published",
            "subject": "test/tenant/a%20b.json",
            "time": "2026-01-02T03:04:05.678+00:00",
            "datacontenttype": "application/json",
            "data": {
                "stage": "post_assembly", "id": "question-1", "collection": "test", "tenant": "tenant",
                "file_name": "a b.json", "size": 2, "content_type": "application/json",
                "version": "0199c3a2f5d27b3e9a4c1d2e3f405162", "sha256": "ab".repeat(32),
                "published": "2026-01-02T03:04:05.678+00:00", "attempt": 1,
            },
        })
    );
    webhook.close().await;
}

#[tokio::test]
async fn each_secret_signs_so_that_they_can_be_changed() {
    let receiver = Receiver::saying("204 No Content", "", "").await;
    let webhook = receiver.asked_with(&format!("secrets = ['{NEW}', '{OLD}']"));
    webhook.follow_up(&MemoryFile::new("a", ""), &publication("1")).await.unwrap();
    let mut request = receiver.request();
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);
    verify(OLD, &request).unwrap();
    verify(NEW, &request).unwrap();
    request.body.push(b' ');
    verify(OLD, &request).unwrap_err();
}

#[tokio::test]
async fn without_secrets_nothing_is_signed() {
    let receiver = Receiver::saying("200 OK", "", "").await;
    receiver.asked().follow_up(&MemoryFile::new("a", ""), &publication("1")).await.unwrap();
    let request = receiver.request();
    assert!(!request.headers.contains_key("webhook-signature"));
    assert_eq!(request.header("webhook-id"), "1");
}

#[tokio::test]
async fn a_second_try_has_the_same_id_and_the_connection_is_kept() {
    let receiver = Receiver::saying("500 Internal Server Error", "", "").await;
    let webhook = receiver.asked_with(&format!("secrets = ['{OLD}']"));
    for attempt in 1..=3 {
        let mut publication = publication("event-1");
        publication.attempt = attempt;
        let follow_up = webhook.follow_up(&MemoryFile::new("a", ""), &publication).await.unwrap();
        assert!(matches!(follow_up, FollowUp::Retry { .. }), "{follow_up:?}");
    }
    let requests = receiver.requests();
    assert_eq!((requests.len(), receiver.connections()), (3, 1));
    for (request, attempt) in requests.iter().zip(1..) {
        assert_eq!(request.header("webhook-id"), "event-1");
        assert_eq!(request.event()["data"]["attempt"], attempt);
        verify(OLD, request).unwrap();
    }
}

#[tokio::test]
async fn further_headers_go_along() {
    let receiver = Receiver::saying("200 OK", "", "").await;
    let webhook = receiver.asked_with("secret_headers = ['Authorization: Bearer a b', 'X-Plant: 7']");
    webhook.follow_up(&MemoryFile::new("a", ""), &publication("1")).await.unwrap();
    let request = receiver.request();
    assert_eq!((request.header("authorization"), request.header("x-plant")), ("Bearer a b", "7"));
}

#[tokio::test]
async fn questions_of_the_other_stages_are_events_too() {
    let receiver = Receiver::saying("200 OK", "", "{}").await;
    let webhook = receiver.asked_with(&format!("secrets = ['{OLD}']"));
    let announced = announcement("a.json").with(Some(7), None);
    assert_eq!(webhook.admit(&announced).await.unwrap(), Admission::allow());
    assert_eq!(webhook.validate(&MemoryFile::new("a.json", "[]")).await.unwrap(), Verdict::Accept);
    for (request, kind, stage) in [
        (&receiver.requests()[0], "tidegate.file.admit", "admit"),
        (&receiver.requests()[1], "tidegate.file.validate", "validate"),
    ] {
        verify(OLD, request).unwrap();
        let event = request.event();
        assert_eq!((&event["type"], &event["data"]["stage"]), (&json!(kind), &json!(stage)));
        assert_eq!((&event["id"], request.header("webhook-id")), (&json!("question-1"), "question-1"));
        assert_eq!(event["subject"], "test/tenant/a.json");
        assert!(event["data"].get("content_base64").is_none());
    }
}

#[tokio::test]
async fn the_content_goes_along_where_it_is_asked_for() {
    let receiver = Receiver::saying("200 OK", "", "").await;
    let webhook = receiver.asked_with("content = 'base64'\nmax_content = '4 B'");
    webhook.validate(&MemoryFile::new("a.bin", vec![255, 0, 1, 2])).await.unwrap();
    assert_eq!(receiver.request().event()["data"]["content_base64"], "/wABAg==");

    let large = Receiver::saying("200 OK", "", "").await;
    let content = vec![b'x'; 900_000];
    let signing = large.asked_with(&format!("content = 'base64'\nsecrets = ['{OLD}']"));
    signing.validate(&MemoryFile::new("a.bin", content)).await.unwrap();
    verify(OLD, &large.request()).unwrap();
    assert_eq!(large.request().event()["data"]["content_base64"].as_str().unwrap(), "eHh4".repeat(300_000));

    let error = webhook.validate(&MemoryFile::new("a.bin", vec![0; 5])).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, false));
    assert!(error.to_string().contains("max_content"), "{error}");
    let error = webhook.validate(&MemoryFile::new("a.bin", "abc").breaking_at(2)).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Read, true));
    assert_eq!(receiver.requests().len(), 1);
}
