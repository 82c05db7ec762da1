//! What is logged, and what never is.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tidegate_plugin_sdk::testing::{MemoryFile, publication};
use tidegate_plugin_sdk::{FollowUp, PostAssembly};

use crate::receiver::Receiver;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_try_is_one_line_without_secrets() {
    let lines = Lines::default();
    let (writer, ansi) = (lines.clone(), false);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(ansi)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let receiver = Receiver::saying("503 x", "", "you sent: Bearer hunter2, for a").await;
    let options =
        "secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']\nsecret_headers = ['Authorization: Bearer hunter2']";
    let webhook = receiver.asked_with(options);
    let follow_up = webhook.follow_up(&MemoryFile::new("a", ""), &publication("event-1")).await.unwrap();
    let FollowUp::Retry { reason, .. } = follow_up else { panic!("{follow_up:?}") };
    assert!(reason.contains("you sent: …, for a"), "{reason}");

    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told: Vec<_> = logged.lines().filter(|line| line.contains("tidegate::webhook")).collect();
    assert_eq!(told.len(), 1, "{logged}");
    for part in ["INFO", "event-1", "127.0.0.1:", "status=503", "took_ms=", "attempt=1", "\"retry\""] {
        assert!(told[0].contains(part), "{part}: {}", told[0]);
    }
    for secret in ["hunter2", "MfKQ9r8", "/hook"] {
        assert!(!logged.contains(secret), "{secret}: {logged}");
    }
}
