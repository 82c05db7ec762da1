//! Clients that take their time.

use serde_json::Value;

use super::Home;
use crate::http::Client as WireClient;

/// A request whose body is sent in two halves, with a pause between them that is as long as one likes.
pub struct Slow {
    client: WireClient,
    rest: Vec<u8>,
}

const BOUNDARY: &str = "between-the-parts";

impl Slow {
    async fn begin(home: &Home, path: &str, content_type: &str, body: Vec<u8>) -> Self {
        let mut client = WireClient::to(home.address).await;
        let (first, rest) = body.split_at(body.len() / 2);
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\ncontent-type: {content_type}\ncontent-length: {length}");
        client.send(&head, first).await;
        Self { client, rest: rest.to_vec() }
    }

    pub async fn bytes(home: &Home, content: &[u8]) -> Self {
        Self::begin(home, "/write_chunk_binary", "application/octet-stream", content.to_vec()).await
    }

    pub async fn form(
        home: &Home,
        path: &str,
        fields: &[(&str, &str)],
        field: &str,
        name: &str,
        content: &[u8],
    ) -> Self {
        let mut body = String::new();
        for (field, value) in fields {
            body += &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
        }
        body +=
            &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n");
        let end = format!("\r\n--{BOUNDARY}--\r\n");
        let body = [body.as_bytes(), content, end.as_bytes()].concat();
        Self::begin(home, path, &format!("multipart/form-data; boundary={BOUNDARY}"), body).await
    }

    pub async fn file(home: &Home, name: &str, content: &[u8]) -> Self {
        Self::form(home, "/api/files/upload/acme", &[], "file", name, content).await
    }

    pub async fn chunk(home: &Home, session: &str, number: &str, content: &[u8]) -> Self {
        let fields = [("sessionId", session), ("chunkNumber", number), ("fileName", "large.bin")];
        Self::form(home, "/fileupload/upload_chunk/", &fields, "chunk", "blob", content).await
    }

    /// The other half, and the answer.
    pub async fn end(mut self) -> (u16, Value) {
        self.client.write(&self.rest).await;
        let answer = self.client.answer(false).await;
        (answer.status, answer.json())
    }

    /// Waits for the gateway to close; gives what came before.
    pub async fn closed(self) -> Vec<u8> {
        self.client.closed().await
    }
}
