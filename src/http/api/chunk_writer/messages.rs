//! The bodies of dialect A, and how the document shows them.

use poem_openapi::Object;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::http::openapi::{set_request_example, set_response_example};
use crate::http::typed::Refusals;

/// A chunk of text.
#[derive(Debug, Object, Deserialize)]
pub struct TextChunk {
    /// What is appended.
    pub chunk: String,
    /// The sender's own count. It is echoed in the message; chunks are appended in order of arrival.
    #[serde(default, deserialize_with = "null_is_default")]
    #[oai(default)]
    pub index: i64,
}

fn null_is_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A chunk of text was appended.
#[derive(Debug, Object, Serialize)]
pub struct TextWritten {
    pub success: bool,
    /// For people.
    pub message: String,
    /// What was appended.
    pub chunk: String,
}

/// A chunk of bytes was appended.
#[derive(Debug, Object, Serialize)]
pub struct BytesWritten {
    pub success: bool,
    /// For people.
    pub message: String,
    /// How many bytes were appended.
    pub size: u64,
}

/// The file as JSON. It is written piece by piece, so no value of this type is ever made.
#[derive(Debug, Object)]
pub struct FileText {
    /// All that was appended since the file was last emptied; `""` when there is nothing.
    pub content: String,
    /// `base64` where the bytes are not all UTF-8, and `content` is that; else it is not there.
    pub encoding: Option<String>,
}

/// The file was emptied.
#[derive(Debug, Object, Serialize)]
pub struct Cleared {
    pub success: bool,
    /// For people.
    pub message: String,
}

/// Why a request was refused.
#[derive(Debug, Object)]
pub struct ChunkWriterError {
    /// For people.
    pub error: String,
}

const INTERNAL: (u16, &str) = (500, "The gateway failed; its log says more.");
const UNAVAILABLE: (u16, &str) = (503, "Not at this moment; try again later.");

pub struct WriteRefusals;

impl Refusals for WriteRefusals {
    type Body = ChunkWriterError;
    const ANSWERS: &'static [(u16, &'static str)] = &[
        (400, "There is no chunk, it is empty, or the body cannot be read."),
        (413, "The chunk or the file would be larger than is allowed."),
        INTERNAL,
        UNAVAILABLE,
        (507, "There is no room left to store it; nothing was appended."),
    ];
}

pub struct GetRefusals;

impl Refusals for GetRefusals {
    type Body = ChunkWriterError;
    const ANSWERS: &'static [(u16, &'static str)] = &[
        (412, "The file is another version by now (`If-Match`, `If-Unmodified-Since`)."),
        (416, "The range lies outside of the file."),
        INTERNAL,
        UNAVAILABLE,
    ];
}

pub struct ClearRefusals;

impl Refusals for ClearRefusals {
    type Body = ChunkWriterError;
    const ANSWERS: &'static [(u16, &'static str)] = &[INTERNAL, UNAVAILABLE];
}

/// What the gateway really answers; the tests compare.
pub fn add_examples(document: &mut Value) {
    let refused = |message: &str| json!({ "error": message });
    set_request_example(document, "post", "/write_chunk", json!({ "chunk": "first line\n", "index": 0 }));
    let written = json!({ "success": true, "message": "chunk 0 was appended", "chunk": "first line\n" });
    set_response_example(document, "post", "/write_chunk", 200, written);
    let missing = refused("the body is refused: missing field `chunk` at line 1 column 2");
    set_response_example(document, "post", "/write_chunk", 400, missing);
    set_response_example(document, "post", "/write_chunk", 413, refused("the body is larger than 16777216 bytes"));

    let written = json!({ "success": true, "message": "4 bytes were appended", "size": 4 });
    set_response_example(document, "post", "/write_chunk_binary", 200, written);
    let empty = refused("the body is empty; send the bytes to append");
    set_response_example(document, "post", "/write_chunk_binary", 400, empty);

    // The other representations of the file are no JSON.
    if let Some(json) = document.pointer_mut("/paths/~1get_file/get/responses/200/content/application~1json") {
        json["example"] = json!({ "content": "first line\n" });
    }
    set_response_example(document, "get", "/get_file", 416, refused("the range lies outside of the file's 11 bytes"));
    let cleared = json!({ "success": true, "message": "the file is empty" });
    set_response_example(document, "post", "/clear_file", 200, cleared);
}
