//! A page from elsewhere, and a name that was made to point here, are refused by every dialect in its own shape.

use super::*;

/// A path of each dialect, and where its refusals have their text.
const PATHS: [(&str, &str); 5] = [
    ("/get_file", "error"),
    ("/fileupload/list_completed_uploads/", "message"),
    ("/api/files/societes", "detail"),
    ("/api/files/ws", "detail"),
    ("/v1/events", "detail"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_origins_and_hosts_are_refused_in_the_dialects_shape() {
    let home = Home::new(&Setup::default());
    let _gateway = home.start().await;
    let client = client();
    let port = home.address.port();
    for (path, text) in PATHS {
        for (header, value, hint) in [
            ("origin", "https://evil.example", "server.allowed_origins = [\"https://evil.example\"]"),
            ("origin", "null", "server.allowed_origins"),
            ("host", "evil.example", "server.allowed_hosts = [\"evil.example\"]"),
        ] {
            let (status, body) = told(client.get(home.url(path)).header(header, value)).await;
            assert_eq!(status, 403, "{path} {header}: {value}");
            assert!(body[text].as_str().is_some_and(|said| said.contains(hint)), "{path} {header}: {value}: {body}");
        }
        if path.ends_with("/ws") {
            continue;
        }
        for (header, value) in [
            ("origin", format!("http://127.0.0.1:{port}")),
            ("origin", "http://localhost:5173".to_owned()),
            ("host", format!("localhost:{port}")),
        ] {
            let response = client.get(home.url(path)).header(header, &value).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path} {header}: {value}");
            if value.ends_with(":5173") {
                assert_eq!(response.headers()["access-control-allow-origin"], value);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_foreign_page_sends_changes_nothing() {
    let home = Home::new(&Setup::default());
    let _gateway = home.start().await;
    let client = client();
    let foreign = |request: RequestBuilder| told(request.header("origin", "https://evil.example"));
    let content = Bytes::from_static(b"{}");
    let upload = client.post(home.url("/api/files/upload/acme")).multipart(file_form("a_1.json", &content));
    let chunk = client.post(home.url("/fileupload/upload_chunk/")).multipart(chunk_form("s", 0, &content));
    let append = client.post(home.url("/write_chunk_binary")).body(content.clone());
    for request in [upload, chunk, append] {
        assert_eq!(foreign(request).await.0, 403);
    }
    assert_eq!(told(client.get(home.url("/get_file"))).await.1, json!({"content": ""}));
    assert_eq!(told(client.get(home.url("/fileupload/assembly_status/s/"))).await.0, 404);
    assert_eq!(told(client.get(home.url("/api/files/societes"))).await.1, json!({"societes": []}));
    assert_eq!(home.events(&client, 0).await, [] as [Value; 0]);
}
