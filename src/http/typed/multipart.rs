//! `multipart/form-data` as a stream: typed in the document by a [`FormSchema`], read part by part as the bytes
//! come. Nothing is buffered but what one read of the socket brought.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use parking_lot::Mutex;
use poem::http::{HeaderMap, StatusCode, header};
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::body::broken_body;
use super::disposition;
use crate::http::refusal::Refusal;

/// The longest text field in bytes: names, numbers and ids.
pub const TEXT_LIMIT: usize = 8 << 10;
/// What the parser may be fed in one go, so that a sender that is faster than the reader cannot fill memory.
const FEED_AT_ONCE: usize = 1 << 20;
/// What may come without one byte of content in it: a part's headers, or what stands before the first part.
const BARREN_LIMIT: usize = 4 << 20;

/// What a form may have beside its file: boundaries, headers, a few fields.
const BESIDE_THE_FILE: u64 = 1 << 20;

/// Refuses by the request's length what would be refused after as many bytes.
pub fn refuse_too_large(headers: &HeaderMap, max_file_size: u64) -> Result<(), Refusal> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > max_file_size.saturating_add(BESIDE_THE_FILE) => {
            Err(Refusal::too_large("the file", max_file_size))
        }
        _ => Ok(()),
    }
}

/// How a dialect documents its form.
pub trait FormSchema: Send + Sync + 'static {
    const FIELDS: &'static [FormField];
}

/// One field of the form as the document shows it.
pub struct FormField {
    pub name: &'static str,
    pub description: &'static str,
    pub kind: FieldKind,
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    Integer,
    File,
}

/// The parts of a form in the order in which they come.
///
/// [`Multipart::next_part`] goes to the next one (what is left of the current one is skipped), then the part's content is
/// read by [`Multipart::chunk`], [`Multipart::text`] or [`Multipart::content`].
pub struct Multipart<F> {
    parser: multer::Multipart<'static>,
    current: Option<multer::Field<'static>>,
    /// What the parser reads; it stops at the last boundary, and the body may go on.
    bytes: BodyBytes,
    /// Bytes that the parser was fed since it last gave something.
    barren: Arc<AtomicUsize>,
    documented_as: PhantomData<fn() -> F>,
}

/// The body, which the parser and what comes after it read in turn; nobody ever waits for the lock.
type BodyBytes = Arc<Mutex<BoxStream<'static, io::Result<Bytes>>>>;

/// What stands before a part's content. Names are as the client wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// There for files; text fields have none.
    pub file_name: Option<String>,
    pub content_type: Option<String>,
}

impl<F> Multipart<F> {
    /// From a request's content type and body.
    pub fn new(content_type: Option<&str>, body: poem::Body) -> Result<Self, Refusal> {
        let boundary = boundary(content_type)?;
        let barren = Arc::new(AtomicUsize::new(0));
        let bytes: BodyBytes = Arc::new(Mutex::new(body.into_bytes_stream().boxed()));
        let feed = Feed { bytes: Arc::clone(&bytes), at_once: 0, barren: Arc::clone(&barren) };
        let parser = multer::Multipart::new(feed, boundary);
        Ok(Self { parser, current: None, bytes, barren, documented_as: PhantomData })
    }

    /// Goes to the next part; `None` after the last, when the whole body has come: one that was cut behind the last
    /// boundary is not complete either.
    pub async fn next_part(&mut self) -> Result<Option<Part>, Refusal> {
        while self.chunk().await?.is_some() {}
        self.current = None;
        let field = self.parser.next_field().await.map_err(refusal)?;
        self.barren.store(0, Ordering::Relaxed);
        let Some(field) = field else { return self.rest().await.map(|()| None) };
        let headers = field.headers();
        let disposition = headers.get(header::CONTENT_DISPOSITION).map(|value| value.as_bytes()).unwrap_or_default();
        let names = disposition::parse(disposition).map_err(Refusal::bad_request)?;
        let part = Part {
            name: names.name.ok_or_else(|| Refusal::bad_request("a part of the multipart body has no name"))?,
            file_name: names.file_name,
            content_type: headers.get(header::CONTENT_TYPE).and_then(|value| Some(value.to_str().ok()?.to_owned())),
        };
        self.current = Some(field);
        Ok(Some(part))
    }

