//! What DESIGN §2 promises, held against the gateway's own binary over real sockets: each module tries to break one
//! promise. What a crash leaves is tried elsewhere, at points that are named in the code.

mod drain;
mod gateway;
mod guard;
#[cfg(feature = "test-s3")]
mod object_store;
mod readers;
mod reloads;
mod slow;
mod subscribers;

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use gateway::{Gateway, Home, Setup};

/// How long a test waits for what must come, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn client() -> Client {
    Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// A form with one file, as the relay takes it.
fn file_form(file_name: &str, content: &Bytes) -> Form {
    let length = content.len() as u64;
    Form::new().part("file", Part::stream_with_length(content.clone(), length).file_name(file_name.to_owned()))
}

/// A chunk, as most clients of the upload in chunks send it.
fn chunk_form(session: &str, number: usize, content: &Bytes) -> Form {
    let chunk = Part::stream_with_length(content.clone(), content.len() as u64).file_name("blob");
    let form = Form::new().text("sessionId", session.to_owned()).text("chunkNumber", number.to_string());
    form.text("fileName", "large.bin").part("chunk", chunk)
}

/// Status and JSON of an answer; an error where the connection broke.
async fn answer(request: RequestBuilder) -> reqwest::Result<(u16, Value)> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    let text = String::from_utf8_lossy(&body);
    Ok((status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{status} without JSON: {text:?}"))))
}

/// The answer of a gateway that must answer.
async fn told(request: RequestBuilder) -> (u16, Value) {
    answer(request).await.expect("the gateway did not answer")
}

impl Home {
    async fn upload(&self, client: &Client, societe: &str, file_name: &str, content: &Bytes) -> (u16, Value) {
        told(client.post(self.url(&format!("/api/files/upload/{societe}"))).multipart(file_form(file_name, content)))
            .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn socket(&self, query: &str) -> Option<Socket> {
        let url = format!("ws://{}/api/files/ws{query}", self.address);
        connect_async(url).await.ok().map(|(socket, _)| socket)
    }

    /// All events after a position.
    async fn events(&self, client: &Client, mut after: u64) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let (status, page) = told(client.get(self.url(&format!("/v1/events?after={after}&limit=256")))).await;
            assert_eq!((status, &page["reload"]), (200, &json!(false)), "{page}");
            let entries = page["events"].as_array().unwrap();
            if entries.is_empty() {
                return events;
            }
            events.extend(entries.iter().cloned());
            after = page["next"].as_u64().unwrap();
        }
    }

    /// Completes an upload in chunks; gives the status that it comes to.
    async fn outcome(&self, client: &Client, session: &str) -> Value {
        let url = self.url(&format!("/fileupload/assembly_status/{session}/"));
        let begun = Instant::now();
        loop {
            let (code, status) = told(client.get(&url)).await;
            assert_eq!(code, 200, "{status}");
            if status["status"] != "in_progress" {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it is never assembled");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The gateway has begun on what was sent before: it answers one who came after it.
async fn is_heard(home: &Home) {
    assert_eq!(told(client().get(home.url("/readyz"))).await.0, 200);
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers that look random and are the same at every run with the same seed.
struct Dice(u64);

impl Dice {
    /// The seed is printed, and taken from `TIDEGATE_TEST_SEED` where that is set.
    fn new(salt: u64) -> Self {
        let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(0, |now| now.as_nanos() as u64)
        });
        eprintln!("TIDEGATE_TEST_SEED={seed}");
        Self(seed.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX >> 12) << 1 | 1)
    }
}
