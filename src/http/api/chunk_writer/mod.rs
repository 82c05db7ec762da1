//! Dialect A, the chunk writer: one append-only file, written to by chunks of text or bytes (CONTRACTS A).

use serde_json::{Value, json};

use crate::http::errors::{PathRule, Shape};
use crate::http::refusal::Refusal;

/// Errors are `{"error": string}`.
pub const SHAPE: Shape = Shape {
    paths: &[
        PathRule::Exact("/write_chunk"),
        PathRule::Exact("/write_chunk_binary"),
        PathRule::Exact("/get_file"),
        PathRule::Exact("/clear_file"),
        PathRule::Exact("/site_chunk_writer.html"),
    ],
    body: error_body,
};

fn error_body(refusal: &Refusal) -> Value {
    json!({ "error": refusal.message })
}
