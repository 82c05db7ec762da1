//! A file as the answer: whole, a range of it, or "you have it already" (RFC 9110, 13 and 14). Pieces go out as the
//! storage gives them, under a Content-Length, so that a file that is cut while it is read ends as a broken answer.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};

use super::refusal::Refusal;

/// What is said of a file beside its bytes.
#[derive(Debug, Clone)]
pub struct FileHead<'a> {
    /// Bytes.
    pub size: u64,
    /// Strong, without its quotes: the file's version.
    pub etag: &'a str,
    pub modified: Timestamp,
    pub content_type: &'a str,
    /// The name to save it under; `None` shows it in place.
    pub save_as: Option<&'a str>,
}

/// How the document shows the file's bytes.
pub trait FileKind: Send + Sync + 'static {
    const CONTENT_TYPE: &'static str;
    /// `("string", "")` gives generated clients the text itself, `("string", "binary")` a file.
    const SCHEMA: (&'static str, &'static str);
}

/// The answer with a file, documented with 200, 206 and 304. (404, 412 and 416 are refusals.)
pub struct Download<K> {
    response: Response,
    documented_as: PhantomData<fn() -> K>,
}

/// What the request's conditions and range come to.
#[derive(Debug, PartialEq, Eq)]
enum Selection {
    Whole,
    Part(Range<u64>),
    NotModified,
    PreconditionFailed,
    NotSatisfiable,
}

impl<K> Download<K> {
    /// `open` is asked once, for the bytes to send, and not at all when none are.
    pub fn answer<S>(
        request: &HeaderMap,
        file: &FileHead<'_>,
        open: impl FnOnce(Range<u64>) -> S,
    ) -> Result<Self, Refusal>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let response = match select(request, file) {
            Selection::Whole => content(file, StatusCode::OK, 0..file.size, open),
            Selection::Part(range) => content(file, StatusCode::PARTIAL_CONTENT, range, open),
            Selection::NotModified => {
                let mut response = Response::builder().status(StatusCode::NOT_MODIFIED).finish();
                validators(response.headers_mut(), file);
                response
            }
            Selection::PreconditionFailed => {
                return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "the file is another version by now")
                    .with_header(header::ETAG, etag(file)));
            }
            Selection::NotSatisfiable => {
                let message = format!("the range lies outside of the file's {} bytes", file.size);
                return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, message)
                    .with_header(header::CONTENT_RANGE, value(format!("bytes */{}", file.size)))
                    .with_header(header::ETAG, etag(file)));
            }
        };
        Ok(Self { response, documented_as: PhantomData })
    }
}

fn content<S>(
    file: &FileHead<'_>,
    status: StatusCode,
    range: Range<u64>,
    open: impl FnOnce(Range<u64>) -> S,
) -> Response
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let length = range.end - range.start;
    let body = if length == 0 { Body::empty() } else { Body::from_bytes_stream(open(range.clone())) };
    let mut response = Response::builder().status(status).body(body);
    let headers = response.headers_mut();
    validators(headers, file);
    headers.insert(header::CONTENT_TYPE, value(file.content_type.to_owned()));
    headers.insert(header::CONTENT_LENGTH, value(length.to_string()));
    if status == StatusCode::PARTIAL_CONTENT {
        let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        headers.insert(header::CONTENT_RANGE, value(content_range));
    }
    if let Some(name) = file.save_as {
        headers.insert(header::CONTENT_DISPOSITION, value(attachment(name)));
    }
    // What somebody uploaded must not be run because a browser thinks it looks like a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn validators(headers: &mut HeaderMap, file: &FileHead<'_>) {
    headers.insert(header::ETAG, etag(file));
    if let Some(modified) = system_time(file.modified) {
        headers.insert(header::LAST_MODIFIED, value(httpdate::fmt_http_date(modified)));
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Without it browsers guess a lifetime from Last-Modified, and show an old version as the current one.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

fn etag(file: &FileHead<'_>) -> HeaderValue {
    value(format!("\"{}\"", file.etag))
}

/// Everything that comes here is visible ASCII but for a content type out of a record.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// RFC 9110, 13.2.2: the order in which conditions count.
fn select(request: &HeaderMap, file: &FileHead<'_>) -> Selection {
    if request.contains_key(header::IF_MATCH) {
        if !lists_etag(request, header::IF_MATCH, file.etag, Comparison::Strong) {
            return Selection::PreconditionFailed;
        }
    } else if date(request, header::IF_UNMODIFIED_SINCE).is_some_and(|since| whole_seconds(file.modified) > since) {
        return Selection::PreconditionFailed;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        if lists_etag(request, header::IF_NONE_MATCH, file.etag, Comparison::Weak) {
            return Selection::NotModified;
        }
    } else if date(request, header::IF_MODIFIED_SINCE).is_some_and(|since| whole_seconds(file.modified) <= since) {
        return Selection::NotModified;
    }
    match request.get(header::RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) if if_range_holds(request, file) => parse_range(range, file.size),
        _ => Selection::Whole,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// `W/"x"` is no `"x"`.
    Strong,
    Weak,
}

fn lists_etag(request: &HeaderMap, name: header::HeaderName, etag: &str, comparison: Comparison) -> bool {
    let lines = request.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|tag| {
        let tag = match comparison {
            Comparison::Strong => tag,
            Comparison::Weak => tag.strip_prefix("W/").unwrap_or(tag),
        };
        tag == "*" || unquoted(tag) == Some(etag)
    })
}

