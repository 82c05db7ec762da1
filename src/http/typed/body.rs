//! The request's body as it comes: raw for a handler that streams it, or collected under a limit.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::http::{StatusCode, header};
use poem::{Body, Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::http::refusal::Refusal;

/// The body under any content type or none, documented as `application/octet-stream`.
pub struct RawBody(pub Body);

impl<'a> ApiExtractor<'a> for RawBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: "application/octet-stream",
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary"))),
            }],
            required: true,
        })
    }

    async fn from_request(
        _request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        Ok(Self(body.take()?))
    }
}

/// The whole body, refused with 413 as soon as it is known to be larger than `limit`.
pub async fn collect(request: &Request, body: &mut RequestBody, limit: usize) -> Result<Bytes> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > limit as u64) {
        return Err(Refusal::too_large("the body", limit as u64).into());
    }
    let mut frames = Box::pin(body.take()?.into_bytes_stream());
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|error| broken_body(&error))?;
        length += frame.len();
        if length > limit {
            return Err(Refusal::too_large("the body", limit as u64).into());
        }
        // Small bodies come in one frame and are not copied.
        if first.is_empty() && rest.is_empty() {
            first = frame;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&frame);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// The refusal for a body that broke off. A client that only stalled is told 408 by [`crate::http::errors`].
pub fn broken_body(error: &std::io::Error) -> Refusal {
    let mut refusal = Refusal::new(StatusCode::BAD_REQUEST, "the body ended before it was complete");
    refusal.cause = Some(error.to_string());
    refusal
}
