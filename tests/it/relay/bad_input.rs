//! What must be refused with a 4xx in the relay's shape, and leave no trace.

use super::*;

#[track_caller]
fn assert_refused(status: u16, body: &str, what: &str) {
    assert!((400..500).contains(&status), "{what}: {status} {body}");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{what}: {status} {body:?}"));
    assert!(body["detail"].is_string(), "{what}: {body}");
}

fn post(path: &str, content_type: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Names that cannot be one, as they stand in a URL.
const BAD_SEGMENTS: [&str; 15] = [
    "..",
    ".",
    "%2e%2e",
    "%2e%2e%2fsecret.json",
    "..%2f..%2fetc%2fpasswd",
    "%2Fetc%2Fpasswd",
    "..%5csecret.json",
    "C%3A%5Csecret.json",
    "C%3Asecret.json",
    "a%00b.json",
    "a%0d%0ab.json",
    "a%7f.json",
    "%ff%fe.json",
    "%E2%80%AEnosj.json",
    ".hidden.json",
];

#[tokio::test]
async fn names_in_urls_that_cannot_be_one() {
    let relay = Relay::start();
    std::fs::write(relay.process.folder().join("secret.json"), "1").unwrap();
    let long = "x".repeat(5_000) + ".json";
    for segment in BAD_SEGMENTS.into_iter().chain([long.as_str()]) {
        for (method, path) in [
            ("GET", format!("/api/files/societe/{segment}/files")),
            ("GET", format!("/api/files/download/a/{segment}")),
            ("GET", format!("/api/files/download/{segment}/secret.json")),
            ("HEAD", format!("/api/files/download/a/{segment}")),
            ("POST", format!("/api/files/sync/{segment}")),
            ("DELETE", format!("/api/files/delete/a/{segment}")),
            ("DELETE", format!("/api/files/delete/{segment}/secret.json")),
        ] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let (status, body) = relay.raw(request).await;
            match method {
                "HEAD" => assert!((400..500).contains(&status), "{path}: {status}"),
                _ => assert_refused(status, &body, &path),
            }
        }
        let body = form(&[file_part("x.json", b"1")]);
        let (status, answer) = relay.raw(post(&format!("/api/files/upload/{segment}"), FORM, body.len(), &body)).await;
        assert_refused(status, &answer, segment);
    }
    assert!(relay.process.folder().join("secret.json").exists());
    std::fs::remove_file(relay.process.folder().join("secret.json")).unwrap();
    relay.assert_untouched().await;
}

#[tokio::test]
async fn names_in_forms_that_cannot_be_one() {
    let relay = Relay::start();
    let long = "x".repeat(5_000) + ".json";
    let names: [&[u8]; 12] = [
        b"..",
        b"../x.json",
        b"/etc/x.json",
        b"C:\\x.json",
        b"a\0b.json",
        b"a\x7fb.json",
        b"a\xff\xfe.json",
        " x.json".as_bytes(),
        "a\u{202e}b.json".as_bytes(),
        b".json",
        b"nul.json",
        long.as_bytes(),
    ];
    for name in names {
        let mut part = b"Content-Disposition: form-data; name=\"file\"; filename=\"".to_vec();
        part.extend_from_slice(name);
        part.extend_from_slice(b"\"\r\n\r\n1");
        let body = form(&[part]);
        let (status, answer) = relay.raw(post("/api/files/upload/a", FORM, body.len(), &body)).await;
        assert_refused(status, &answer, &String::from_utf8_lossy(name));
    }
    relay.assert_untouched().await;
}

#[tokio::test]
async fn bodies_that_break_off() {
    let relay = Relay::start();
    let whole = form(&[file_part("x.json", accounts(100_000).as_bytes())]);
    for at in [0, 10, 80, 200, 50_000, whole.len() - 10, whole.len() - 4] {
        // The connection ends before the announced length.
        let (status, answer) = relay.raw(post("/api/files/upload/a", FORM, whole.len(), &whole[..at])).await;
        assert_refused(status, &answer, &format!("cut at {at}"));
        // The body ends as announced, but the form does not.
        let (status, answer) = relay.raw(post("/api/files/upload/a", FORM, at, &whole[..at])).await;
        assert_refused(status, &answer, &format!("ends at {at}"));
        // A chunked body whose last chunk never comes.
        let mut chunked = format!(
            "POST /api/files/upload/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n\
             Transfer-Encoding: chunked\r\n\r\n{at:x}\r\n"
        )
        .into_bytes();
        chunked.extend_from_slice(&whole[..at]);
        if at > 0 {
            let (status, answer) = relay.raw(chunked).await;
            assert_refused(status, &answer, &format!("chunked, cut at {at}"));
        }
    }
    relay.assert_untouched().await;
}

#[tokio::test]
async fn wrong_content_types() {
    let relay = Relay::start();
    let body = form(&[file_part("x.json", b"1")]);
    for (content_type, expected) in [
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=X", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=\"\"", 400),
        ("multipart/form-data; boundary=another", 400),
        ("nonsense", 415),
    ] {
        let (status, answer) = relay.raw(post("/api/files/upload/a", content_type, body.len(), &body)).await;
        assert_refused(status, &answer, content_type);
        assert_eq!(status, expected, "{content_type}: {answer}");
    }
    let bare = "POST /api/files/upload/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let (status, answer) = relay.raw(bare).await;
    assert_refused(status, &answer, "no content type, no body");
    relay.assert_untouched().await;
}

#[tokio::test]
async fn invalid_utf8_in_headers() {
    let relay = Relay::start();
    let body = form(&[file_part("x.json", b"1")]);
    let mut request =
        b"POST /api/files/upload/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Odd: \xff\xfe\r\n\
          Content-Type: multipart/form-data; boundary=\xff\r\nContent-Length: "
            .to_vec();
    request.extend_from_slice(format!("{}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(&body);
    let (status, answer) = relay.raw(request).await;
    assert_refused(status, &answer, "a boundary that is not UTF-8");
    for header in ["Range", "If-None-Match", "If-Match", "If-Range", "Accept", "Origin"] {
        let mut request =
            format!("GET /api/files/download/a/x.json HTTP/1.1\r\nHost: localhost\r\n{header}: ").into_bytes();
        request.extend_from_slice(b"\xff\xfe\r\nConnection: close\r\n\r\n");
        let (status, answer) = relay.raw(request).await;
        assert_refused(status, &answer, header);
    }
    relay.assert_untouched().await;
}

#[tokio::test]
async fn foreign_origins_and_hosts() {
    let relay = Relay::start();
    let body = form(&[file_part("x.json", b"1")]);
    for (host, origin) in [
        ("localhost", "https://evil.example"),
        ("localhost", "null"),
        ("localhost", "http://localhost.evil.example"),
        ("evil.example", "http://evil.example"),
    ] {
        let request = format!(
            "POST /api/files/upload/a HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\
             Content-Type: {FORM}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (status, answer) = relay.raw([request.as_bytes(), &body].concat()).await;
        assert_refused(status, &answer, origin);
        assert_eq!(status, 403);
        let upgrade = format!(
            "GET /api/files/ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        assert_eq!(relay.raw(upgrade).await.0, 403, "{origin}");
    }
    relay.assert_untouched().await;
}

#[tokio::test]
async fn nothing_of_it_is_an_error_in_the_log() {
    let relay = Relay::start();
    for name in ["x.csv", "../x.json", "x.json"] {
        relay.upload("a", name, "{").await;
    }
    relay.raw(post("/api/files/upload/a", FORM, 1_000, b"--")).await;
    relay.content("a", "none.json").await.unwrap_err();
    let log = relay.process.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}
