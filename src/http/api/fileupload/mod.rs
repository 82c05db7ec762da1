//! Dialect B, the upload of large files in numbered chunks (CONTRACTS B).

use serde_json::{Value, json};

use crate::http::errors::{PathRule, Shape};
use crate::http::refusal::Refusal;

/// Errors are `{"status": "error", "message": string}`, with `missing` beside it where parts are.
pub const SHAPE: Shape = Shape { paths: &[PathRule::Under("/fileupload")], body: error_body };

fn error_body(refusal: &Refusal) -> Value {
    json!({ "status": "error", "message": refusal.message })
}