    /// Reads what stands behind the last boundary.
    async fn rest(&mut self) -> Result<(), Refusal> {
        let mut length = 0;
        while let Some(bytes) = std::future::poll_fn(|context| self.bytes.lock().poll_next_unpin(context)).await {
            length += bytes.map_err(|error| broken_body(&error))?.len();
            if length > BARREN_LIMIT {
                return Err(Refusal::bad_request("there is too much behind the end of the multipart body"));
            }
        }
        Ok(())
    }

    /// The next bytes of the current part; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Refusal> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Refusal>> {
        let Some(field) = self.current.as_mut() else { return Poll::Ready(Ok(None)) };
        let chunk = std::task::ready!(field.poll_next_unpin(context)).transpose();
        self.barren.store(0, Ordering::Relaxed);
        Poll::Ready(chunk.map_err(refusal))
    }

    /// The current part's content for the domain, which knows bytes and I/O errors alone.
    pub fn content(&mut self) -> BoxStream<'_, io::Result<Bytes>> {
        futures_util::stream::poll_fn(move |context| {
            self.poll_chunk(context).map(|chunk| chunk.map_err(io::Error::other).transpose())
        })
        .boxed()
    }

    /// The current part as text of at most [`TEXT_LIMIT`] bytes; `part` is named in the refusal.
    pub async fn text(&mut self, part: &Part) -> Result<String, Refusal> {
        let mut content = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if content.len() + chunk.len() > TEXT_LIMIT {
                return Err(Refusal::too_large(&format!("the field `{}`", part.name), TEXT_LIMIT as u64));
            }
            content.extend_from_slice(&chunk);
        }
        String::from_utf8(content).map_err(|_| Refusal::bad_request(format!("the field `{}` is not UTF-8", part.name)))
    }
}

impl<'a, F: FormSchema> ApiExtractor<'a> for Multipart<F> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "multipart/form-data", schema: schema(F::FIELDS) }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        Ok(Self::new(request.content_type(), body.take()?)?)
    }
}

fn schema(fields: &'static [FormField]) -> MetaSchemaRef {
    let mut schema = MetaSchema::new("object");
    for field in fields {
        let mut property = match field.kind {
            FieldKind::Text => MetaSchema::new("string"),
            FieldKind::Integer => MetaSchema::new_with_format("integer", "int64"),
            FieldKind::File => MetaSchema::new_with_format("string", "binary"),
        };
        property.description = Some(field.description);
        schema.properties.push((field.name, MetaSchemaRef::Inline(Box::new(property))));
        if field.required {
            schema.required.push(field.name);
        }
    }
    MetaSchemaRef::Inline(Box::new(schema))
}

fn boundary(content_type: Option<&str>) -> Result<String, Refusal> {
    let Some(content_type) = content_type else {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "multipart/form-data is expected"));
    };
    match multer::parse_boundary(content_type) {
        Ok(boundary) if (1..=70).contains(&boundary.len()) => Ok(boundary),
        Ok(_) => Err(Refusal::bad_request("the boundary of the multipart body has 1 to 70 characters")),
        Err(multer::Error::NoBoundary) => Err(Refusal::bad_request("the content type names no multipart boundary")),
        // What cannot be parsed but begins so is meant as a form, as `multipart/form-data; boundary=` is.
        Err(_) if content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") => {
            Err(Refusal::bad_request("the content type names no multipart boundary"))
        }
        Err(_) => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "multipart/form-data is expected, the content type says otherwise",
        )),
    }
}

