//! Receivers that do not answer as they should: none of them costs more time than `timeout`, or memory to speak of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_plugin_sdk::testing::{MemoryFile, announcement, publication};
use tidegate_plugin_sdk::{Admit, ErrorKind, FollowUp, PluginError, PostAssembly, Validate};
use tidegate_plugin_webhook::Webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::receiver::{Receiver, soon, webhook};

const SHORT: &str = "timeout = '1s'";

async fn followed_up(webhook: &Webhook) -> FollowUp {
    soon(webhook.follow_up(&MemoryFile::new("a", ""), &publication("1"))).await.unwrap()
}

async fn not_admitted(webhook: &Webhook) -> PluginError {
    soon(webhook.admit(&announcement("a"))).await.unwrap_err()
}

async fn drip(stream: &mut TcpStream, beginning: &str) {
    let _ = stream.write_all(beginning.as_bytes()).await;
    while stream.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An endless answer, and how much of it was taken.
async fn flood(stream: &mut TcpStream, beginning: &str, written: &AtomicUsize) {
    let _ = stream.write_all(beginning.as_bytes()).await;
    let piece = vec![b'x'; 64 * 1024];
    while let Ok(length) = stream.write(&piece).await {
        written.fetch_add(length, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn one_that_never_answers() {
    let receiver = Receiver::with("127.0.0.1:0", |mut stream, seen| async move {
        seen.read(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let webhook = receiver.asked_with(SHORT);
    let started = Instant::now();
    let error = not_admitted(&webhook).await;
    let took = started.elapsed();
    assert!((900..6_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true));
    assert!(error.to_string().contains("no answer within 1s (timeout)"), "{error}");
    let follow_up = followed_up(&webhook).await;
    assert!(matches!(&follow_up, FollowUp::Retry { reason, .. } if reason.contains("timeout")), "{follow_up:?}");
}

#[tokio::test]
async fn one_that_never_shakes_hands() {
    let receiver = Receiver::with("127.0.0.1:0", |stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let url = format!("https://127.0.0.1:{}/", receiver.port);
    let webhook = webhook(&url, "timeout = '1s'\nallow_networks = ['127.0.0.1/32']");
    let error = not_admitted(&webhook).await;
    assert!(error.retryable && error.to_string().contains("timeout"), "{error}");
}

#[tokio::test]
async fn one_that_never_reads() {
    let receiver = Receiver::with("127.0.0.1:0", |stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let webhook = receiver.asked_with("timeout = '1s'\ncontent = 'base64'\nmax_content = '32 MiB'");
    let error = soon(webhook.validate(&MemoryFile::new("a", vec![0; 32 << 20]))).await.unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
}

#[tokio::test]
async fn one_whose_headers_never_end() {
    for beginning in ["H", "HTTP/1.1 200 OK\r\nx-a: "] {
        let receiver = Receiver::with("127.0.0.1:0", move |mut stream, seen| async move {
            seen.read(&mut stream).await;
            drip(&mut stream, beginning).await;
        })
        .await;
        let webhook = receiver.asked_with(SHORT);
        let (error, follow_up) = tokio::join!(not_admitted(&webhook), followed_up(&webhook));
        assert!(error.retryable && matches!(follow_up, FollowUp::Retry { .. }), "{error}");
    }
}

#[tokio::test]
async fn one_whose_body_never_ends() {
    let receiver = Receiver::with("127.0.0.1:0", |mut stream, seen| async move {
        seen.read(&mut stream).await;
        drip(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await;
    })
    .await;
    let webhook = receiver.asked_with(SHORT);
    let error = not_admitted(&webhook).await;
    assert!(error.retryable && error.to_string().contains("timeout"), "{error}");
    // The status is there, and says that it was taken.
    let started = Instant::now();
    assert_eq!(followed_up(&webhook).await, FollowUp::Done);
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn one_that_answers_a_gigabyte() {
    for (status, head) in [
        (200, "content-length: 1000000000\r\n\r\n"),
        (200, "transfer-encoding: chunked\r\n\r\n40000000\r\n"),
        (200, "\r\n"),
        (500, "content-length: 1000000000\r\n\r\n"),
    ] {
        let written = Arc::new(AtomicUsize::new(0));
        let counter = written.clone();
        let receiver = Receiver::with("127.0.0.1:0", move |mut stream, seen| {
            let written = counter.clone();
            async move {
                seen.read(&mut stream).await;
                flood(&mut stream, &format!("HTTP/1.1 {status} x\r\n{head}"), &written).await;
            }
        })
        .await;
        let webhook = receiver.asked();
        let started = Instant::now();
        let error = not_admitted(&webhook).await;
        let follow_up = followed_up(&webhook).await;
        assert!(started.elapsed() < Duration::from_secs(5));
        match status {
            200 => assert_eq!((error.kind, follow_up), (ErrorKind::Limit, FollowUp::Done)),
            _ => assert!(error.retryable && matches!(&follow_up, FollowUp::Retry { reason, .. } if reason.len() < 300)),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // What the sockets' buffers of both calls hold, and not much more.
        let written = written.load(Ordering::Relaxed);
        assert!(written < 24 << 20, "{written}");
    }
}

#[tokio::test]
async fn one_that_answers_a_gigabyte_of_headers() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let receiver = Receiver::with("127.0.0.1:0", move |mut stream, seen| {
        let written = counter.clone();
        async move {
            seen.read(&mut stream).await;
            flood(&mut stream, "HTTP/1.1 200 OK\r\nx-a: ", &written).await;
        }
    })
    .await;
    let error = not_admitted(&receiver.asked()).await;
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(written.load(Ordering::Relaxed) < 24 << 20);
}

#[tokio::test]
async fn one_that_closes_early() {
    for beginning in ["", "HTTP/1.1 200 OK\r\ncontent-le", "no HTTP at all\r\n\r\n"] {
        let receiver = Receiver::with("127.0.0.1:0", move |mut stream, seen| async move {
            seen.read(&mut stream).await;
            let _ = stream.write_all(beginning.as_bytes()).await;
        })
        .await;
        let webhook = receiver.asked();
        let error = not_admitted(&webhook).await;
        assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(matches!(followed_up(&webhook).await, FollowUp::Retry { .. }), "{beginning}");
        assert_eq!(receiver.requests().len(), 2, "it was asked again by itself");
    }
}

#[tokio::test]
async fn one_that_closes_within_its_answer() {
    let receiver = Receiver::with("127.0.0.1:0", |mut stream, seen| async move {
        seen.read(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}").await;
    })
    .await;
    let webhook = receiver.asked();
    let error = not_admitted(&webhook).await;
    assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true), "{error}");
    assert_eq!(followed_up(&webhook).await, FollowUp::Done);
}

/// The gateway has a deadline of its own.
#[tokio::test]
async fn one_whose_asker_goes_away() {
    let closed = Arc::new(Notify::new());
    let notify = closed.clone();
    let receiver = Receiver::with("127.0.0.1:0", move |mut stream, seen| {
        let closed = notify.clone();
        async move {
            seen.read(&mut stream).await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            closed.notify_one();
        }
    })
    .await;
    let webhook = receiver.asked_with("timeout = '60s'");
    let file = announcement("a");
    let asking = webhook.admit(&file);
    assert!(tokio::time::timeout(Duration::from_millis(300), asking).await.is_err());
    soon(closed.notified()).await;
}
