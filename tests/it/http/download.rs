//! Files as answers, over the wire.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use tidegate::http::download::{Download, FileHead};

use super::*;

const CONTENT: &[u8] = b"0123456789";

struct AnyFile;

/// Ten bytes; with `?cut` the storage gives an error in the middle, with `?short` it ends too early.
pub fn file_endpoint() -> impl Endpoint<Output = Response> + 'static {
    endpoint::make_sync(|request: Request| {
        let cut = request.uri().query().unwrap_or_default().to_owned();
        let head = FileHead {
            size: CONTENT.len() as u64,
            etag: "v1",
            modified: Timestamp::from_second(784_111_777).unwrap(),
            content_type: "application/json",
            save_as: Some("été.json"),
        };
        Download::<AnyFile>::answer(request.headers(), &head, move |range| {
            let bytes = Bytes::from_static(&CONTENT[range.start as usize..range.end as usize]);
            let (first, rest) = (bytes.slice(..bytes.len() / 2), bytes.slice(bytes.len() / 2..));
            let end = match cut.as_str() {
                "cut" => vec![Err(io::Error::other("the file is shorter by now"))],
                "short" => vec![],
                _ => vec![Ok(rest)],
            };
            stream::iter(std::iter::once(Ok(first)).chain(end))
        })
        .map_err(poem::Error::from)
        .map(IntoResponse::into_response)
    })
    .map_to_response()
}

#[tokio::test]
async fn whole_parts_and_not_modified() {
    let served = serve(config()).await;
    let whole = served.ask("GET /file HTTP/1.1").await;
    assert_eq!((whole.status, whole.body.as_slice()), (200, CONTENT));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(
        whole.header("content-disposition"),
        Some("attachment; filename=\"_t_.json\"; filename*=UTF-8''%C3%A9t%C3%A9.json")
    );
    let part = served.ask("GET /file HTTP/1.1\nrange: bytes=-3").await;
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "789", Some("bytes 7-9/10")));
    let stale = served.ask("GET /file HTTP/1.1\nrange: bytes=-3\nif-range: \"v0\"").await;
    assert_eq!((stale.status, stale.body.as_slice()), (200, CONTENT));
    let outside = served.ask("GET /file HTTP/1.1\nrange: bytes=10-").await;
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */10")));
    assert_eq!(outside.header("content-type"), Some("application/problem+json"));
    let known = served.ask("GET /file HTTP/1.1\nif-none-match: \"v1\"").await;
    assert_eq!((known.status, known.header("etag"), known.body.len()), (304, Some("\"v1\""), 0));
    let other = served.ask("GET /file HTTP/1.1\nif-match: \"v0\"").await;
    assert_eq!(other.status, 412);
}

#[tokio::test]
async fn head_says_what_get_would() {
    let served = serve(config()).await;
    let mut client = served.connect().await;
    client.send("HEAD /file HTTP/1.1\nrange: bytes=0-1", b"").await;
    let head = client.answer(true).await;
    assert_eq!((head.status, head.header("content-length"), head.header("etag")), (200, Some("10"), Some("\"v1\"")));
    client.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(client.answer(false).await.text(), "hello");
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_never_looks_whole() {
    let served = serve(config()).await;
    for how in ["cut", "short"] {
        let mut client = served.connect().await;
        client.send(&format!("GET /file?{how} HTTP/1.1"), b"").await;
        let all = String::from_utf8(client.closed().await).unwrap();
        let body = all.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(body.len() < CONTENT.len(), "{how}: {all}");
        assert!(all.is_empty() || all.contains("content-length: 10\r\n"), "{how}: {all}");
    }
}
