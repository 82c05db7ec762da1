//! What goes wrong is told in the shape of the dialect, to clients that are still sending too.

use serde_json::json;

use super::*;

#[tokio::test]
async fn every_error_has_the_shape_of_its_path() {
    let served = serve(config()).await;
    let missing = served.ask("GET /fileupload/nothing HTTP/1.1").await;
    assert_eq!((missing.status, &missing.json()["status"]), (404, &json!("error")));
    let missing = served.ask("GET /api/files/nothing HTTP/1.1").await;
    assert_eq!(missing.json(), json!({"detail": "there is nothing at this path"}));
    let missing = served.ask("GET /nothing HTTP/1.1").await;
    assert_eq!(missing.header("content-type"), Some("application/problem+json"));

    let wrong = served.ask("DELETE /fileupload/hello HTTP/1.1").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(wrong.json()["status"], "error");

    let large = served.ask("POST /fileupload/length HTTP/1.1\ncontent-length: 9999999\nexpect: 100-continue").await;
    assert_eq!((large.status, &large.json()["status"]), (413, &json!("error")));
}

#[tokio::test]
async fn a_panic_is_a_500_that_keeps_its_secret() {
    let served = serve(config()).await;
    let mut client = served.connect().await;
    client.send("GET /write_chunk HTTP/1.1\nx-request-id: my-id", b"").await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (500, Some("my-id")));
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    assert!(answer.json()["error"].as_str().unwrap().contains("my-id"));
    client.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(client.answer(false).await.status, 200);
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_writes_everything_first() {
    let served = serve(config()).await;
    let body = vec![b'x'; 16 << 20];
    for transfer in ["length", "chunked"] {
        let mut client = served.connect().await;
        if transfer == "length" {
            let head = format!("POST /api/files/refuse HTTP/1.1\ncontent-length: {}", body.len());
            client.send(&head, &body).await;
        } else {
            client.send("POST /api/files/refuse HTTP/1.1\ntransfer-encoding: chunked", b"").await;
            client.write(format!("{:x}\r\n", body.len()).as_bytes()).await;
            client.write(&body).await;
            client.write(b"\r\n0\r\n\r\n").await;
        }
        let answer = client.answer(false).await;
        assert_eq!((answer.status, answer.json()), (400, json!({"detail": "not like this"})), "{transfer}");
        // All of it was read, so the connection is good for the next request.
        client.send("GET /fileupload/hello HTTP/1.1", b"").await;
        assert_eq!(client.answer(false).await.text(), "hello");
    }
}

#[tokio::test]
async fn a_refused_body_is_not_read_for_ever() {
    let served = serve(config()).await;
    let mut client = served.connect().await;
    client.send("POST /api/files/refuse HTTP/1.1\ncontent-length: 1000000000000", b"").await;
    assert_eq!(client.answer(false).await.status, 400);
    let piece = vec![b'x'; 1 << 20];
    let mut written = 0;
    while client.stream.write_all(&piece).await.is_ok() {
        written += 1;
        assert!(written < 1000, "a gigabyte of a refused body was read");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_sends_no_body_for_a_refusal() {
    let served = serve(config()).await;
    let mut client = served.connect().await;
    client.send("POST /api/files/refuse HTTP/1.1\ncontent-length: 5\nexpect: 100-continue", b"").await;
    assert_eq!(client.answer(false).await.status, 400);

    let mut client = served.connect().await;
    client.send("POST /fileupload/length HTTP/1.1\ncontent-length: 5\nexpect: 100-continue", b"").await;
    assert_eq!(client.answer(false).await.status, 100);
    client.write(b"hello").await;
    assert_eq!(client.answer(false).await.text(), "5");
}

#[tokio::test]
async fn a_body_that_is_cut_is_refused_and_the_client_hears_it() {
    let served = serve(config()).await;
    let mut client = served.connect().await;
    client.send("POST /fileupload/length HTTP/1.1\ncontent-length: 100", b"half").await;
    client.stream.shutdown().await.unwrap();
    let answer = String::from_utf8(client.closed().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    assert!(answer.contains("\"status\":\"error\""), "{answer}");
}

#[tokio::test]
async fn a_client_that_has_sent_all_may_close_its_side() {
    let served = serve(config()).await;
    let mut client = served.connect().await;
    client.send("POST /fileupload/wait HTTP/1.1\ncontent-length: 4", b"ours").await;
    client.stream.shutdown().await.unwrap();
    served.waiting.acquire().await.unwrap().forget();
    served.gate.add_permits(1);
    assert_eq!(client.answer(false).await.text(), "4");
}

#[tokio::test]
async fn request_ids_come_back_or_are_made() {
    let served = serve(config()).await;
    let own = served.ask("GET /fileupload/hello HTTP/1.1\nx-request-id: trace-7").await;
    assert_eq!(own.header("x-request-id"), Some("trace-7"));
    let made = served.ask("GET /fileupload/hello HTTP/1.1\nx-request-id: a \"bad\" one").await;
    assert!(made.header("x-request-id").is_some_and(|id| id.len() > 16 && !id.contains(' ')));
}

#[tokio::test]
async fn a_reload_changes_answers_on_connections_that_stay() {
    let served = serve(config()).await;
    let mut client = served.connect().await;
    client.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(client.answer(false).await.text(), "hello");
    let other = Routes::new().at("/fileupload/hello", Method::GET, endpoint::make_sync(|_| "good day"));
    served.site.swap(App::new(other.build().unwrap(), Errors(SHAPES), &config()));
    client.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(client.answer(false).await.text(), "good day");
}