/// Our ETags hold neither commas nor quotes, so nothing more is parsed.
fn unquoted(tag: &str) -> Option<&str> {
    tag.strip_prefix('"')?.strip_suffix('"')
}

/// The range counts only for the version that the client has the rest of.
fn if_range_holds(request: &HeaderMap, file: &FileHead<'_>) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    let Ok(condition) = condition.to_str() else { return false };
    match unquoted(condition.trim()) {
        Some(tag) => tag == file.etag,
        None => httpdate::parse_http_date(condition).is_ok_and(|at| seconds(at) == Some(whole_seconds(file.modified))),
    }
}

/// One range; several, another unit or nonsense mean the whole, as RFC 9110, 14.2 allows.
fn parse_range(header: &str, size: u64) -> Selection {
    let Some((unit, set)) = header.split_once('=') else { return Selection::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Selection::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Selection::Whole;
    }
    let (first, last) = (first.trim(), last.trim());
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
        _ => return Selection::Whole,
    };
    if range.start < range.end { Selection::Part(range) } else { Selection::NotSatisfiable }
}

/// Digits alone; more than fit mean "beyond every end".
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn date(request: &HeaderMap, name: header::HeaderName) -> Option<i64> {
    let text = request.get(name)?.to_str().ok()?;
    seconds(httpdate::parse_http_date(text).ok()?)
}

fn seconds(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// HTTP's dates have whole seconds.
fn whole_seconds(time: Timestamp) -> i64 {
    time.as_second()
}

fn system_time(time: Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(time.as_second()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// RFC 6266: the name in ASCII for old clients, and as it is (RFC 8187) where it is more than that.
fn attachment(name: &str) -> String {
    /// What RFC 8187 leaves as it is.
    const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    // `%` too: some browsers decode it within the plain form.
    let is_plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    if plain == name {
        format!("attachment; filename=\"{plain}\"")
    } else {
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ATTRIBUTE))
    }
}

impl<K: Send> IntoResponse for Download<K> {
    fn into_response(self) -> Response {
        self.response
    }
}

impl<K: FileKind> ApiResponse for Download<K> {
    fn meta() -> MetaResponses {
        let answer = |status, description, content, headers: &[(&str, &str)]| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers: headers.iter().map(|(name, text)| meta_header(name, text)).collect(),
        };
        let etag = ("ETag", "The file's version.");
        let modified = ("Last-Modified", "When this version was stored.");
        let disposition = ("Content-Disposition", "The file's name.");
        let range = ("Content-Range", "Which bytes of how many these are.");
        MetaResponses {
            responses: vec![
                answer(200, "The whole file.", media_type::<K>(), &[etag, modified, disposition]),
                answer(206, "The range that was asked for.", media_type::<K>(), &[etag, modified, disposition, range]),
                answer(304, "The version that the client has is the current one.", vec![], &[etag, modified]),
            ],
        }
    }

    fn register(_registry: &mut Registry) {}
}

fn media_type<K: FileKind>() -> Vec<MetaMediaType> {
    let (ty, format) = K::SCHEMA;
    let schema = if format.is_empty() { MetaSchema::new(ty) } else { MetaSchema::new_with_format(ty, format) };
    vec![MetaMediaType { content_type: K::CONTENT_TYPE, schema: MetaSchemaRef::Inline(Box::new(schema)) }]
}

