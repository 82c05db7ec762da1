//! Dialect A, the chunk writer: one append-only file, written to by chunks of text or bytes (CONTRACTS A), and a page
//! that does so from a browser. How the file goes out is decided in `content`; what one append is, in
//! [`crate::files`].

mod content;
mod messages;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use poem::http::{HeaderMap, Method, header};
use poem_openapi::{OpenApi, Tags};
use serde_json::{Value, json};

use self::content::FileAnswer;
use self::messages::{BytesWritten, ClearRefusals, Cleared, GetRefusals, TextChunk, TextWritten, WriteRefusals};
use crate::collection::Collection;
use crate::gateway::{Gateway, GatewayHandle};
use crate::http::api::Api;
use crate::http::errors::{PathRule, Shape};
use crate::http::openapi::fixed;
use crate::http::refusal::Refusal;
use crate::http::typed::body::broken_body;
use crate::http::typed::{Json, RawBody, Refused};
use crate::upload::AppendOutcome;

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

pub const API: Api = Api {
    name: "chunk_writer",
    is_on: |dialects| dialects.chunk_writer.is_some(),
    document: |builder| builder.api::<ChunkWriterApi>().edit(messages::add_examples),
    mount: |routes, serving| {
        let page = fixed("text/html; charset=utf-8", Bytes::from_static(include_bytes!("page.html")));
        routes.api(ChunkWriterApi { gateway: serving.gateway.clone() }).at("/site_chunk_writer.html", Method::GET, page)
    },
};

/// The largest JSON body. A chunk of text is held in memory while it is read and echoed; larger ones go as bytes.
const TEXT_CHUNK_LIMIT: usize = 16 << 20;
/// A chunk of text is handed on in pieces of this size, so that there is no second copy of all of it.
const PIECE: usize = 64 << 10;

fn error_body(refusal: &Refusal) -> Value {
    json!({ "error": refusal.message })
}

struct ChunkWriterApi {
    gateway: GatewayHandle,
}

#[derive(Tags)]
enum ChunkWriterTags {
    /// One file that text and binary chunks are appended to, in order of arrival. `/site_chunk_writer.html` is a page
    /// that does it from a browser.
    #[oai(rename = "Chunk writer")]
    ChunkWriter,
}

/// What one request works on.
struct Target {
    gateway: Arc<Gateway>,
    collection: Arc<Collection>,
}

impl ChunkWriterApi {
    fn target(&self) -> Result<Target, Refusal> {
        let gateway = self.gateway.current();
        let collection = gateway.dialects.chunk_writer.clone();
        let collection = collection.ok_or_else(|| Refusal::not_found("the chunk writer is switched off"))?;
        Ok(Target { gateway, collection })
    }
}

#[OpenApi(tag = "ChunkWriterTags::ChunkWriter")]
impl ChunkWriterApi {
    /// Append a chunk of text
    ///
    /// The text is appended in UTF-8, whole or not at all; chunks that come at once never interleave. The body is
    /// read as JSON whatever its content type.
    #[oai(path = "/write_chunk", method = "post", operation_id = "writeChunk")]
    async fn write_chunk(
        &self,
        chunk: Json<TextChunk, TEXT_CHUNK_LIMIT>,
    ) -> Result<Json<TextWritten>, Refused<WriteRefusals>> {
        let target = self.target()?;
        let TextChunk { chunk, index } = chunk.0;
        let mut intake = target.gateway.uploads.append(&target.collection);
        for piece in chunk.as_bytes().chunks(PIECE) {
            intake.write(Bytes::copy_from_slice(piece)).await?;
        }
        intake.finish().await?;
        Ok(Json(TextWritten { success: true, message: format!("chunk {index} was appended"), chunk }))
    }

    /// Append a chunk of bytes
    ///
    /// The body is appended as it is, under any content type or none, whole or not at all.
    #[oai(path = "/write_chunk_binary", method = "post", operation_id = "writeChunkBinary")]
    async fn write_chunk_binary(
        &self,
        headers: &HeaderMap,
        body: RawBody,
    ) -> Result<Json<BytesWritten>, Refused<WriteRefusals>> {
        let target = self.target()?;
        refuse_too_large(headers, &target.collection)?;
        let mut intake = target.gateway.uploads.append(&target.collection);
        let mut frames = Box::pin(body.0.into_bytes_stream());
        while let Some(frame) = frames.next().await {
            intake.write(frame.map_err(|error| broken_body(&error))?).await?;
        }
        match intake.finish().await? {
            AppendOutcome::Empty => Err(Refusal::bad_request("the body is empty; send the bytes to append"))?,
            AppendOutcome::Appended { size } => {
                Ok(Json(BytesWritten { success: true, message: format!("{size} bytes were appended"), size }))
            }
        }
    }

    /// Get the file
    ///
    /// As JSON; where not all of it is UTF-8, `content` is base64 and `encoding` says so. With
    /// `Accept: application/octet-stream` or `text/plain` the bytes come as they are, and ranges of them.
    #[oai(path = "/get_file", method = "get", operation_id = "getFile")]
    async fn get_file(&self, headers: &HeaderMap) -> Result<FileAnswer, Refused<GetRefusals>> {
        let target = self.target()?;
        let file = target.gateway.files.append_reader(&target.collection).await?;
        Ok(FileAnswer::of(headers, file)?)
    }

    /// Empty the file
    ///
    /// Who is reading it reads on to the end of what was there. Without a file there is nothing to do.
    #[oai(path = "/clear_file", method = "post", operation_id = "clearFile")]
    async fn clear_file(&self) -> Result<Json<Cleared>, Refused<ClearRefusals>> {
        let target = self.target()?;
        target.gateway.files.clear(&target.collection).await?;
        Ok(Json(Cleared { success: true, message: "the file is empty".to_owned() }))
    }
}

/// What its own length says is too large is refused before its first byte.
fn refuse_too_large(headers: &HeaderMap, collection: &Collection) -> Result<(), Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > collection.max_file_size => {
            Err(Refusal::too_large("the file", collection.max_file_size))
        }
        _ => Ok(()),
    }
}
