//! Chunks in, and the file emptied.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error;
use crate::support::gateway::{Answered, Options, TestGateway};
use crate::support::noise;

#[tokio::test(flavor = "multi_thread")]
async fn text_is_appended_in_order_of_arrival_and_the_index_only_echoed() {
    let gateway = TestGateway::start().await;
    for (index, chunk) in [(7, "première ligne\n"), (3, ""), (-1, "\"日本\"\0"), (i64::MAX, "end")] {
        let message = format!("chunk {index} was appended");
        let expected = json!({ "success": true, "message": message, "chunk": chunk });
        assert_eq!(gateway.write_text(chunk, index).await, (200, expected));
    }
    assert_eq!(gateway.on_disk(), "première ligne\n\"日本\"\0end".as_bytes());
    // Without an index, or with none in so many words, it is 0.
    for body in [json!({"chunk": "x"}), json!({"chunk": "x", "index": null})] {
        let (status, answer) = gateway.post("/write_chunk").json(&body).answer().await;
        assert_eq!((status, &answer["message"]), (200, &json!("chunk 0 was appended")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_read_under_any_content_type_or_none() {
    let gateway = TestGateway::start().await;
    let types =
        [None, Some("application/json"), Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("?")];
    for content_type in types {
        let request = gateway.post("/write_chunk").body(r#"{"chunk": "x"}"#);
        let request = content_type.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        assert_eq!(request.answer().await.0, 200, "{content_type:?}");
    }
    assert_eq!(gateway.on_disk(), [b'x'; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_without_a_chunk_or_with_a_wrong_one_is_400_and_appends_nothing() {
    let gateway = TestGateway::start().await;
    let (status, body) = gateway.post("/write_chunk").body("{}").answer().await;
    assert_eq!(status, 400);
    assert!(error(&body).contains("`chunk`"), "{body}");
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "null",
        "[]",
        "x",
        r#"{"index": 1}"#,
        r#"{"chunk": 1}"#,
        r#"{"chunk": null}"#,
        r#"{"chunk": "x", "index": "1"}"#,
        r#"{"chunk": "x", "index": 1.5}"#,
        r#"{"chunk": "x""#,
        r#"{"chunk": "\ud800"}"#,
        &deep,
    ] {
        let (status, answer) = gateway.post("/write_chunk").body(body.to_owned()).answer().await;
        assert_eq!(status, 400, "{:.40}: {answer}", body);
        error(&answer);
    }
    let (status, _) = gateway.post("/write_chunk").body(b"{\"chunk\": \"\xff\"}".to_vec()).answer().await;
    assert_eq!(status, 400);
    assert_eq!(gateway.file().await, json!({"content": ""}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_chunk_larger_than_16_mib_is_413() {
    let gateway = TestGateway::start().await;
    let body = |length: usize| format!(r#"{{"chunk": "{}"}}"#, "x".repeat(length - r#"{"chunk": ""}"#.len()));
    let limit = 16 << 20;
    assert_eq!(gateway.post("/write_chunk").body(body(limit)).answer().await.0, 200);
    let length = gateway.on_disk().len();
    let (status, answer) = gateway.post("/write_chunk").body(body(limit + 1)).answer().await;
    assert_eq!((status, gateway.on_disk().len()), (413, length));
    error(&answer);
    // Nor when it does not say how long it is.
    let body = body(limit + 1).into_bytes();
    let pieces = body.chunks(1 << 20).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let stream = futures_util::stream::iter(pieces.collect::<Vec<_>>());
    let request = gateway.post("/write_chunk").body(reqwest::Body::wrap_stream(stream));
    assert_eq!((request.answer().await.0, gateway.on_disk().len()), (413, length));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_stored_as_they_are_under_any_content_type_or_none() {
    let gateway = TestGateway::start().await;
    let bytes = noise(1000, 1);
    for content_type in [None, Some("application/octet-stream"), Some("application/json"), Some("multipart/form-data")]
    {
        let request = gateway.post("/write_chunk_binary").body(bytes.clone());
        let request = content_type.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        let expected = json!({ "success": true, "message": "1000 bytes were appended", "size": 1000 });
        assert_eq!(request.answer().await, (200, expected));
    }
    assert!(gateway.on_disk() == bytes.repeat(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_is_400() {
    let gateway = TestGateway::start().await;
    for request in [gateway.post("/write_chunk_binary"), gateway.post("/write_chunk_binary").body("")] {
        let (status, body) = request.answer().await;
        assert_eq!(status, 400);
        error(&body);
    }
    assert_eq!(gateway.file().await, json!({"content": ""}));
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_at_once_never_interleave() {
    let gateway = TestGateway::start().await;
    // Small ones stay in memory, large ones go through staging; each chunk tells its writer, number and length.
    let lengths = [40, 3_000, 70_000, 300_000, 900_000];
    let chunk = |writer: usize, number: usize| {
        let length = lengths[(writer + number) % lengths.len()];
        let mut chunk = format!("<{writer}:{number:04}:{length:07}>").into_bytes();
        chunk.resize(length, b'a' + writer as u8);
        chunk
    };
    let write = |writer: usize| {
        let (gateway, chunk) = (&gateway, &chunk);
        async move {
            for number in 0..20 {
                let chunk = chunk(writer, number);
                match writer % 2 {
                    0 => gateway.write_well(&chunk).await,
                    _ => assert_eq!(gateway.write_text(std::str::from_utf8(&chunk).unwrap(), 0).await.0, 200),
                }
            }
        }
    };
    join_all((0..8).map(write)).await;
    let file = gateway.raw_bytes().await;
    assert!(file == gateway.on_disk());
    let mut next = [0; 8];
    let mut rest = &file[..];
    while !rest.is_empty() {
        let writer = usize::from(rest[1] - b'0');
        let expected = chunk(writer, next[writer]);
        assert!(rest.starts_with(&expected), "a chunk is not whole, or out of its writer's order");
        rest = &rest[expected.len()..];
        next[writer] += 1;
    }
    assert_eq!(next, [20; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_empties_the_file_also_when_there_is_none() {
    let gateway = TestGateway::start().await;
    gateway.clear_file().await;
    gateway.write_well(b"\xff").await;
    gateway.clear_file().await;
    gateway.clear_file().await;
    assert_eq!(gateway.file().await, json!({"content": ""}));
    assert!(!gateway.stored("uploads/received_chunks.txt").exists());
    // What was not text before the clear does not make what comes after it no text.
    gateway.write_well(b"text").await;
    assert_eq!(gateway.file().await, json!({"content": "text"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn clears_and_writes_at_once_leave_whole_chunks() {
    let gateway = TestGateway::start().await;
    let chunk = noise(300_000, 2);
    for _ in 0..10 {
        let writes = join_all((0..6).map(|_| gateway.write_well(&chunk)));
        tokio::join!(writes, gateway.clear_file(), gateway.clear_file());
        let file = gateway.raw_bytes().await;
        assert!(file == chunk.repeat(file.len() / chunk.len()), "{}", file.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_appends_nothing() {
    let gateway = TestGateway::start().await;
    gateway.write_well(b"before").await;
    for (path, sent) in [("/write_chunk_binary", 10), ("/write_chunk_binary", 700_000), ("/write_chunk", 10)] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&noise(sent, 3)).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&answer));
    }
    gateway.write_well(b", after").await;
    assert_eq!(gateway.file().await, json!({"content": "before, after"}));
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_would_be_too_large_is_413_and_stays_as_it_is() {
    let gateway = TestGateway::start_with(Options { max_file_size: 10, ..Options::default() }).await;
    gateway.write_well(b"12345678").await;
    for answer in [gateway.write_bytes(*b"abc").await, gateway.write_bytes(noise(11, 1)).await] {
        assert_eq!(answer.0, 413);
        error(&answer.1);
    }
    assert_eq!(gateway.write_text("abc", 0).await.0, 413);
    gateway.write_well(b"90").await;
    assert_eq!(gateway.file().await, json!({"content": "1234567890"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let gateway = TestGateway::start().await;
    let bytes = noise(400_000, 4);
    gateway.write_well(&bytes).await;
    gateway.write_well(b"tail").await;
    let path = gateway.stored("uploads/received_chunks.txt");
    let folder = gateway.stop().await;
    // What a crash left behind the acknowledged length.
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, b"half a chunk").unwrap();
    let gateway = TestGateway::start_in(folder, Options::default()).await;
    let expected = [&bytes[..], b"tail"].concat();
    assert!(gateway.raw_bytes().await == expected);
    gateway.write_well(b"more").await;
    assert!(gateway.on_disk() == [&expected[..], b"more"].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_from_before_the_first_start_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("files/uploads")).unwrap();
    std::fs::write(folder.path().join("files/uploads/received_chunks.txt"), "there before\n").unwrap();
    let gateway = TestGateway::start_in(folder, Options::default()).await;
    assert_eq!(gateway.file().await, json!({"content": "there before\n"}));
    gateway.write_well(b"now").await;
    assert_eq!(gateway.file().await, json!({"content": "there before\nnow"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_origins_are_told_in_the_shape() {
    let gateway = TestGateway::start().await;
    for (method, path, status) in [
        (Method::GET, "/write_chunk", 405),
        (Method::PUT, "/write_chunk_binary", 405),
        (Method::POST, "/get_file", 405),
        (Method::GET, "/clear_file", 405),
        (Method::POST, "/site_chunk_writer.html", 405),
    ] {
        let (code, body) = gateway.client.request(method, gateway.url(path)).answer().await;
        assert_eq!(code, status, "{path}: {body}");
        error(&body);
    }
    let (status, body) = gateway.post("/clear_file").header("origin", "https://evil.example").answer().await;
    assert_eq!(status, 403);
    error(&body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_in_the_document_are_what_the_gateway_answers() {
    let gateway = TestGateway::start().await;
    let document = gateway.get("/openapi.json").answer().await.1;
    let content = |path: &str, method: &str, status: &str| -> Value {
        document["paths"][path][method]["responses"][status]["content"]["application/json"]["example"].clone()
    };
    let body = &document["paths"]["/write_chunk"]["post"]["requestBody"]["content"]["application/json"]["example"];
    let written = gateway.post("/write_chunk").json(body).answer().await;
    assert_eq!(written, (200, content("/write_chunk", "post", "200")));
    assert_eq!(gateway.post("/write_chunk").body("{}").answer().await, (400, content("/write_chunk", "post", "400")));
    let large = gateway.post("/write_chunk").body(vec![b'x'; (16 << 20) + 1]).answer().await;
    assert_eq!(large, (413, content("/write_chunk", "post", "413")));
    let beyond = gateway.raw().header("range", "bytes=11-").answer().await;
    assert_eq!(beyond, (416, content("/get_file", "get", "416")));
    let read = gateway.get("/get_file").answer().await;
    assert_eq!(read, (200, content("/get_file", "get", "200")));
    let binary = "/write_chunk_binary";
    assert_eq!(gateway.write_bytes(*b"four").await, (200, content(binary, "post", "200")));
    assert_eq!(gateway.write_bytes(*b"").await, (400, content(binary, "post", "400")));
    assert_eq!(gateway.post("/clear_file").answer().await, (200, content("/clear_file", "post", "200")));
}
