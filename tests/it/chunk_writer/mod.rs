//! Dialect A over real sockets: each row of its table and each note on it. (The page in a browser: tests/e2e.)

mod reading;
mod writing;

use reqwest::RequestBuilder;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use crate::support::gateway::{Answered, TestGateway};

const OCTETS: &str = "application/octet-stream";

impl TestGateway {
    async fn write_text(&self, chunk: &str, index: i64) -> (u16, Value) {
        self.post("/write_chunk").json(&json!({ "chunk": chunk, "index": index })).answer().await
    }

    async fn write_bytes(&self, bytes: impl Into<Vec<u8>>) -> (u16, Value) {
        self.post("/write_chunk_binary").body(bytes.into()).answer().await
    }

    async fn write_well(&self, bytes: &[u8]) {
        let message = format!("{} bytes were appended", bytes.len());
        let expected = json!({ "success": true, "message": message, "size": bytes.len() });
        assert_eq!(self.write_bytes(bytes).await, (200, expected));
    }

    async fn clear_file(&self) {
        let cleared = json!({ "success": true, "message": "the file is empty" });
        assert_eq!(self.post("/clear_file").answer().await, (200, cleared));
    }

    /// The file as JSON.
    async fn file(&self) -> Value {
        let (status, body) = self.get("/get_file").answer().await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The file as it is.
    fn raw(&self) -> RequestBuilder {
        self.get("/get_file").header(ACCEPT, OCTETS)
    }

    async fn raw_bytes(&self) -> Vec<u8> {
        self.raw().send().await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// What lies in the storage.
    fn on_disk(&self) -> Vec<u8> {
        std::fs::read(self.stored("uploads/received_chunks.txt")).unwrap()
    }
}

fn error(body: &Value) -> &str {
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["error"].as_str().unwrap()
}
