//! Told to stop, the gateway ends with everything that it acknowledged, and in time; what keeps it from starting, it says.

use futures_util::StreamExt;
use rustix::process::Signal;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::slow::Slow;
use super::*;

fn bytes_of(letter: u8, length: usize) -> Bytes {
    Bytes::from(vec![letter; length])
}

/// Nobody gets in any more.
async fn closes_its_door(home: &Home) {
    let begun = Instant::now();
    while TcpStream::connect(home.address).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it still accepts");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The first of an upload in two chunks, a file, and an appended chunk, all acknowledged.
async fn acknowledged(home: &Home, client: &Client) {
    assert_eq!(home.upload(client, "acme", "before_1.json", &Bytes::from_static(b"[1]")).await.0, 200);
    let chunk =
        client.post(home.url("/fileupload/upload_chunk/")).multipart(chunk_form("s", 0, &bytes_of(b'a', 70_000)));
    assert_eq!(told(chunk).await.0, 200);
    assert_eq!(told(client.post(home.url("/write_chunk_binary")).body("before,")).await.0, 200);
}

async fn text(client: &Client, url: String) -> String {
    let response = client.get(url).header("accept", "text/plain").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_ends_what_is_under_way_and_keeps_it() {
    let home = Home::new(&Setup::default());
    let mut gateway = home.start().await;
    let client = client();
    acknowledged(&home, &client).await;
    let mut socket = home.socket("").await.unwrap();
    let polling = tokio::spawn(told(client.get(home.url("/v1/events?after=1000&wait=30"))));
    let appending = Slow::bytes(&home, &bytes_of(b'x', 300_000)).await;
    let sending = Slow::chunk(&home, "s", "1", &bytes_of(b'b', 70_000)).await;
    let json = format!("[{}1]", "1,".repeat(200_000));
    let uploading = Slow::file(&home, "meanwhile_1.json", json.as_bytes()).await;
    is_heard(&home).await;

    gateway.signal(Signal::TERM);
    closes_its_door(&home).await;
    assert_eq!(polling.await.unwrap().0, 200);
    assert_eq!(appending.end().await.0, 200);
    assert_eq!(sending.end().await, (200, json!({"status": "chunk uploaded"})));
    let (status, told_of) = uploading.end().await;
    assert_eq!((status, told_of["size"].as_u64()), (200, Some(json.len() as u64)));
    is_told_to_come_back(&mut socket).await;
    drop((socket, client));
    assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.log.text());

    let _gateway = home.start().await;
    let client = super::client();
    assert!(text(&client, home.url("/api/files/download/acme/meanwhile_1.json")).await == json);
    assert_eq!(text(&client, home.url("/api/files/download/acme/before_1.json")).await, "[1]");
    assert!(text(&client, home.url("/get_file")).await == format!("before,{}", "x".repeat(300_000)));
    let complete = client.post(home.url("/fileupload/complete_upload/")).json(&json!({"sessionId": "s"}));
    assert_eq!(told(complete).await.0, 200);
    assert_eq!(home.outcome(&client, "s").await, json!({"status": "completed"}));
    let stored = std::fs::read(home.path("data/large/largefiles/large_s.bin")).unwrap();
    assert!(stored == [bytes_of(b'a', 70_000), bytes_of(b'b', 70_000)].concat());
}

async fn is_told_to_come_back(socket: &mut Socket) {
    let mut is_told = false;
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the socket says nothing");
        match message.expect("the socket ended without a close").unwrap() {
            tokio_tungstenite::tungstenite::Message::Close(frame) => {
                assert!(is_told, "the socket was closed without a word");
                assert_eq!(frame.unwrap().code, CloseCode::Restart);
                return;
            }
            message => is_told |= message.into_text().is_ok_and(|text| text.contains("\"reconnect\"")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_in_time_is_cut_and_nothing_acknowledged_is_lost() {
    let home = Home::new(&Setup { drain: "1s", ..Setup::default() });
    let mut gateway = home.start().await;
    let client = client();
    acknowledged(&home, &client).await;
    let stuck = [
        Slow::bytes(&home, &bytes_of(b'x', 300_000)).await,
        Slow::chunk(&home, "s", "1", &bytes_of(b'b', 70_000)).await,
        Slow::file(&home, "never_1.json", &bytes_of(b'1', 70_000)).await,
    ];
    // One who never takes leave.
    let socket = home.socket("").await.unwrap();
    let begun = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().await.code(), Some(0), "{}", gateway.log.text());
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    for slow in stuck {
        assert!(slow.closed().await.is_empty());
    }
    drop(socket);

    let _gateway = home.start().await;
    let client = super::client();
    assert_eq!(text(&client, home.url("/get_file")).await, "before,");
    assert_eq!(text(&client, home.url("/api/files/download/acme/before_1.json")).await, "[1]");
    assert_eq!(client.get(home.url("/api/files/download/acme/never_1.json")).send().await.unwrap().status(), 404);
    let complete = client.post(home.url("/fileupload/complete_upload/")).json(&json!({"sessionId": "s"}));
    assert_eq!(told(complete).await.0, 200);
    assert_eq!(home.outcome(&client, "s").await, json!({"status": "completed"}));
    assert_eq!(std::fs::read(home.path("data/large/largefiles/large_s.bin")).unwrap(), bytes_of(b'a', 70_000));
}

/// Starts a gateway that cannot start; gives what it said.
async fn refusal(home: &Home) -> String {
    let output = home.run(&[]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let last = said.trim_end().lines().last().unwrap_or_default();
    assert!(last.starts_with("tidegate: "), "the last that it says is not why: {said}");
    last.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_it_from_starting_is_said() {
    let home = Home::new(&Setup::default());
    let gateway = home.start().await;
    let (here, port) = (home.address.to_string(), home.address.port());

    // The port is taken.
    let other = Home::new(&Setup::default());
    other.write_config(&Setup::default().toml(home.address));
    let said = refusal(&other).await;
    assert!(said.contains(&here) && said.contains("another program has this port"), "{said}");
    assert!(said.contains("server.listen"), "{said}");

    // The catalog is held.
    let text = Setup::default().toml(other.address);
    let shared = format!("data_dir = \"{}\"", home.path("data").display());
    other.write_config(&text.replace("data_dir = \"data\"", &shared).replace("\"data/", "\"elsewhere/"));
    let said = refusal(&other).await;
    assert!(said.contains("held by another gateway") && said.contains("tidegate.db"), "{said}");

    // Folders that cannot be made: even root makes none under a file.
    std::fs::write(other.path("file"), "").unwrap();
    other.write_config(&text.replace("data_dir = \"data\"", "data_dir = \"file/data\""));
    let said = refusal(&other).await;
    assert!(said.contains("file/data") && said.contains("data_dir"), "{said}");
    other.write_config(&text.replace("\"data/files\"", "\"file/files\""));
    let said = refusal(&other).await;
    assert!(said.contains("file/files"), "{said}");
    let staging = format!("[staging]\npath = \"file/staging\"\n{text}").replace("data_dir = \"data\"\n", "");
    other.write_config(&format!("data_dir = \"data\"\n{staging}"));
    let said = refusal(&other).await;
    assert!(said.contains("file/staging"), "{said}");

    // None of it disturbed the one that runs, and what was in the way was all that was.
    assert_eq!(told(client().get(format!("http://127.0.0.1:{port}/readyz"))).await.0, 200);
    other.write_config(&text);
    drop(other.start().await);
    drop(gateway);
}
