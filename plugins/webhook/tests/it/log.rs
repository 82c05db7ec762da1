//! What is logged, and what never is.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tidegate_plugin_sdk::testing::{MemoryFile, announcement, publication};
use tidegate_plugin_sdk::{Admit, FollowUp, PostAssembly, Validate};

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

/// Receivers repeat in their errors what they were asked with.
#[tokio::test]
async fn what_a_receiver_repeats_of_the_path_and_of_secrets_is_kept_nowhere() {
    for (status, body) in [
        ("404 x", "<pre>Cannot POST /hook?token=hunter2</pre>"),
        ("401 x", "Incorrect API key provided: sk-HUNTER2. The token hunter2 is wrong, too"),
        ("400 x", "no signature by MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("200 x", r#"{"deny": "sk-HUNTER2", "reject": "hunter2"}"#),
    ] {
        let receiver = Receiver::saying(status, "", body).await;
        let options = "secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']\nsecret_headers = ['Authorization: Bearer sk-HUNTER2']";
        let webhook = receiver.asked_with(options);
        let file = MemoryFile::new("a", "");
        let follow_up = webhook.follow_up(&file, &publication("event-1")).await.unwrap();
        let not_admitted = webhook.admit(&announcement("a")).await.unwrap_err();
        let not_checked = webhook.validate(&file).await.unwrap_err();
        for said in [format!("{follow_up:?}"), not_admitted.to_string(), not_checked.to_string()] {
            for secret in ["hunter2", "HUNTER2", "MfKQ9r8", "/hook"] {
                assert!(!said.contains(secret), "{secret}: {said}");
            }
        }
    }
}

/// What is wrong with an answer is cut after some 300 characters.
#[tokio::test]
async fn a_secret_is_not_cut_to_one_that_is_not_recognised() {
    for before in 270..280 {
        let body = format!(r#"{{"deny": "{}sk-HUNTER2 and more"}}"#, "x".repeat(before));
        let receiver = Receiver::saying("200 x", "", &body).await;
        let webhook = receiver.asked_with("secret_headers = ['Authorization: Bearer sk-HUNTER2']");
        let said = webhook.admit(&announcement("a")).await.unwrap_err().to_string();
        assert!(said.contains("xxx…") && !said.contains("xs"), "{said}");
    }
}
