//! Whoever keeps a connection without using it loses it; whoever uses it slowly keeps it.

use std::time::Instant;

use tidegate::units::Period;

use super::*;

fn short(change: impl FnOnce(&mut Deadlines)) -> ServerConfig {
    let mut config = config();
    change(&mut config.deadlines);
    config
}

/// Sends `start`, then nothing, and gives how long the server bore it.
async fn borne(served: &Served, start: &[u8]) -> Duration {
    let mut client = served.connect().await;
    let began = Instant::now();
    client.write(start).await;
    client.closed().await;
    began.elapsed()
}

#[tokio::test]
async fn a_connection_that_sends_no_request_is_closed() {
    let served = serve(short(|deadlines| deadlines.headers = Period::of(SHORT))).await;
    let beginnings: [&[u8]; 5] = [
        b"",
        b"P",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
        b"GET /fileupload/hello HTTP/1.1\r\n",
        b"GET /fileupload/hello HTTP/1.1\r\nhost: localhost\r\n\r",
    ];
    for beginning in beginnings {
        let time = borne(&served, beginning).await;
        assert!(time >= SHORT && time < PATIENCE, "{:?}: {time:?}", String::from_utf8_lossy(beginning));
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_closed() {
    let served = serve(short(|deadlines| deadlines.headers = Period::of(SHORT))).await;
    let mut client = served.connect().await;
    client.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(client.answer(false).await.text(), "hello");
    let began = Instant::now();
    let mut pace = tokio::time::interval(SHORT / 8);
    while began.elapsed() < PATIENCE {
        pace.tick().await;
        if client.stream.write_all(b"G").await.is_err() {
            break;
        }
    }
    assert!(began.elapsed() >= SHORT && began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_deadline_and_ends_by_its_own() {
    let served = serve(short(|deadlines| {
        deadlines.headers = Period::of(SHORT);
        deadlines.idle_connection = Period::of(SHORT * 3);
    }))
    .await;
    let mut client = served.connect().await;
    client.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(client.answer(false).await.status, 200);
    tokio::time::sleep(SHORT * 2).await;
    client.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(client.answer(false).await.status, 200);
    let began = Instant::now();
    client.closed().await;
    assert!(began.elapsed() >= SHORT * 2 && began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let served = serve(short(|deadlines| deadlines.idle_connection = Period::of(SHORT))).await;
    // The preface and an empty SETTINGS frame: a complete connection that asks for nothing.
    let time = borne(&served, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(time >= SHORT && time < PATIENCE, "{time:?}");
}

#[tokio::test]
async fn a_stalled_body_is_told_408_in_the_dialects_shape() {
    let served = serve(short(|deadlines| deadlines.idle_body = Period::of(SHORT))).await;
    let mut client = served.connect().await;
    client.send("POST /fileupload/length HTTP/1.1\ncontent-length: 100", b"half").await;
    let answer = client.answer(false).await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.json()["status"], "error");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_slow_body_is_waited_for() {
    let served = serve(short(|deadlines| {
        deadlines.headers = Period::of(SHORT);
        deadlines.idle_body = Period::of(SHORT);
        deadlines.idle_connection = Period::of(SHORT);
    }))
    .await;
    let mut client = served.connect().await;
    client.send("POST /fileupload/length HTTP/1.1\ncontent-length: 16", b"").await;
    let mut pace = tokio::time::interval(SHORT / 8);
    for _ in 0..16 {
        pace.tick().await;
        client.write(b"x").await;
    }
    assert_eq!(client.answer(false).await.text(), "16");
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_age() {
    let served = serve(short(|deadlines| deadlines.idle_body = Period::of(SHORT))).await;
    let mut client = served.connect().await;
    client.send("POST /fileupload/wait HTTP/1.1\ncontent-length: 4", b"wh").await;
    served.waiting.acquire().await.unwrap().forget();
    tokio::time::sleep(SHORT * 2).await;
    served.gate.add_permits(1);
    client.write(b"ole"[..2].as_ref()).await;
    assert_eq!(client.answer(false).await.text(), "4");
}

#[tokio::test]
async fn a_handler_and_a_slow_reader_have_all_the_time_they_need() {
    let served = serve(short(|deadlines| {
        deadlines.headers = Period::of(SHORT);
        deadlines.idle_body = Period::of(SHORT);
        deadlines.idle_connection = Period::of(SHORT);
    }))
    .await;
    let mut client = served.connect().await;
    client.send("POST /fileupload/wait HTTP/1.1\ncontent-length: 4", b"ours").await;
    let mut reader = served.connect().await;
    reader.send("GET /endless HTTP/1.1", b"").await;
    assert!(reader.read_more().await);
    // The beginning of a next request must not start the clock of its head while the answer is going out.
    reader.write(b"GET /next").await;
    tokio::time::sleep(SHORT * 3).await;
    served.gate.add_permits(1);
    assert_eq!(client.answer(false).await.text(), "4");
    let before = reader.ahead.len();
    while reader.ahead.len() < before + (16 << 20) {
        assert!(reader.read_more().await, "the download was cut");
    }
}

#[tokio::test]
async fn a_websocket_has_no_deadline_of_http() {
    let served = serve(short(|deadlines| {
        deadlines.headers = Period::of(SHORT);
        deadlines.idle_connection = Period::of(SHORT);
    }))
    .await;
    let url = format!("ws://{}/api/files/ws", served.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for _ in 0..2 {
        tokio::time::sleep(SHORT * 3).await;
        socket.send("still here".into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), "still here");
    }
}

#[tokio::test]
async fn at_the_limit_further_connections_wait() {
    let served = serve(ServerConfig { max_connections: 2, ..config() }).await;
    let mut first = served.connect().await;
    first.send("GET /fileupload/hello HTTP/1.1", b"").await;
    assert_eq!(first.answer(false).await.status, 200);
    let url = format!("ws://{}/api/files/ws", served.address);
    let (mut second, _) = tokio_tungstenite::connect_async(url).await.unwrap();

    let mut third = served.connect().await;
    third.send("GET /fileupload/hello HTTP/1.1", b"").await;
    let early = tokio::time::timeout(SHORT, third.answer(false)).await;
    assert!(early.is_err(), "a third connection was served beside two: {early:?}");
    // An upgraded connection counts until its socket closes.
    second.close(None).await.unwrap();
    assert_eq!(third.answer(false).await.status, 200);
    let mut fourth = served.connect().await;
    fourth.send("GET /fileupload/hello HTTP/1.1", b"").await;
    drop(first);
    assert_eq!(fourth.answer(false).await.status, 200);
}
