//! The notes of the contract beside its rows; those on folders and on the WebSocket have files of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, ORIGIN, RANGE,
};
use reqwest::multipart;

use super::*;

#[tokio::test]
async fn errors_are_detail_and_issues_where_a_validation_said_no() {
    let relay = Relay::start();
    let (status, refused) = relay.upload("a", "x.json", "{\"a\": }").await;
    assert_eq!((status, keys(&refused)), (422, vec!["detail", "issues"]));
    assert!(refused["detail"].is_string());
    assert_eq!(keys(&refused["issues"][0]), ["code", "message", "path"]);
    for (method, path, status) in [
        (Method::GET, "/api/files/nothing", 404),
        (Method::GET, "/api/files", 404),
        (Method::PUT, "/api/files/status", 405),
        (Method::POST, "/", 405),
    ] {
        let (got, refused) = answer(relay.request(method, path)).await;
        assert_eq!((got, keys(&refused)), (status, vec!["detail"]), "{path}");
    }
}

#[tokio::test]
async fn without_sha256_the_checksum_is_null() {
    let relay = Relay::of(Start::new(&RELAY.replace("digest = \"sha256\"\n", "")));
    relay.upload("a", "x.json", "1").await;
    assert_eq!(relay.list("a").await.1["files"][0]["checksum"], Value::Null);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_with_its_place_and_never_visible() {
    let relay = Relay::start();
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let utf16: Vec<u8> = [0xfeff].into_iter().chain("{\"a\": 1}".encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let large = accounts(200_000);
    let bad: [(&str, Vec<u8>, &[&str]); 9] = [
        ("cut", large[..150_000].into(), &["line 1", "column"]),
        ("two lines", b"{\"a\": 1,\n \"b\": }".into(), &["line 2", "column 7", "byte 15"]),
        ("NaN", b"[1, NaN]".into(), &["NaN", "line 1", "column 5", "byte 4"]),
        ("byte-order mark", b"\xef\xbb\xbf{}".into(), &["byte-order mark"]),
        ("UTF-16", utf16, &["UTF-16"]),
        ("not UTF-8", b"{\"a\": \"\xe9t\xe9\"}".into(), &["UTF-8", "line 1"]),
        ("513 deep", nested(513).into(), &["512"]),
        ("100,000 deep", "[".repeat(100_000).into(), &["512"]),
        ("empty", Vec::new(), &[]),
    ];
    for (name, content, said) in bad {
        let (status, refused) = relay.upload("a", "x.json", &content).await;
        assert_eq!(status, 422, "{name}: {refused}");
        let message = refused["issues"][0]["message"].as_str().unwrap();
        for said in said {
            assert!(message.contains(said), "{name}: {message}");
        }
    }
    relay.assert_untouched().await;
    assert_eq!(relay.upload("a", "x.json", nested(512)).await.0, 200);
}

#[tokio::test]
async fn a_refused_body_leaves_the_version_before() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "\"good\"").await;
    assert_eq!(relay.upload("a", "x.json", "\"bad").await.0, 422);
    assert_eq!(relay.content("a", "x.json").await.unwrap(), b"\"good\"");
    assert_eq!(relay.events().await.len(), 1);
}

/// Each version is filled with its own letter, so that a mix of two cannot pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_replaced_atomically() {
    let relay = Arc::new(Relay::start());
    let version = |letter: u8, size: usize| format!("\"{}\"", char::from(letter).to_string().repeat(size));
    relay.upload("a", "x.json", version(b'a', 1)).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (relay, done) = (relay.clone(), done.clone());
            tokio::spawn(async move {
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) {
                    let response = relay.download("a", "x.json").send().await.unwrap();
                    assert_eq!(response.status(), 200);
                    let length = response.content_length().unwrap() as usize;
                    let body = response.bytes().await.unwrap();
                    assert_eq!(body.len(), length);
                    assert!(body[1..length - 1].iter().all(|byte| *byte == body[1]), "a mix of two versions");
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for round in 0..30 {
        let size = [1, 70_000, 3_000_000][round % 3];
        assert_eq!(relay.upload("a", "x.json", version(b'a' + (round % 26) as u8, size)).await.0, 200);
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 5);
    }
}

#[tokio::test]
async fn multipart_without_a_file_is_422_and_without_a_boundary_400() {
    let relay = Relay::start();
    for body in [
        form(&[part("name=\"other\"; filename=\"x.json\"", b"{}")]),
        form(&[part("name=\"file\"", b"{}")]),
        form(&[file_part("", b"")]),
        form(&[]),
    ] {
        let (status, refused) = relay.send_form("a", body).await;
        assert_eq!((status, keys(&refused)), (422, vec!["detail"]));
        assert!(refused["detail"].as_str().unwrap().contains("`file`"), "{refused}");
    }
    for content_type in ["multipart/form-data", "multipart/form-data; boundary="] {
        let upload = relay.request(Method::POST, "/api/files/upload/a").header("Content-Type", content_type);
        let (status, refused) = answer(upload.body(form(&[file_part("x.json", b"{}")]))).await;
        assert_eq!((status, keys(&refused)), (400, vec!["detail"]), "{content_type}");
    }
    relay.assert_untouched().await;
}

