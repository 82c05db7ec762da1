//! JSON in and out. Unlike poem-openapi's `Json` it takes any content type or none, has a size limit, and says
//! which field is missing. Larger documents than fit in memory go out as [`StreamedJson`].

use std::marker::PhantomData;

use poem::http::header;
use poem::{Body, IntoResponse, Request, RequestBody, Response, Result};
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::collect;
use crate::http::refusal::Refusal;

/// Enough for every JSON request that is not itself a file.
pub const JSON_LIMIT: usize = 1 << 20;

const CONTENT_TYPE: &str = "application/json";

/// A JSON body of at most `LIMIT` bytes, or a JSON answer. `T` derives `Object` for the document and serde's traits
/// for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T, const LIMIT: usize = JSON_LIMIT>(pub T);

impl<T: Type, const LIMIT: usize> Payload for Json<T, LIMIT> {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn check_content_type(_content_type: &str) -> bool {
        true
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + DeserializeOwned, const LIMIT: usize> ParsePayload for Json<T, LIMIT> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = collect(request, body, LIMIT).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// A JSON text as `T`; the refusal says what is wrong and where.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::bad_request("the body is empty; a JSON object is expected"));
    }
    serde_json::from_slice(bytes).map_err(|error| Refusal::bad_request(format!("the body is refused: {error}")))
}

impl<'a, T: Type + DeserializeOwned, const LIMIT: usize> ApiExtractor<'a> for Json<T, LIMIT> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest { description: None, content: vec![media_type::<T>()], required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        <Self as ParsePayload>::from_request(request, body).await
    }
}

impl<T: Serialize + Send, const LIMIT: usize> IntoResponse for Json<T, LIMIT> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => Response::builder().content_type(CONTENT_TYPE).body(text),
            // A type whose keys are no strings: a mistake of ours, and no reason to take the connection down.
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                poem::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

impl<T: Type + Serialize, const LIMIT: usize> ApiResponse for Json<T, LIMIT> {
    fn meta() -> MetaResponses {
        ok_response::<T>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// A JSON answer that the handler writes piece by piece, documented as a `T`.
pub struct StreamedJson<T> {
    body: Body,
    documented_as: PhantomData<fn() -> T>,
}

impl<T> StreamedJson<T> {
    pub fn new(body: Body) -> Self {
        Self { body, documented_as: PhantomData }
    }
}

impl<T: Type> Payload for StreamedJson<T> {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T> IntoResponse for StreamedJson<T> {
    fn into_response(self) -> Response {
        Response::builder().header(header::CONTENT_TYPE, CONTENT_TYPE).body(self.body)
    }
}

impl<T: Type> ApiResponse for StreamedJson<T> {
    fn meta() -> MetaResponses {
        ok_response::<T>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

fn media_type<T: Type>() -> MetaMediaType {
    MetaMediaType { content_type: CONTENT_TYPE, schema: T::schema_ref() }
}

fn ok_response<T: Type>() -> MetaResponses {
    let response = MetaResponse {
        description: "",
        status: Some(200),
        status_range: None,
        content: vec![media_type::<T>()],
        headers: vec![],
    };
    MetaResponses { responses: vec![response] }
}

#[cfg(test)]
mod tests {
    use poem_openapi::Object;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Object, Deserialize, PartialEq)]
    struct Chunk {
        chunk: String,
        #[serde(default)]
        #[oai(default)]
        index: i64,
    }

    async fn read<const LIMIT: usize>(content_type: Option<&str>, text: &str) -> Result<Chunk> {
        let mut builder = Request::builder();
        if let Some(content_type) = content_type {
            builder = builder.content_type(content_type);
        }
        let (request, mut body) = builder.body(text.to_owned()).split();
        <Json<Chunk, LIMIT> as ParsePayload>::from_request(&request, &mut body).await.map(|json| json.0)
    }

    #[tokio::test]
    async fn takes_any_content_type_and_fills_defaults() {
        for content_type in [None, Some("text/plain"), Some("application/json; charset=utf-8")] {
            let chunk = read::<100>(content_type, r#"{"chunk": "é"}"#).await.unwrap();
            assert_eq!(chunk, Chunk { chunk: "é".into(), index: 0 });
        }
    }

    #[tokio::test]
    async fn names_the_missing_field() {
        let error = read::<100>(None, "{}").await.unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.to_string().contains("missing field `chunk`"), "{error}");
        let error = read::<100>(None, " ").await.unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
    }

    #[tokio::test]
    async fn refuses_what_is_larger_than_the_limit() {
        let text = r#"{"chunk": "0123456789"}"#;
        assert!(read::<23>(None, text).await.is_ok());
        assert_eq!(read::<22>(None, text).await.unwrap_err().status(), 413);
    }
}
