//! Dialect C, the JSON relay: files of companies in, listed, out, and a WebSocket that tells of them (CONTRACTS C).

pub mod socket;

use serde_json::{Value, json};

use crate::http::errors::{PathRule, Shape};
use crate::http::refusal::Refusal;

/// Errors are `{"detail": string}`, with `issues` beside it when a validation said no.
pub const SHAPE: Shape = Shape { paths: &[PathRule::Exact("/"), PathRule::Under("/api/files")], body: error_body };

fn error_body(refusal: &Refusal) -> Value {
    json!({ "detail": refusal.message })
}
