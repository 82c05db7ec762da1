//! Who the hooks of a gateway under test ask and tell: a server outside of it, that outlives every kill and counts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What begins a name that is not admitted.
pub const DENIED: &str = "brouillon_";

pub struct Receiver {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// How often each path was told of each id.
    runs: Mutex<HashMap<(String, String), usize>>,
    slow_in_flight: AtomicUsize,
    slow_began: Notify,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let counting = counts.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counts = counting.clone();
                let service = service_fn(move |request| answer(counts.clone(), request));
                tokio::spawn(async move {
                    // A gateway that is killed breaks it off.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, counts }
    }

    /// The settings of a plugin instance that asks or tells this receiver at a path of the instance's name.
    pub fn plugin(&self, name: &str) -> Vec<String> {
        vec![
            format!("plugin.{name}.kind=webhook"),
            format!("plugin.{name}.url=http://{}/{name}", self.address),
            format!("plugin.{name}.allow_networks=[\"127.0.0.0/8\"]"),
        ]
    }

    /// How often a hook was run for an event.
    pub fn runs(&self, hook: &str, id: &str) -> usize {
        self.counts.runs.lock().get(&(hook.to_owned(), id.to_owned())).copied().unwrap_or(0)
    }

    /// Waits until a run of the slow hook is under way.
    pub async fn slow_run(&self) {
        let began = self.counts.slow_began.notified();
        if self.counts.slow_in_flight.load(Ordering::SeqCst) == 0 {
            began.await;
        }
    }
}

async fn answer(counts: Arc<Counts>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let hook = request.uri().path().trim_start_matches('/').to_owned();
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let Ok(body) = request.into_body().collect().await else { return Ok(Response::default()) };
    let event: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    *counts.runs.lock().entry((hook.clone(), id)).or_default() += 1;
    let (status, answer) = match hook.as_str() {
        "policy" => (200, admission(&event["data"])),
        "review" => (200, review(&event["data"])),
        "failing" => (500, json!({})),
        "slow" => {
            counts.slow_in_flight.fetch_add(1, Ordering::SeqCst);
            counts.slow_began.notify_waiters();
            tokio::time::sleep(Duration::from_millis(80)).await;
            counts.slow_in_flight.fetch_sub(1, Ordering::SeqCst);
            (200, json!({}))
        }
        _ => (200, json!({})),
    };
    let answer = Full::new(Bytes::from(answer.to_string()));
    Ok(Response::builder().status(status).body(answer).unwrap())
}

fn admission(file: &Value) -> Value {
    match file["file_name"].as_str().unwrap().starts_with(DENIED) {
        true => json!({ "deny": { "reason": "no drafts here" } }),
        false => json!({}),
    }
}

/// A document says of itself whether it is good.
fn review(file: &Value) -> Value {
    let content = BASE64_STANDARD.decode(file["content_base64"].as_str().unwrap()).unwrap();
    let document: Value = serde_json::from_slice(&content).unwrap();
    match document["good"].as_bool() {
        Some(true) => json!({}),
        _ => json!({ "reject": [{ "path": "/good", "code": "bad", "message": "it is not good" }] }),
    }
}
