//! The file out, as JSON and as it is, and the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use super::{OCTETS, error};
use crate::support::gateway::{Answered, TestGateway};
use crate::support::{noise, sha256};

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_empty_content_when_there_is_no_file() {
    let gateway = TestGateway::start().await;
    let response = gateway.get("/get_file").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), r#"{"content":""}"#);
    let raw = gateway.raw().send().await.unwrap();
    assert_eq!((raw.status(), &raw.headers()["content-length"]), (StatusCode::OK, &"0".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_utf8_come_in_base64() {
    let gateway = TestGateway::start().await;
    // A character in two chunks is text, when both are there.
    let (first, second) = "é".as_bytes().split_at(1);
    gateway.write_well(first).await;
    assert_eq!(gateway.file().await, json!({"encoding": "base64", "content": STANDARD.encode(first)}));
    gateway.write_well(second).await;
    assert_eq!(gateway.file().await, json!({"content": "é"}));
    let bytes = noise(1_000_001, 1);
    gateway.write_well(&bytes).await;
    let file = gateway.file().await;
    assert_eq!(file["encoding"], "base64");
    assert!(STANDARD.decode(file["content"].as_str().unwrap()).unwrap() == [b"\xc3\xa9", &bytes[..]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn text_reads_back_whatever_is_in_it() {
    let gateway = TestGateway::start().await;
    let text: String = (0..0x3000).filter_map(char::from_u32).chain("\u{fffe}😀\u{10ffff}".chars()).collect();
    let text = text.repeat(40);
    assert_eq!(gateway.write_text(&text, 0).await.0, 200);
    assert!(gateway.file().await["content"] == text);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bytes_have_ranges_conditions_and_head() {
    let gateway = TestGateway::start().await;
    let bytes = noise(500_000, 2);
    gateway.write_well(&bytes).await;
    for media_type in [OCTETS, "text/plain"] {
        let raw = || gateway.get("/get_file").header(ACCEPT, media_type);
        let whole = raw().send().await.unwrap();
        let headers = whole.headers().clone();
        assert_eq!((whole.status(), &headers["content-type"]), (StatusCode::OK, &media_type.parse().unwrap()));
        assert_eq!(
            (&headers["accept-ranges"], &headers["content-length"]),
            (&"bytes".parse().unwrap(), &"500000".parse().unwrap())
        );
        assert!(whole.bytes().await.unwrap() == bytes);

        let part = raw().header("range", "bytes=1000-200999").send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers()["content-range"], "bytes 1000-200999/500000");
        assert!(part.bytes().await.unwrap() == bytes[1_000..201_000]);
        let end = raw().header("range", "bytes=-10").send().await.unwrap();
        assert!(end.bytes().await.unwrap() == bytes[499_990..]);
        let (status, body) = raw().header("range", "bytes=500000-").answer().await;
        assert_eq!(status, 416);
        error(&body);

        let known = raw().header("if-none-match", &headers["etag"]).send().await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        let head = gateway.client.head(gateway.url("/get_file")).header(ACCEPT, media_type).send().await.unwrap();
        assert_eq!((head.status(), &head.headers()["content-length"]), (StatusCode::OK, &"500000".parse().unwrap()));
    }
    // What is appended is another version: a range of the old one is not to be mixed with it.
    let before = gateway.raw().send().await.unwrap().headers()["etag"].clone();
    gateway.write_well(b"more").await;
    let resumed = gateway.raw().header("range", "bytes=500000-").header("if-range", before).send().await.unwrap();
    assert_eq!(resumed.status(), StatusCode::OK);
    assert_eq!(resumed.bytes().await.unwrap().len(), 500_004);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_served_as_utf8_and_json_to_those_that_take_anything() {
    let gateway = TestGateway::start().await;
    gateway.write_well("é".as_bytes()).await;
    let kind = async |accept: &str| {
        let response = gateway.get("/get_file").header(ACCEPT, accept).send().await.unwrap();
        assert_eq!(response.headers()["vary"], "Accept");
        response.headers()["content-type"].to_str().unwrap().to_owned()
    };
    assert_eq!(kind("text/plain").await, "text/plain; charset=utf-8");
    assert_eq!(kind(OCTETS).await, OCTETS);
    assert_eq!(kind("*/*").await, "application/json");
    assert_eq!(kind("application/json, text/plain, */*").await, "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_while_the_file_is_cleared_reads_on() {
    let gateway = TestGateway::start().await;
    // More than the sockets hold, so that most of it is read after the clear.
    let bytes = noise(48 << 20, 3);
    for piece in bytes.chunks(16 << 20) {
        gateway.write_well(piece).await;
    }
    let mut raw = gateway.raw().send().await.unwrap().bytes_stream();
    let mut as_json = gateway.get("/get_file").send().await.unwrap().bytes_stream();
    let (mut read, mut json) =
        (raw.next().await.unwrap().unwrap().to_vec(), as_json.next().await.unwrap().unwrap().to_vec());
    gateway.clear_file().await;
    gateway.write_well(&noise(48 << 20, 4)).await;
    assert!(read.len() < bytes.len());
    while let Some(piece) = raw.next().await {
        read.extend_from_slice(&piece.unwrap());
    }
    while let Some(piece) = as_json.next().await {
        json.extend_from_slice(&piece.unwrap());
    }
    assert!(read == bytes, "the reader was disturbed");
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert!(STANDARD.decode(json["content"].as_str().unwrap()).unwrap() == bytes, "the reader of JSON was disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_while_chunks_are_appended_reads_what_was_there() {
    let gateway = TestGateway::start().await;
    let bytes = noise(24 << 20, 5);
    gateway.write_well(&bytes).await;
    let mut raw = gateway.raw().send().await.unwrap().bytes_stream();
    let mut read = raw.next().await.unwrap().unwrap().to_vec();
    gateway.write_well(b"more").await;
    while let Some(piece) = raw.next().await {
        read.extend_from_slice(&piece.unwrap());
    }
    assert!(read == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_out_piece_by_piece_both_ways() {
    let gateway = TestGateway::start().await;
    let line = "une ligne de texte, \"entre guillemets\"\n";
    let piece = line.repeat((8 << 20) / line.len());
    for _ in 0..12 {
        gateway.write_well(piece.as_bytes()).await;
    }
    let expected = sha256(piece.repeat(12).as_bytes());
    let response = gateway.get("/get_file").send().await.unwrap();
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    let file: Value = response.json().await.unwrap();
    assert!(sha256(file["content"].as_str().unwrap().as_bytes()) == expected);
    assert!(sha256(&gateway.raw_bytes().await) == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_and_needs_no_other_host() {
    let gateway = TestGateway::start().await;
    let response = gateway.get("/site_chunk_writer.html").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let page = response.text().await.unwrap();
    for path in ["/write_chunk", "/write_chunk_binary", "/get_file", "/clear_file"] {
        assert!(page.contains(&format!("\"{path}\"")), "{path}");
    }
    // A name of XML is no address that is called.
    let page = page.replace("xmlns='http://www.w3.org/2000/svg'", "");
    for host in ["http://", "https://", "src=", "url(", "@import", "import("] {
        assert!(!page.contains(host), "{host}");
    }
}