#[tokio::test]
async fn a_refused_upload_leaves_no_folder_of_the_societe() {
    let relay = Relay::start();
    relay.upload("no-json", "x.csv", "{}").await;
    relay.upload("bad-json", "x.json", "{").await;
    relay.upload("bad-large", "x.json", "[".to_owned() + &" ".repeat(300_000)).await;
    relay.assert_untouched().await;
}

#[tokio::test]
async fn a_path_in_the_file_name_is_refused_and_not_followed() {
    let relay = Relay::start();
    for name in
        ["../x.json", "/tmp/x.json", "a/x.json", "..\\x.json", "C:\\x.json", "C:x.json", "../../../../etc/x.json"]
    {
        let (status, refused) = relay.upload("a", name, "{}").await;
        assert_eq!((status, keys(&refused)), (400, vec!["detail"]), "{name}");
    }
    relay.assert_untouched().await;
    assert_eq!(std::fs::read_dir(relay.process.folder()).unwrap().count(), 3, "config.toml, data, files");
}

#[tokio::test]
async fn a_text_field_named_file_before_the_file_is_ignored() {
    let relay = Relay::start();
    let parts = [part("name=\"file\"", b"x.json"), part("name=\"note\"", b"\xc3\xa9"), file_part("x.json", b"[7]")];
    assert_eq!(relay.send_form("a", form(&parts)).await.0, 200);
    assert_eq!(relay.content("a", "x.json").await.unwrap(), b"[7]");
}

#[tokio::test]
async fn a_second_file_is_refused_and_nothing_is_stored() {
    let relay = Relay::start();
    let parts = [file_part("x.json", b"1"), file_part("y.json", b"2")];
    assert_eq!(relay.send_form("a", form(&parts)).await.0, 400);
    relay.assert_untouched().await;
}

#[tokio::test]
async fn download_answers_ranges() {
    let relay = Relay::start();
    let content = accounts(400_000);
    relay.upload("a", "x.json", &content).await;
    for (range, expected) in
        [("bytes=0-0", 0..1), ("bytes=100000-299999", 100_000..300_000), ("bytes=-7", content.len() - 7..content.len())]
    {
        let response = relay.download("a", "x.json").header(RANGE, range).send().await.unwrap();
        assert_eq!(response.status(), 206);
        let said = format!("bytes {}-{}/{}", expected.start, expected.end - 1, content.len());
        assert_eq!(response.headers()[CONTENT_RANGE], said);
        assert_eq!(response.bytes().await.unwrap(), content.as_bytes()[expected]);
    }
    let beyond = relay.download("a", "x.json").header(RANGE, "bytes=900000-").send().await.unwrap();
    assert_eq!(beyond.headers()[CONTENT_RANGE], format!("bytes */{}", content.len()));
    let (status, refused) = read(beyond).await;
    assert_eq!((status, keys(&refused)), (416, vec!["detail"]));
}

#[tokio::test]
async fn download_answers_conditions() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "\"one\"").await;
    let whole = relay.download("a", "x.json").send().await.unwrap();
    let (etag, modified) = (whole.headers()[ETAG].clone(), whole.headers()[LAST_MODIFIED].clone());
    let ask = async |name: reqwest::header::HeaderName, value: &reqwest::header::HeaderValue| {
        let ranged = relay.download("a", "x.json").header(RANGE, "bytes=0-1").header(name, value);
        ranged.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(IF_NONE_MATCH, &etag).await, 304);
    assert_eq!(ask(reqwest::header::IF_MODIFIED_SINCE, &modified).await, 304);
    assert_eq!(ask(IF_MATCH, &etag).await, 206);
    assert_eq!(ask(IF_RANGE, &etag).await, 206);
    relay.upload("a", "x.json", "\"two\"").await;
    assert_eq!(ask(IF_NONE_MATCH, &etag).await, 206);
    assert_eq!(ask(IF_MATCH, &etag).await, 412);
    assert_eq!(ask(IF_RANGE, &etag).await, 200);
}

#[tokio::test]
async fn download_answers_head() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "\"one\"").await;
    let response = relay.request(Method::HEAD, "/api/files/download/a/x.json").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()[CONTENT_LENGTH]), (200, &"5".parse().unwrap()));
    assert!(response.headers().contains_key(ETAG));
    assert_eq!(response.bytes().await.unwrap().len(), 0);
    let none = relay.request(Method::HEAD, "/api/files/download/a/none.json").send().await.unwrap();
    assert_eq!(none.status(), 404);
}

