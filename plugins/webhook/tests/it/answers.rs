//! What the answers of receivers mean.

use std::time::{Duration, SystemTime};

use tidegate_plugin_sdk::testing::{MemoryFile, announcement, publication};
use tidegate_plugin_sdk::{
    Admission, Admit, Amendment, ErrorKind, FollowUp, PluginError, PostAssembly, Validate, Verdict,
};

use crate::receiver::Receiver;

async fn followed_up(status: &str, headers: &str, body: &str) -> FollowUp {
    let receiver = Receiver::saying(status, headers, body).await;
    receiver.asked().follow_up(&MemoryFile::new("a.json", "{}"), &publication("1")).await.unwrap()
}

/// Reason and wait of a retry.
async fn retried(status: &str, headers: &str, body: &str) -> (String, Option<Duration>) {
    match followed_up(status, headers, body).await {
        FollowUp::Retry { reason, after } => (reason, after),
        other => panic!("{status}: {other:?}"),
    }
}

#[tokio::test]
async fn any_success_is_done_whatever_else_is_said() {
    for status in ["200 OK", "201 Created", "202 Accepted", "204 No Content", "299 Fine"] {
        assert_eq!(followed_up(status, "", "").await, FollowUp::Done, "{status}");
    }
    for body in [
        "ok",
        "<!doctype html><p>Thank you",
        r#"{"received": true}"#,
        r#"{"status": "ok", "retry": null}"#,
        r#"{"retry": false}"#,
        r#"{"retry": {"after": "soon"}}"#,
        r#"{"error": "no"}"#,
        "[]",
        "null",
        "{",
        "\u{0}\u{1}",
    ] {
        assert_eq!(followed_up("200 OK", "content-type: application/json\r\n", body).await, FollowUp::Done, "{body}");
    }
}

#[tokio::test]
async fn a_success_can_ask_for_more() {
    let (reason, after) = retried("200 OK", "", r#"{"retry": {"reason": "busy", "after": "90s"}}"#).await;
    assert_eq!((reason.as_str(), after), ("busy", Some(Duration::from_secs(90))));
    let (_, after) = retried("200 OK", "", r#"{"retry": {"reason": "busy", "after": "300d"}}"#).await;
    assert_eq!(after, Some(Duration::from_secs(86_400)));
    assert_eq!(followed_up("200 OK", "", r#"{"give_up": {"reason": "no"}}"#).await, FollowUp::give_up("no"));
}

#[tokio::test]
async fn gone_switches_the_hook_off() {
    let FollowUp::Disable { reason } = followed_up("410 Gone", "", "moved out").await else { panic!("not disabled") };
    assert!(reason.contains("410 Gone: moved out"), "{reason}");
}

#[tokio::test]
async fn any_other_status_is_tried_again() {
    for status in
        ["400 Bad Request", "401 No", "403 No", "404 Not Found", "429 Slow", "500 Oops", "502 x", "503 x", "599 x"]
    {
        let (reason, after) = retried(status, "", "").await;
        assert!(reason.contains(&status[..3]) && after.is_none(), "{reason}");
    }
    let (reason, _) =
        retried("500 Oops", "", &format!("<h1>\r\n\tDown\u{1b}[31m\u{202e}</h1>{}", "x".repeat(50_000))).await;
    assert!(reason.contains(" answered 500 Internal Server Error: <h1> Down [31m</h1>xx"), "{reason}");
    assert!(reason.chars().count() < 300 && !reason.contains(char::is_control), "{reason}");
}

#[tokio::test]
async fn a_receiver_says_when() {
    for status in ["429 Too Many Requests", "503 Service Unavailable", "500 Internal Server Error"] {
        let (_, after) = retried(status, "retry-after: 120\r\n", "").await;
        assert_eq!(after, Some(Duration::from_secs(120)), "{status}");
    }
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(600));
    let (_, after) = retried("503 x", &format!("Retry-After: {date}\r\n"), "").await;
    assert!(after.is_some_and(|after| (590..=600).contains(&after.as_secs())), "{after:?}");
    for (value, expected) in [("8640000", Some(86_400)), ("99999999999999999999", Some(86_400)), ("soon", None)] {
        let (_, after) = retried("503 x", &format!("retry-after: {value}\r\n"), "").await;
        assert_eq!(after, expected.map(Duration::from_secs), "{value}");
    }
}

async fn admitted(status: &str, body: &str) -> Result<Admission, PluginError> {
    Receiver::saying(status, "", body).await.asked().admit(&announcement("a.json")).await
}

async fn validated(status: &str, body: &str) -> Result<Verdict, PluginError> {
    Receiver::saying(status, "", body).await.asked().validate(&MemoryFile::new("a.json", "{}")).await
}

#[tokio::test]
async fn a_file_is_allowed_amended_or_denied() {
    for (status, body) in [("200 OK", ""), ("204 No Content", ""), ("200 OK", "{}")] {
        assert_eq!(admitted(status, body).await.unwrap(), Admission::allow());
        assert_eq!(validated(status, body).await.unwrap(), Verdict::Accept);
    }
    let amended = admitted("200 OK", r#"{"amend": {"file_name": "b.json"}}"#).await.unwrap();
    assert_eq!(amended, Admission::Allow(Amendment { file_name: Some("b.json".to_owned()), content_type: None }));
    let denied = admitted("200 OK", r#"{"deny": {"status": 409, "reason": "closed"}}"#).await.unwrap();
    assert_eq!(denied, Admission::deny(409, "closed"));
    let verdict = validated("200 OK", r#"{"reject": [{"path": "/a", "code": "old", "message": "too old"}]}"#).await;
    let Verdict::Reject(issues) = verdict.unwrap() else { panic!("accepted") };
    assert_eq!((issues[0].path.as_str(), issues[0].message.as_str()), ("/a", "too old"));
}

#[tokio::test]
async fn nonsense_is_no_yes() {
    for body in ["ok", "<html>", "[]", r#"{"received": true}"#, r#"{"deny": true}"#, r#"{"reject": []}"#] {
        for error in [admitted("200 OK", body).await.unwrap_err(), validated("200 OK", body).await.unwrap_err()] {
            assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true), "{body}");
            assert!(error.to_string().contains("ask 127.0.0.1:"), "{error}");
        }
    }
    let long = format!("{{}}{}", " ".repeat(64 * 1024));
    for error in [admitted("200 OK", &long).await.unwrap_err(), validated("200 OK", &long).await.unwrap_err()] {
        assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, false));
        assert!(error.to_string().contains("65536 bytes"), "{error}");
    }
    let fits = format!("{{}}{}", " ".repeat(64 * 1024 - 2));
    assert_eq!(admitted("200 OK", &fits).await.unwrap(), Admission::allow());
}

#[tokio::test]
async fn a_status_that_is_no_success_is_an_error() {
    for (status, retryable) in [
        ("500 x", true),
        ("503 x", true),
        ("429 x", true),
        ("400 x", false),
        ("404 x", false),
        ("410 x", false),
        ("302 x", false),
    ] {
        // What is said besides does not count.
        for error in [admitted(status, "{}").await.unwrap_err(), validated(status, "{}").await.unwrap_err()] {
            assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, retryable), "{error}");
            assert!(error.to_string().contains(&status[..3]), "{error}");
        }
    }
}