fn meta_header(name: &str, description: &str) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: false,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn file(size: u64) -> FileHead<'static> {
        FileHead {
            size,
            etag: "v1",
            modified: Timestamp::new(784_111_777, 500_000_000).unwrap(),
            content_type: "application/json",
            save_as: Some("été 1.json"),
        }
    }

    fn selected(size: u64, headers: &[(&str, &str)]) -> Selection {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(header::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        select(&map, &file(size))
    }

    #[test]
    fn ranges() {
        use Selection::*;
        for (range, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-9", Part(0..10)),
            ("bytes=0-99", Part(0..10)),
            ("bytes=9-", Part(9..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99", Part(0..10)),
            ("Bytes = 2-3", Part(2..4)),
            ("bytes=2-99999999999999999999999", Part(2..10)),
            ("bytes=10-", NotSatisfiable),
            ("bytes=99999999999999999999999-", NotSatisfiable),
            ("bytes=-0", NotSatisfiable),
            ("bytes=3-2", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("lines=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(selected(10, &[("range", range)]), expected, "{range}");
        }
        assert_eq!(selected(0, &[("range", "bytes=0-")]), NotSatisfiable);
        assert_eq!(selected(0, &[]), Whole);
    }

    #[test]
    fn conditions() {
        use Selection::*;
        let cases: &[(&[(&str, &str)], Selection)] = &[
            (&[("if-none-match", "\"v1\"")], NotModified),
            (&[("if-none-match", "\"v0\", W/\"v1\"")], NotModified),
            (&[("if-none-match", "\"v0\""), ("if-none-match", "\"v1\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"v2\"")], Whole),
            // A list of ETags makes the date not count.
            (&[("if-none-match", "\"v2\""), ("if-modified-since", MODIFIED)], Whole),
            (&[("if-modified-since", MODIFIED)], NotModified),
            (&[("if-modified-since", EARLIER)], Whole),
            (&[("if-modified-since", "yesterday")], Whole),
            (&[("if-match", "\"v1\"")], Whole),
            (&[("if-match", "*")], Whole),
            (&[("if-match", "W/\"v1\"")], PreconditionFailed),
            (&[("if-match", "\"v2\"")], PreconditionFailed),
            (&[("if-match", "\"v1\""), ("if-unmodified-since", EARLIER)], Whole),
            (&[("if-unmodified-since", EARLIER)], PreconditionFailed),
            (&[("if-unmodified-since", MODIFIED)], Whole),
            (&[("range", "bytes=1-2"), ("if-range", "\"v1\"")], Part(1..3)),
            (&[("range", "bytes=1-2"), ("if-range", "\"v2\"")], Whole),
            (&[("range", "bytes=1-2"), ("if-range", "W/\"v1\"")], Whole),
            (&[("range", "bytes=1-2"), ("if-range", MODIFIED)], Part(1..3)),
            (&[("range", "bytes=1-2"), ("if-range", EARLIER)], Whole),
            (&[("range", "bytes=99-"), ("if-range", "\"v2\"")], Whole),
            (&[("range", "bytes=1-2"), ("if-none-match", "\"v1\"")], NotModified),
        ];
        for (headers, expected) in cases {
            assert_eq!(&selected(10, headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn names_survive_in_both_forms() {
        assert_eq!(attachment("a b.json"), "attachment; filename=\"a b.json\"");
        assert_eq!(
            attachment("été \"1\".json"),
            "attachment; filename=\"_t_ _1_.json\"; filename*=UTF-8''%C3%A9t%C3%A9%20%221%22.json"
        );
        assert_eq!(attachment("50%25.json"), "attachment; filename=\"50_25.json\"; filename*=UTF-8''50%2525.json");
    }

    #[tokio::test]
    async fn the_stream_is_opened_for_the_bytes_that_are_sent() {
        struct Kind;
        let bytes = Bytes::from_static(b"0123456789");
        let answer = |headers: &[(&str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(header::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
            }
            Download::<Kind>::answer(&map, &file(10), |range| {
                let piece = bytes.slice(range.start as usize..range.end as usize);
                futures_util::stream::iter([Ok(piece)])
            })
            .map(IntoResponse::into_response)
        };
        let part = answer(&[("range", "bytes=2-4")]).unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
        assert_eq!(part.header("content-length"), Some("3"));
        assert_eq!(part.header("etag"), Some("\"v1\""));
        assert_eq!(part.header("last-modified"), Some(MODIFIED));
        assert_eq!(part.into_body().into_string().await.unwrap(), "234");
        let not_modified = answer(&[("if-none-match", "\"v1\"")]).unwrap();
        assert_eq!(not_modified.status(), 304);
        assert_eq!(not_modified.header("content-length"), None);
        let refused = answer(&[("range", "bytes=10-")]).err().unwrap();
        assert_eq!(refused.status, 416);
        assert_eq!(refused.headers[0].1, "bytes */10");
    }
}