#[tokio::test]
async fn names_with_spaces_accents_and_more_work_in_every_place() {
    let relay = Relay::start();
    let mut listener = relay.listen("").await.greeted().await;
    for (societe, filename) in [
        ("Société Générale", "comptes annuels_2024.json"),
        ("日本 株式会社", "決算_2024.json"),
        ("50% & +plus #1?", "a=b;c_'2024'.json"),
        ("e\u{301}te\u{301}", "naïve – “x”_1.json"),
        ("🦀", "🦀_🦀.json"),
    ] {
        let content = format!("\"{societe}\"");
        assert_eq!(relay.upload(societe, filename, &content).await.1["filename"], filename);
        assert!(relay.process.stored(&format!("{societe}/{filename}")).is_file());
        assert_eq!(relay.names(societe).await, [filename]);
        assert_eq!(relay.content(societe, filename).await.unwrap(), content.as_bytes());
        let told = listener.next().await;
        assert_eq!((&told["societe"], &told["filename"]), (&json!(societe), &json!(filename)));
        assert_eq!(relay.sync(societe).await.1["societe"], societe);
        assert_eq!(listener.next().await["societe"], societe);
        assert_eq!(relay.delete(societe, filename).await.0, 200);
        assert_eq!(listener.next().await["filename"], filename);
        // As clients send it that follow RFC 8187 (`filename*`).
        let file = multipart::Part::bytes(b"7".to_vec()).file_name(filename);
        let path = format!("/api/files/upload/{}", encoded(societe));
        let upload = relay.request(Method::POST, &path).multipart(multipart::Form::new().part("file", file));
        assert_eq!(answer(upload).await.1["filename"], filename);
        listener.next().await;
    }
}

#[tokio::test]
async fn the_document_is_served_where_fastapi_serves_it() {
    let relay = Relay::start();
    let (status, document) = relay.get("/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.0.0")));
    assert!(document["paths"]["/api/files/upload/{societe}"]["post"].is_object());
    // What is switched off is not in it.
    assert!(document["paths"]["/write_chunk"].is_null());
}

#[tokio::test]
async fn the_variables_of_the_relay_before_are_honoured() {
    let elsewhere = tempfile::tempdir().unwrap();
    let config = RELAY.replace("[\"127.0.0.1:0\"]", "[\"127.0.0.1:1\", \"127.0.0.1:2\"]");
    let start = Start::new(&config)
        .variable("RELAY_PORT", "0")
        .variable("BASE_FILES_DIR", elsewhere.path().to_str().unwrap())
        .variable("ALLOWED_ORIGINS", "https://app.example.org,https://other.example.org");
    let relay = Relay::of(start);
    assert_eq!(relay.process.addresses.len(), 1);
    relay.upload("a", "x.json", "1").await;
    assert!(elsewhere.path().join("a/x.json").is_file());
    let from = async |origin: &str| {
        let response = relay.request(Method::GET, "/api/files/status").header(ORIGIN, origin).send().await.unwrap();
        (response.status().as_u16(), response.headers().get("access-control-allow-origin").cloned())
    };
    assert_eq!(from("https://app.example.org").await, (200, Some("https://app.example.org".parse().unwrap())));
    assert_eq!(from("https://other.example.org").await.0, 200);
    // The list of before is replaced.
    assert_eq!(from("http://localhost:3000").await, (403, None));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let relay = Relay::start();
    for number in 0..20 {
        assert_eq!(relay.upload(SOCIETE, &format!("x_{number}.json"), accounts(number * 10_000)).await.0, 200);
    }
    relay.delete(SOCIETE, "x_7.json").await;
    let before = relay.list(SOCIETE).await;
    let again = Relay::of(Start::again(relay.process.kill(), RELAY));
    assert_eq!(again.list(SOCIETE).await, before);
    assert_eq!(again.events().await.len(), 21);
    assert_eq!(again.content(SOCIETE, "x_19.json").await.unwrap(), accounts(190_000).as_bytes());
}

#[tokio::test]
async fn a_file_larger_than_allowed_is_refused_before_it_is_read() {
    let relay = Relay::of(Start::new(&RELAY.replace("digest", "max_file_size = \"10 kB\"\ndigest")));
    let (status, refused) = relay.upload("a", "x.json", accounts(20_000)).await;
    assert_eq!((status, keys(&refused)), (413, vec!["detail"]));
    // No byte of this body is ever sent.
    let head = format!(
        "POST /api/files/upload/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: 2000000\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    assert_eq!(relay.raw(head).await.0, 413);
    relay.assert_untouched().await;
    assert_eq!(relay.upload("a", "x.json", accounts(9_000)).await.0, 200);
}

#[tokio::test]
async fn a_long_list_is_told_whole() {
    let start = Start::new(RELAY);
    let folder = start.folder.path().join("files/long");
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..1_203 {
        std::fs::write(folder.join(format!("x_{number:04}.json")), number.to_string()).unwrap();
    }
    let relay = Relay::of(start);
    let names = relay.names("long").await;
    let expected: Vec<_> = (0..1_203).map(|number| format!("x_{number:04}.json")).collect();
    assert_eq!(names, expected);
    assert_eq!(relay.status().await["total_files"], 1_203);
}
