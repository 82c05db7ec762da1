//! Who may call, as browsers see it.

use super::*;

#[tokio::test]
async fn a_foreign_page_is_refused_with_the_line_to_add() {
    let served = serve(config()).await;
    let refused = served.ask("POST /api/files/refuse HTTP/1.1\norigin: https://evil.example\ncontent-length: 0").await;
    assert_eq!(refused.status, 403);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("server.allowed_origins = [\"https://evil.example\"]"), "{detail}");
    assert_eq!(refused.header("access-control-allow-origin"), None);
    let rebound = served.ask("GET /fileupload/hello HTTP/1.1\nhost: evil.example").await;
    assert_eq!(rebound.status, 403);
    assert!(rebound.json()["message"].as_str().unwrap().contains("server.allowed_hosts"));
}

#[tokio::test]
async fn a_websocket_of_a_foreign_page_is_refused() {
    let served = serve(config()).await;
    let upgrade = "GET /api/files/ws HTTP/1.1\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    for (origin, status) in
        [("https://evil.example", 403), ("null", 403), ("http://localhost:5173", 101), ("http://localhost", 101)]
    {
        let answer = served.ask(&format!("{upgrade}\norigin: {origin}")).await;
        assert_eq!(answer.status, status, "{origin}");
    }
}

#[tokio::test]
async fn listed_pages_may_read_answers_and_errors() {
    let served = serve(config()).await;
    let origin = "http://localhost:5173";
    for (path, status) in [("/fileupload/hello", 200), ("/fileupload/nothing", 404), ("/write_chunk", 500)] {
        let answer = served.ask(&format!("GET {path} HTTP/1.1\norigin: {origin}")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{path}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{path}");
        assert!(answer.header("access-control-expose-headers").unwrap().contains("ETag"));
    }
    let plain = served.ask("GET /fileupload/hello HTTP/1.1").await;
    assert_eq!((plain.header("access-control-allow-origin"), plain.header("vary")), (None, Some("Origin")));
}

#[tokio::test]
async fn a_preflight_is_answered_for_any_path() {
    let served = serve(config()).await;
    for path in ["/fileupload/hello", "/nothing/at/all"] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] {
            let answer = served
                .ask(&format!(
                    "OPTIONS {path} HTTP/1.1\norigin: http://localhost:5173\naccess-control-request-method: {method}\n\
                     access-control-request-headers: content-type"
                ))
                .await;
            assert_eq!(answer.status, 200);
            assert!(answer.header("access-control-allow-methods").unwrap().split(", ").any(|known| known == method));
            assert_eq!(answer.header("access-control-allow-headers"), Some("content-type"));
        }
    }
    let own = served.ask("OPTIONS /fileupload/hello HTTP/1.1").await;
    assert_eq!((own.status, own.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
}
