//! Dialect C through the gateway's own binary, over real sockets: each row of the contract, each note, and what must be
//! refused.

mod bad_input;
mod disk;
mod document;
mod events;
mod folders;
mod notes;
mod rows;
mod websocket;

use std::io;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::PATIENCE;
use crate::support::process::{Process, RELAY, Start};

const BOUNDARY: &str = "----tidegate-7MA4YWxkTrZu0gW";
const FORM: &str = "multipart/form-data; boundary=----tidegate-7MA4YWxkTrZu0gW";
/// As people name their companies and files.
const SOCIETE: &str = "Société Générale & Fils";
const FILE: &str = "comptes annuels_été 2024.json";

struct Relay {
    process: Process,
    client: Client,
}

impl Relay {
    fn start() -> Self {
        Self::of(Start::new(RELAY))
    }

    fn of(start: Start) -> Self {
        Self { process: start.run(), client: Client::builder().no_proxy().build().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.process.addresses[0])
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::POST, path)).await
    }

    async fn upload(&self, societe: &str, filename: &str, content: impl AsRef<[u8]>) -> (u16, Value) {
        self.send_form(societe, form(&[file_part(filename, content.as_ref())])).await
    }

    async fn send_form(&self, societe: &str, body: Vec<u8>) -> (u16, Value) {
        let path = format!("/api/files/upload/{}", encoded(societe));
        answer(self.request(Method::POST, &path).header(CONTENT_TYPE, FORM).body(body)).await
    }

    async fn societes(&self) -> Value {
        self.get("/api/files/societes").await.1["societes"].clone()
    }

    async fn list(&self, societe: &str) -> (u16, Value) {
        self.get(&format!("/api/files/societe/{}/files", encoded(societe))).await
    }

    /// The names in a company's list; empty where there is no such company.
    async fn names(&self, societe: &str) -> Vec<String> {
        let (_, list) = self.list(societe).await;
        let files = list["files"].as_array().cloned().unwrap_or_default();
        files.iter().map(|file| file["filename"].as_str().unwrap().to_owned()).collect()
    }

    fn download(&self, societe: &str, filename: &str) -> RequestBuilder {
        self.request(Method::GET, &format!("/api/files/download/{}/{}", encoded(societe), encoded(filename)))
    }

    async fn content(&self, societe: &str, filename: &str) -> Result<Vec<u8>, StatusCode> {
        let response = self.download(societe, filename).send().await.unwrap();
        match response.status() {
            StatusCode::OK => Ok(response.bytes().await.unwrap().to_vec()),
            status => Err(status),
        }
    }

    async fn delete(&self, societe: &str, filename: &str) -> (u16, Value) {
        let path = format!("/api/files/delete/{}/{}", encoded(societe), encoded(filename));
        answer(self.request(Method::DELETE, &path)).await
    }

    async fn sync(&self, societe: &str) -> (u16, Value) {
        self.post(&format!("/api/files/sync/{}", encoded(societe))).await
    }

    async fn status(&self) -> Value {
        self.get("/api/files/status").await.1
    }

    async fn events(&self) -> Vec<Value> {
        self.get("/v1/events?limit=256").await.1["events"].as_array().unwrap().clone()
    }

    async fn listen(&self, query: &str) -> Listener {
        let url = format!("ws://{}/api/files/ws{query}", self.process.addresses[0]);
        Listener(connect_async(url).await.unwrap().0)
    }

    /// A request as it stands; the status, and what follows the head of the answer.
    async fn raw(&self, request: impl AsRef<[u8]>) -> (u16, String) {
        let mut stream = TcpStream::connect(self.process.addresses[0]).await.unwrap();
        // The gateway may have answered and closed before it has read everything.
        let _ = stream.write_all(request.as_ref()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("no answer");
        if let Err(error) = read {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer}")).parse().unwrap();
        (status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    }

    /// Nothing of a refused upload is anywhere.
    async fn assert_untouched(&self) {
        assert_eq!(self.societes().await, json!([]));
        assert_eq!(self.events().await, Vec::<Value>::new());
        let left = |folder: &str| {
            let entries = std::fs::read_dir(self.process.folder().join(folder));
            entries.map_or(Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
        };
        assert_eq!(left("files").iter().filter(|path| !is_hidden(path)).count(), 0, "{:?}", left("files"));
        // The handle that removes a staging file may be dropped after the answer.
        eventually("staging is empty", async || files_below(&self.process.folder().join("data/staging")).is_empty())
            .await;
    }
}

fn is_hidden(path: &std::path::Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Waits for what comes by itself, as the next look at a folder does.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn encoded(segment: &str) -> String {
    utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    read(request.send().await.unwrap()).await
}

async fn read(response: Response) -> (u16, Value) {
    let (status, url) = (response.status().as_u16(), response.url().clone());
    let bytes = response.bytes().await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{url}: {status}, no JSON: {text:?}")))
}

/// A part as `curl` and `requests` send it: the name in UTF-8 as it is.
fn file_part(filename: &str, content: &[u8]) -> Vec<u8> {
    part(&format!("name=\"file\"; filename=\"{filename}\""), content)
}

fn part(disposition: &str, content: &[u8]) -> Vec<u8> {
    let mut part = format!("Content-Disposition: form-data; {disposition}\r\n\r\n").into_bytes();
    part.extend_from_slice(content);
    part
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// An accounts document of about so many bytes, as it is sent by the relay's clients.
fn accounts(about: usize) -> String {
    let mut text = "{\"societe\": \"Société Générale\", \"comptes\": [".to_owned();
    let mut number = 0;
    while text.len() < about {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&format!(
            "{{\"compte\": \"{:06}\", \"libellé\": \"Créances n° {number}\", \"solde\": {}.{:02}}}",
            400_000 + number,
            number * 37 % 90_001,
            number % 100
        ));
        number += 1;
    }
    text.push_str("]}");
    text
}

/// A client of the WebSocket.
struct Listener(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Listener {
    async fn next(&mut self) -> Value {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing was told") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The greeting, which comes first.
    async fn greeted(mut self) -> Self {
        assert_eq!(self.next().await["type"], "connection");
        self
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }
}

/// `2026-01-02T03:04:05.678+00:00`, which also old Pythons and Dart read.
#[track_caller]
fn assert_time(value: &Value) {
    let text = value.as_str().unwrap();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000+00:00", "{text}");
}

#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