fn refusal(error: multer::Error) -> Refusal {
    match error {
        multer::Error::StreamReadFailed(source) => match source.downcast::<BarrenPart>() {
            Ok(barren) => Refusal::bad_request(barren.to_string()),
            Err(source) => broken_body(&io::Error::other(source)),
        },
        multer::Error::IncompleteStream
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteFieldData { .. } => {
            Refusal::bad_request("the multipart body is not complete, or its boundary is not the announced one")
        }
        other => Refusal::bad_request(format!("the multipart body is refused: {other}")),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the headers of a multipart part are too long")]
struct BarrenPart;

/// The body on its way into the parser, which takes all that is ready each time it looks: so it is told to wait
/// after [`FEED_AT_ONCE`].
struct Feed {
    bytes: BodyBytes,
    at_once: usize,
    barren: Arc<AtomicUsize>,
}

impl Stream for Feed {
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.at_once >= FEED_AT_ONCE {
            self.at_once = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = self.bytes.lock().poll_next_unpin(context);
        match polled {
            Poll::Ready(Some(Ok(bytes))) => {
                self.at_once += bytes.len();
                if self.barren.fetch_add(bytes.len(), Ordering::Relaxed) > BARREN_LIMIT {
                    return Poll::Ready(Some(Err(Box::new(BarrenPart))));
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                self.at_once = 0;
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct AnyForm;

    const TYPE: Option<&str> = Some("multipart/form-data; boundary=X");

    fn form(body: impl Into<poem::Body>) -> Multipart<AnyForm> {
        Multipart::new(TYPE, body.into()).unwrap()
    }

    fn part(head: &str, content: &str) -> String {
        format!("--X\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    #[tokio::test]
    async fn gives_parts_as_they_come_and_skips_what_nobody_reads() {
        let body = part("name=\"chunk\"; filename=\"é.json\"", &"x".repeat(100_000))
            + &part("name=\"skipped\"", &"y".repeat(100_000))
            + &part("name=\"sessionId\"", "7é")
            + "--X--\r\nepilogue";
        // Cut where it hurts: every 1,000 bytes, which splits boundaries and characters.
        let pieces: Vec<io::Result<Bytes>> =
            body.as_bytes().chunks(997).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut form = form(poem::Body::from_bytes_stream(futures_util::stream::iter(pieces)));
        let first = form.next_part().await.unwrap().unwrap();
        assert_eq!((first.name.as_str(), first.file_name.as_deref()), ("chunk", Some("é.json")));
        let mut length = 0;
        let mut content = form.content();
        while let Some(bytes) = content.next().await {
            length += bytes.unwrap().len();
        }
        drop(content);
        assert_eq!(length, 100_000);
        assert_eq!(form.next_part().await.unwrap().unwrap().name, "skipped");
        let third = form.next_part().await.unwrap().unwrap();
        assert_eq!(form.text(&third).await.unwrap(), "7é");
        assert_eq!(form.next_part().await.unwrap(), None);
        assert_eq!(form.next_part().await.unwrap(), None);
    }

    #[tokio::test]
    async fn refuses_long_text_and_truncated_bodies() {
        let mut long = form(part("name=\"a\"", &"x".repeat(TEXT_LIMIT + 1)) + "--X--\r\n");
        let a = long.next_part().await.unwrap().unwrap();
        assert_eq!(long.text(&a).await.unwrap_err().status, 413);

        let end = part("name=\"a\"", "b") + "--X--\r\n";
        let pieces = [Ok(Bytes::from(end)), Err(io::Error::from(io::ErrorKind::UnexpectedEof))];
        let mut cut = form(poem::Body::from_bytes_stream(futures_util::stream::iter(pieces)));
        // The parser reads ahead, so the part itself may be refused already; it must not end well.
        let error = loop {
            match cut.next_part().await {
                Ok(part) => assert!(part.is_some(), "a body that was cut behind its end ended well"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.status, 400, "{error}");

        for body in [String::new(), "--X".into(), part("name=\"a\"", "b"), "--X\r\nContent-Dispo".into()] {
            let mut cut = form(body);
            let error = loop {
                match cut.next_part().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("a truncated body ended well"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.status, 400, "{error}");
        }
    }

    #[tokio::test]
    async fn a_part_that_is_all_headers_is_refused_before_it_fills_memory() {
        let piece = Bytes::from(vec![b'h'; 64 << 10]);
        let start = Bytes::from_static(b"--X\r\n");
        let pieces = std::iter::once(start).chain(std::iter::repeat_n(piece, 1 << 20)).map(Ok::<_, io::Error>);
        let mut form = form(poem::Body::from_bytes_stream(futures_util::stream::iter(pieces)));
        assert_eq!(form.next_part().await.unwrap_err().status, 400);
    }

    #[test]
    fn says_what_is_wrong_with_the_content_type() {
        for (content_type, status) in [
            (None, 415),
            (Some("application/json"), 415),
            (Some("multipart/mixed; boundary=X"), 415),
            (Some("multipart/form-data"), 400),
            (Some("multipart/form-data; boundary="), 400),
            (Some("multipart/form-data; boundary=\"\""), 400),
        ] {
            assert_eq!(boundary(content_type).unwrap_err().status, status, "{content_type:?}");
        }
        assert_eq!(boundary(Some("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"")).unwrap(), "a b");
    }
}
