//! The WebSocket within the gateway. What the socket does by itself (pings, slow readers, draining) is tested against a log in
//! memory, in `relay_socket`.

use tokio_tungstenite::tungstenite::Error;

use super::*;

#[tokio::test]
async fn who_comes_back_with_a_position_hears_what_was_missed_once() {
    let relay = Relay::start();
    relay.upload("a", "1.json", "1").await;
    let mut listener = relay.listen("").await.greeted().await;
    relay.upload("a", "2.json", "1").await;
    let position = listener.next().await["id"].as_u64().unwrap();
    drop(listener);
    relay.upload("a", "3.json", "1").await;
    relay.delete("a", "1.json").await;
    let mut again = relay.listen(&format!("?after={position}")).await.greeted().await;
    assert_eq!(again.next().await["filename"], "3.json");
    assert_eq!(again.next().await["type"], "file_deleted");
    relay.upload("a", "4.json", "1").await;
    assert_eq!(again.next().await["filename"], "4.json");
    // Also across a kill.
    let killed = Relay::of(Start::again(relay.process.kill(), RELAY));
    let mut again = killed.listen(&format!("?after={position}")).await.greeted().await;
    assert_eq!(again.next().await["filename"], "3.json");
}

#[tokio::test]
async fn a_position_that_cannot_be_served_is_answered_with_reload() {
    let relay = Relay::start();
    let mut listener = relay.listen("?after=1000").await.greeted().await;
    assert_eq!(listener.next().await["type"], "reload");
}

#[tokio::test]
async fn filters_by_societe_and_type() {
    let relay = Relay::start();
    let mut of_a = relay.listen(&format!("?societe={}", encoded(SOCIETE))).await.greeted().await;
    let mut deleted = relay.listen("?type=file_deleted,sync_completed").await.greeted().await;
    relay.upload("b", "x.json", "1").await;
    relay.upload(SOCIETE, "y.json", "1").await;
    relay.delete("b", "x.json").await;
    relay.sync("b").await;
    assert_eq!(of_a.next().await["filename"], "y.json");
    assert_eq!(deleted.next().await["type"], "file_deleted");
    assert_eq!(deleted.next().await["type"], "sync_completed");
}

#[tokio::test]
async fn it_carries_the_relays_collection_alone() {
    let more = "[storage.chunks]\nservice = \"fs\"\nroot = \"chunks\"\n[collection.chunks]\nstorage = \"chunks\"\n\
                path = \"received.txt\"\n[api.chunk_writer]\ncollection = \"chunks\"\n";
    let relay = Relay::of(Start::new(&format!("{RELAY}{more}")));
    let mut listener = relay.listen("").await.greeted().await;
    let chunk = relay.request(Method::POST, "/write_chunk").body("{\"chunk\": \"x\"}");
    assert_eq!(answer(chunk).await.0, 200);
    relay.upload("a", "x.json", "1").await;
    let told = listener.next().await;
    assert_eq!((&told["type"], &told["collection"]), (&json!("file_uploaded"), &json!("societes")));
    let kinds: Vec<_> = relay.events().await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["file_appended", "file_uploaded"]);
}

#[tokio::test]
async fn what_clients_say_is_ignored_unless_it_is_a_command() {
    let relay = Relay::start();
    let mut listener = relay.listen("").await.greeted().await;
    for text in ["hello", "{}", "{\"type\": \"subscribe\"}", "[1", ""] {
        listener.say(text).await;
    }
    listener.say("{\"type\": \"ping\"}").await;
    assert_eq!(listener.next().await["type"], "pong");
    relay.upload("a", "x.json", "1").await;
    assert_eq!(listener.next().await["filename"], "x.json");
}

#[tokio::test]
async fn one_that_does_not_read_delays_nobody() {
    let relay = Relay::start();
    let mut stuck = Vec::new();
    for _ in 0..20 {
        stuck.push(relay.listen("").await);
    }
    let mut listener = relay.listen("").await.greeted().await;
    let began = Instant::now();
    for number in 0..100 {
        let (status, _) = relay.upload(&"é".repeat(100), &format!("{number}_{}.json", "x".repeat(200)), "1").await;
        assert_eq!(status, 200);
    }
    for number in 0..100 {
        assert!(listener.next().await["filename"].as_str().unwrap().starts_with(&format!("{number}_")));
    }
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn sockets_are_counted_while_they_are_open() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "1").await;
    let one = relay.listen("").await.greeted().await;
    let two = relay.listen("").await.greeted().await;
    assert_eq!(relay.status().await["websocket_connections"], 2);
    drop(one);
    eventually("one has gone", async || relay.status().await["websocket_connections"] == 1).await;
    drop(two);
}

#[tokio::test]
async fn a_request_that_cannot_be_is_refused_in_the_relays_shape() {
    let relay = Relay::start();
    for query in ["?after=x", "?after=-1", "?after=99999999999999999999999", "?societe=..", "?type=nothing"] {
        let url = format!("ws://{}/api/files/ws{query}", relay.process.addresses[0]);
        let Err(Error::Http(response)) = connect_async(url).await else { panic!("{query} was let in") };
        assert_eq!(response.status(), 400, "{query}");
        let body: Value = serde_json::from_slice(response.body().as_deref().unwrap()).unwrap();
        assert_eq!(keys(&body), ["detail"], "{query}");
    }
    assert_eq!(relay.get("/api/files/ws").await.0, 400);
}

#[tokio::test]
async fn draining_sends_clients_away_with_a_time_to_come_back() {
    let relay = Relay::start();
    let mut listener = relay.listen("").await.greeted().await;
    let stopping = tokio::task::spawn_blocking(move || relay.process.terminate().1);
    let farewell = listener.next().await;
    assert_eq!(farewell["type"], "reconnect");
    assert!(farewell["after_ms"].is_u64());
    drop(listener);
    assert!(stopping.await.unwrap().success());
}
