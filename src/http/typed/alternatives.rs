//! One operation that takes its few small fields as JSON, as a URL-encoded form or as multipart, and fields that clients
//! write as a number or as a string.

use std::borrow::Cow;

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::body::collect;
use super::json::{JSON_LIMIT, parse};
use super::multipart::Multipart;
use crate::http::refusal::Refusal;

/// More fields than any form of ours has.
const FIELDS_LIMIT: usize = 64;

/// A `T` by whatever way the client sends it; without a content type, or with a strange one, it is JSON.
/// From forms all values come as strings, so members that are numbers are of the type [`TextOrNumber`].
#[derive(Debug)]
pub struct JsonFormOrMultipart<T>(pub T);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for JsonFormOrMultipart<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"]
            .into_iter()
            .map(|content_type| MetaMediaType { content_type, schema: T::schema_ref() })
            .collect();
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let content_type = request.content_type().unwrap_or_default().trim_start().to_ascii_lowercase();
        let value = if content_type.starts_with("multipart/") {
            let fields = multipart_fields(Multipart::<()>::new(request.content_type(), body.take()?)?).await?;
            typed(fields)?
        } else if content_type.starts_with("application/x-www-form-urlencoded") {
            typed(form_fields(&collect(request, body, JSON_LIMIT).await?)?)?
        } else {
            parse(&collect(request, body, JSON_LIMIT).await?)?
        };
        Ok(Self(value))
    }
}

fn typed<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| Refusal::bad_request(format!("the form is refused: {error}")))
}

fn form_fields(text: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(text) {
        insert(&mut fields, name.into_owned(), value.into_owned())?;
    }
    Ok(fields)
}

async fn multipart_fields(mut form: Multipart<()>) -> Result<Map<String, Value>, Refusal> {
    let mut fields = Map::new();
    while let Some(part) = form.next_part().await? {
        let text = form.text(&part).await?;
        insert(&mut fields, part.name, text)?;
    }
    Ok(fields)
}

/// The first of several fields of one name counts.
fn insert(fields: &mut Map<String, Value>, name: String, value: String) -> Result<(), Refusal> {
    if fields.len() >= FIELDS_LIMIT {
        return Err(Refusal::bad_request(format!("the form has more than {FIELDS_LIMIT} fields")));
    }
    fields.entry(name).or_insert(Value::String(value));
    Ok(())
}

/// A member that clients write as `7` or as `"7"`; documented as a string, for generated clients stumble over `oneOf`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TextOrNumber(pub String);

impl TextOrNumber {
    fn from_value(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) => Ok(Self(number.to_string())),
            _ => Err("a string or a number is expected"),
        }
    }
}

impl<'de> Deserialize<'de> for TextOrNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Type for TextOrNumber {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        String::schema_ref()
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for TextOrNumber {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Self::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

impl ToJSON for TextOrNumber {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::Object;

    use super::*;

    #[derive(Debug, Object, Deserialize)]
    struct Complete {
        #[oai(rename = "sessionId")]
        #[serde(rename = "sessionId")]
        session_id: TextOrNumber,
    }

    async fn read(content_type: Option<&str>, text: &str) -> Result<String> {
        let mut builder = Request::builder();
        if let Some(content_type) = content_type {
            builder = builder.content_type(content_type);
        }
        let (request, mut body) = builder.body(text.to_owned()).split();
        let read = JsonFormOrMultipart::<Complete>::from_request(&request, &mut body, Default::default()).await?;
        Ok(read.0.session_id.0)
    }

    #[tokio::test]
    async fn the_session_id_comes_in_every_way_that_clients_know() {
        let multipart = "--X\r\nContent-Disposition: form-data; name=\"sessionId\"\r\n\r\n7\r\n--X--\r\n";
        for (content_type, text) in [
            (Some("application/json"), r#"{"sessionId": 7, "fileName": "x"}"#),
            (Some("application/json; charset=utf-8"), r#"{"sessionId": "7"}"#),
            (None, r#"{"sessionId": "7"}"#),
            (Some("application/x-www-form-urlencoded; charset=utf-8"), "fileName=x&sessionId=7"),
            (Some("multipart/form-data; boundary=X"), multipart),
        ] {
            assert_eq!(read(content_type, text).await.unwrap(), "7", "{content_type:?}");
        }
    }

    #[tokio::test]
    async fn the_missing_field_is_named_in_every_way() {
        let multipart = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n7\r\n--X--\r\n";
        for (content_type, text) in [
            (Some("application/json"), "{}"),
            (Some("application/x-www-form-urlencoded"), "a=b"),
            (Some("multipart/form-data; boundary=X"), multipart),
        ] {
            let error = read(content_type, text).await.unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.to_string().contains("missing field `sessionId`"), "{error}");
        }
        assert!(read(None, r#"{"sessionId": [7]}"#).await.is_err());
        assert!(read(None, r#"{"sessionId": null}"#).await.is_err());
    }
}
