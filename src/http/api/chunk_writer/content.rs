//! The file as the answer of `GET /get_file`: as JSON, or as it is. A file that is larger than memory goes out both ways
//! piece by piece.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use poem::http::{HeaderMap, HeaderValue, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;

use super::messages::FileText;
use crate::files::port::Content;
use crate::files::{AppendReader, MemoryContent};
use crate::http::download::{Download, FileHead, FileKind};
use crate::http::refusal::Refusal;
use crate::http::typed::StreamedJson;

/// What is read and encoded at once: a multiple of 3, so that the base64 of the pieces is that of the whole. Escaped,
/// a piece is at most six times as long.
const PIECE: usize = 192 << 10;

/// The inside of a JSON string that stands for a piece of the file.
type Encode = fn(&[u8]) -> Vec<u8>;

const OCTETS: &str = "application/octet-stream";
const PLAIN: &str = "text/plain";

/// The file in the representation that the client prefers.
pub struct FileAnswer(Response);

struct RawFile;

impl FileKind for RawFile {
    const CONTENT_TYPE: &'static str = OCTETS;
    const SCHEMA: (&'static str, &'static str) = ("string", "binary");
}

impl FileAnswer {
    /// `None`: there is no file, which is told as an empty one.
    pub fn of(request: &HeaderMap, file: Option<AppendReader>) -> Result<Self, Refusal> {
        let file = file.unwrap_or_else(no_file);
        let mut response = match Representation::preferred(request) {
            Representation::Json => as_json(file).into_response(),
            Representation::Raw(media_type) => as_it_is(request, media_type, file)?.into_response(),
        };
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
        Ok(Self(response))
    }
}

fn no_file() -> AppendReader {
    AppendReader {
        length: 0,
        content: Arc::new(MemoryContent(Bytes::new())),
        utf8: true,
        version: "empty".to_owned(),
        // Not a fixed time: who asks for what changed since the last look must not take the file before the clear for this.
        modified: Timestamp::now(),
    }
}

fn as_json(file: AppendReader) -> StreamedJson<FileText> {
    let (head, encode): (&[u8], Encode) = match file.utf8 {
        true => (b"{\"content\":\"", escape),
        false => (b"{\"encoding\":\"base64\",\"content\":\"", |piece| STANDARD.encode(piece).into_bytes()),
    };
    let fixed = |text| stream::iter([Ok(Bytes::from_static(text))]);
    let content = encoded(file.content, file.length, encode);
    StreamedJson::new(Body::from_bytes_stream(fixed(head).chain(content).chain(fixed(b"\"}"))))
}

fn encoded(
    content: Arc<dyn Content>,
    length: u64,
    encode: Encode,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((content, 0), move |(content, offset)| async move {
        let wanted = (length - offset).min(PIECE as u64) as usize;
        if wanted == 0 {
            return Ok(None);
        }
        let piece = content.read_at(offset, wanted).await?;
        if piece.len() < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((Bytes::from(encode(&piece)), (content, offset + wanted as u64))))
    })
}

