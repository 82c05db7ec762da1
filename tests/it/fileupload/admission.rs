//! Hooks that are asked before the first byte counts: once, when the name is known, and what they say.

use serde_json::json;
use tidegate::files::port::{Admission, Denial};

use super::{bytes_first, chunk, message, nothing_is_left};
use crate::support::gateway::{Answered, Options, TestGateway};

async fn gateway() -> TestGateway {
    TestGateway::start_with(Options { admits: true, ..Options::default() }).await
}

fn denied(status: u16) -> Admission {
    Admission::Deny(Denial { status, reason: "not on a Sunday".to_owned() })
}

fn renamed(file_name: &str) -> Admission {
    Admission::Allow { file_name: file_name.to_owned(), content_type: None }
}

impl TestGateway {
    fn will_say(&self, admission: Admission) {
        self.validation.admissions.lock().push(admission);
    }

    /// The names that the hooks were asked about, each with the size that was known.
    fn asked(&self) -> Vec<(String, Option<u64>)> {
        self.validation.announced.lock().iter().map(|file| (file.file_name.clone(), file.size)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_asked_about_once_when_its_name_is_known() {
    let gateway = gateway().await;
    gateway.upload_well(chunk("s", 1, b"a")).await;
    assert_eq!(gateway.asked(), []);
    gateway.upload_well(chunk("s", 2, b"b").text("fileName", "a.txt").text("fileSize", 4)).await;
    gateway.upload_well(bytes_first("s", 3, b"c").text("fileName", "a.txt").text("fileSize", 4)).await;
    gateway.upload_well(chunk("s", 4, b"d").text("userId", "me")).await;
    gateway.comes_out_as("s", "a_s.txt", b"abcd").await;
    assert_eq!(gateway.asked(), [("a.txt".to_owned(), Some(4))]);
    // A name that was never told is known at completion.
    gateway.upload_well(chunk("t", 1, b"a")).await;
    gateway.comes_out_as("t", "upload_t", b"a").await;
    assert_eq!(gateway.asked().last(), Some(&("upload".to_owned(), None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_first_chunk_has_the_hooks_status_and_leaves_no_trace() {
    let gateway = gateway().await;
    for (status, form) in [
        (403, chunk("s", 1, b"a").text("fileName", "a.txt")),
        (451, bytes_first("s", 1, b"a").text("fileName", "a.txt")),
    ] {
        gateway.will_say(denied(status));
        let (code, body) = gateway.upload(form).await;
        assert_eq!((code, message(&body)), (status, "not on a Sunday"));
        nothing_is_left(&gateway, "s").await;
    }
    // Nothing is remembered of it.
    gateway.upload_well(chunk("s", 1, b"a").text("fileName", "a.txt")).await;
    gateway.comes_out_as("s", "a_s.txt", b"a").await;
    assert_eq!(gateway.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_name_is_denied_at_completion_stays_open() {
    let gateway = gateway().await;
    gateway.upload_well(chunk("s", 1, b"a")).await;
    gateway.will_say(denied(403));
    let complete = json!({ "sessionId": "s", "fileName": "bad.txt" });
    let (code, body) = gateway.post("/fileupload/complete_upload/").json(&complete).answer().await;
    assert_eq!((code, message(&body)), (403, "not on a Sunday"));
    assert_eq!(gateway.status("s").await, (200, json!({"status": "pending"})));
    let complete = json!({ "sessionId": "s", "fileName": "good.txt" });
    assert_eq!(gateway.post("/fileupload/complete_upload/").json(&complete).answer().await.0, 200);
    assert_eq!(gateway.outcome("s").await, json!({"status": "completed"}));
    gateway.is_stored("good_s.txt", b"a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_stored_under_the_name_that_it_was_admitted_with() {
    let gateway = gateway().await;
    gateway.will_say(renamed("clean name.txt"));
    gateway.upload_well(chunk("s", 1, b"a").text("fileName", "dirty name.txt")).await;
    // The client goes on by its own name, and that contradicts nothing.
    gateway.upload_well(chunk("s", 2, b"b").text("fileName", "dirty name.txt")).await;
    let (code, body) = gateway.upload(chunk("s", 2, b"b").text("fileName", "clean name.txt")).await;
    assert_eq!(code, 409, "{body}");
    gateway.comes_out_as("s", "clean name_s.txt", b"ab").await;
    assert_eq!(gateway.list().await[0]["file_name"], "clean name_s.txt");
    assert_eq!(*gateway.validation.validated.lock(), ["clean name.txt"], "the checks see it by that name");
    assert_eq!(gateway.delete_upload("s").await.0, 200);
    assert_eq!(gateway.stored_names(), Vec::<String>::new());
}

/// The path is reserved by the name that the file will have.
#[tokio::test(flavor = "multi_thread")]
async fn two_uploads_cannot_be_admitted_to_one_path() {
    let gateway = gateway().await;
    gateway.upload_well(chunk("2_3", 1, b"a").text("fileName", "a.txt")).await;
    gateway.will_say(renamed("a_2.txt"));
    let (code, body) = gateway.upload(chunk("3", 1, b"b").text("fileName", "b.txt")).await;
    assert_eq!(code, 409, "{body}");
    gateway.comes_out_as("2_3", "a_2_3.txt", b"a").await;
}

/// What the checks found is told as a list, as in every dialect.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_upload_lists_its_issues() {
    use tidegate::files::port::{Issue, Verdict};
    let gateway = gateway().await;
    let issue = |path: &str| Issue { path: path.to_owned(), code: "bad".to_owned(), message: "no".to_owned() };
    *gateway.validation.verdict.lock() = Verdict::Reject(vec![issue("/a/0"), issue("")]);
    gateway.upload_well(chunk("s", 1, b"a")).await;
    gateway.complete_well("s").await;
    let issues =
        json!([{"path": "/a/0", "code": "bad", "message": "no"}, {"path": "", "code": "bad", "message": "no"}]);
    let outcome = gateway.outcome("s").await;
    assert_eq!(outcome, json!({"status": "failed", "message": "/a/0: no; no", "issues": issues}));
}
