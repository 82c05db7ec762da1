//! Dialect B over real sockets: each row of its table and each note on it.

mod admission;
mod assembling;
mod concurrency;
mod fields;
mod listing;
mod numbers;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::{Answered, TestGateway};
use crate::support::multipart::Form;
use crate::support::{PATIENCE, sha256};

/// A chunk as most clients send it.
fn chunk(session: &str, number: impl ToString, bytes: &[u8]) -> Form {
    Form::new().text("sessionId", session).text("chunkNumber", number).file("chunk", bytes)
}

/// The bytes first, as the web client in the field sends them.
fn bytes_first(session: &str, number: impl ToString, bytes: &[u8]) -> Form {
    Form::new().file("chunk", bytes).text("sessionId", session).text("chunkNumber", number)
}

impl TestGateway {
    async fn upload(&self, form: Form) -> (u16, Value) {
        let request = self.post("/fileupload/upload_chunk/").header("content-type", Form::CONTENT_TYPE);
        request.body(form.body()).answer().await
    }

    async fn upload_well(&self, form: Form) {
        assert_eq!(self.upload(form).await, (200, json!({"status": "chunk uploaded"})));
    }

    async fn complete(&self, session: &str) -> (u16, Value) {
        self.post("/fileupload/complete_upload/").json(&json!({ "sessionId": session })).answer().await
    }

    async fn complete_well(&self, session: &str) {
        assert_eq!(self.complete(session).await, (200, json!({"status": "file assembly task started"})));
    }

    async fn status(&self, session: &str) -> (u16, Value) {
        self.get(&format!("/fileupload/assembly_status/{session}/")).answer().await
    }

    /// Polls as the web client does, and gives the status that the upload comes to.
    async fn outcome(&self, session: &str) -> Value {
        let began = Instant::now();
        loop {
            let (code, body) = self.status(session).await;
            assert_eq!(code, 200, "{body}");
            match body["status"].as_str().unwrap() {
                "in_progress" => assert!(began.elapsed() < PATIENCE, "it is never assembled"),
                "pending" => panic!("an upload that is complete is pending"),
                _ => return body,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn delete_upload(&self, session: &str) -> (u16, Value) {
        self.delete(&format!("/fileupload/delete_upload/{session}/")).answer().await
    }

    async fn list(&self) -> Vec<Value> {
        let (code, body) = self.get("/fileupload/list_completed_uploads/").answer().await;
        assert_eq!(code, 200, "{body}");
        body.as_array().unwrap().clone()
    }

    /// Completes the upload; its file must be `source`, and nothing may be left in staging.
    async fn comes_out_as(&self, session: &str, file_name: &str, source: &[u8]) {
        self.complete_well(session).await;
        assert_eq!(self.outcome(session).await, json!({"status": "completed"}));
        self.is_stored(file_name, source);
    }

    fn is_stored(&self, file_name: &str, source: &[u8]) {
        let path = self.stored("largefiles").join(file_name);
        let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(stored.len(), source.len());
        assert!(sha256(&stored) == sha256(source), "{file_name} is not what was sent");
    }

    fn stored_names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.stored("largefiles")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn message(body: &Value) -> &str {
    assert_eq!(body["status"], "error", "{body}");
    body["message"].as_str().unwrap()
}

/// No such upload, and nothing in staging, as soon as what was refused has been taken back.
async fn nothing_is_left(gateway: &TestGateway, session: &str) {
    let began = Instant::now();
    while gateway.status(session).await.0 != 404 || !gateway.staged().is_empty() {
        assert!(began.elapsed() < PATIENCE, "left: {:?}", gateway.staged());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