/// The inside of a JSON string. All that JSON wants escaped is ASCII, so a piece may begin and end within a character.
fn escape(piece: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut escaped = Vec::with_capacity(piece.len() + piece.len() / 16 + 16);
    let mut copied = 0;
    for (at, byte) in piece.iter().copied().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        escaped.extend_from_slice(&piece[copied..at]);
        copied = at + 1;
        match byte {
            b'"' | b'\\' => escaped.extend([b'\\', byte]),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            b'\t' => escaped.extend(b"\\t"),
            _ => escaped.extend([b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    escaped.extend_from_slice(&piece[copied..]);
    escaped
}

fn as_it_is(request: &HeaderMap, media_type: &'static str, file: AppendReader) -> Result<Download<RawFile>, Refusal> {
    let content_type = if media_type == PLAIN && file.utf8 { "text/plain; charset=utf-8" } else { media_type };
    let head =
        FileHead { size: file.length, etag: &file.version, modified: file.modified, content_type, save_as: None };
    Download::answer(request, &head, |range| file.content.stream(range))
}

#[derive(Debug, PartialEq, Eq)]
enum Representation {
    Json,
    /// As it is, under this media type.
    Raw(&'static str),
}

impl Representation {
    /// JSON unless the client likes the bytes better: many clients accept everything, and name `text/plain` beside JSON.
    fn preferred(request: &HeaderMap) -> Self {
        let lines = request.get_all(header::ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
        let accepted: Vec<(&str, u16)> = lines.flat_map(|line| line.split(',')).map(quality).collect();
        let json = quality_of(&accepted, "application/json");
        let (octets, plain) = (quality_of(&accepted, OCTETS), quality_of(&accepted, PLAIN));
        match octets.max(plain) > json {
            true if plain > octets => Self::Raw(PLAIN),
            true => Self::Raw(OCTETS),
            false => Self::Json,
        }
    }
}

/// A range of media types with its weight in thousandths; one that cannot be read weighs full.
fn quality(range: &str) -> (&str, u16) {
    let mut parameters = range.split(';').map(str::trim);
    let media_range = parameters.next().unwrap_or_default();
    let weight = parameters.find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")));
    let weight = weight.and_then(|weight| weight.trim().parse::<f32>().ok()).unwrap_or(1.0);
    (media_range, (weight.clamp(0.0, 1.0) * 1000.0) as u16)
}

/// The most exact range that covers the type decides (RFC 9110, 12.5.1).
fn quality_of(accepted: &[(&str, u16)], media_type: &str) -> u16 {
    let kind = media_type.split('/').next().unwrap_or_default();
    let find = |covers: &dyn Fn(&str) -> bool| accepted.iter().find(|(range, _)| covers(range)).map(|(_, q)| *q);
    find(&|range| range.eq_ignore_ascii_case(media_type))
        .or_else(|| find(&|range| range.strip_suffix("/*").is_some_and(|prefix| prefix.eq_ignore_ascii_case(kind))))
        .or_else(|| find(&|range| range == "*/*"))
        .unwrap_or(0)
}

impl IntoResponse for FileAnswer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for FileAnswer {
    fn meta() -> MetaResponses {
        let mut meta = Download::<RawFile>::meta();
        let text = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        for response in meta.responses.iter_mut().filter(|response| !response.content.is_empty()) {
            response.content.push(MetaMediaType { content_type: PLAIN, schema: text.clone() });
            response.headers.retain(|header| header.name != "Content-Disposition");
            if response.status == Some(200) {
                let json = MetaMediaType { content_type: "application/json", schema: FileText::schema_ref() };
                response.content.insert(0, json);
            }
        }
        meta
    }

    fn register(registry: &mut Registry) {
        FileText::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures_util::stream::BoxStream;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn preferred(accept: &str) -> Representation {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        Representation::preferred(&headers)
    }

    #[test]
    fn json_unless_the_bytes_are_liked_better() {
        use Representation::*;
        assert_eq!(Representation::preferred(&HeaderMap::new()), Json);
        for (accept, expected) in [
            ("", Json),
            ("*/*", Json),
            ("application/json", Json),
            ("application/json, text/plain, */*", Json),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", Json),
            ("image/png", Json),
            ("application/octet-stream", Raw(OCTETS)),
            ("Application/Octet-Stream", Raw(OCTETS)),
            ("text/plain", Raw(PLAIN)),
            ("text/*", Raw(PLAIN)),
            ("text/plain, */*;q=0.1", Raw(PLAIN)),
            ("application/json;q=0.5, text/plain;q=0.6", Raw(PLAIN)),
            ("application/octet-stream;q=0, */*", Json),
            ("text/plain; charset=utf-8", Raw(PLAIN)),
            ("text/plain;q=zero", Raw(PLAIN)),
        ] {
            assert_eq!(preferred(accept), expected, "{accept}");
        }
    }

    async fn json_of(bytes: Vec<u8>) -> Value {
        let utf8 = std::str::from_utf8(&bytes).is_ok();
        let file = AppendReader {
            length: bytes.len() as u64,
            content: Arc::new(MemoryContent(bytes.into())),
            utf8,
            ..no_file()
        };
        as_json(file).into_response().into_body().into_json().await.unwrap()
    }

    #[tokio::test]
    async fn pieces_may_be_cut_within_a_character_and_between_three_bytes() {
        let text = "é".repeat(PIECE) + "x" + &"日\"\\".repeat(PIECE / 2);
        assert_eq!(json_of(text.clone().into_bytes()).await["content"], text);
        for extra in 0..4 {
            let bytes = vec![0xff; PIECE * 2 + extra];
            let json = json_of(bytes.clone()).await;
            assert_eq!(json["encoding"], "base64");
            assert_eq!(STANDARD.decode(json["content"].as_str().unwrap()).unwrap(), bytes);
        }
    }

    /// Zeros without end, and how often they were asked for.
    struct Counted(AtomicUsize);

    #[async_trait]
    impl Content for Counted {
        async fn read_at(&self, _offset: u64, length: usize) -> io::Result<Bytes> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(vec![0; length].into())
        }

        fn stream(self: Arc<Self>, _range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
            stream::empty().boxed()
        }
    }

    #[tokio::test]
    async fn the_file_is_read_no_faster_than_it_is_sent() {
        for utf8 in [true, false] {
            let content = Arc::new(Counted(AtomicUsize::new(0)));
            let file = AppendReader { length: 1 << 50, content: content.clone(), utf8, ..no_file() };
            let body = as_json(file).into_response().into_body();
            let mut pieces = Box::pin(body.into_bytes_stream());
            assert!(pieces.next().await.unwrap().unwrap().starts_with(b"{"));
            for sent in 1..50 {
                assert!(pieces.next().await.unwrap().unwrap().len() <= PIECE * 6);
                assert_eq!(content.0.load(Ordering::Relaxed), sent);
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_shorter_than_recorded_ends_as_a_broken_answer() {
        let file =
            AppendReader { length: 5, content: Arc::new(MemoryContent(Bytes::from_static(b"abc"))), ..no_file() };
        assert!(as_json(file).into_response().into_body().into_bytes().await.is_err());
    }

    proptest! {
        #[test]
        fn escaped_text_reads_back(text in "\\PC{0,20}[\\x00-\\x7f]{0,40}") {
            let json = [b"\"".as_slice(), &escape(text.as_bytes()), b"\""].concat();
            prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}
