//! `/v1/events`: the log for those who poll.

use super::*;

#[tokio::test]
async fn pages_follow_one_another() {
    let relay = Relay::start();
    for number in 0..5 {
        relay.upload(SOCIETE, &format!("{number}.json"), "1").await;
    }
    let mut after = 0;
    let mut heard = Vec::new();
    loop {
        let (status, page) = relay.get(&format!("/v1/events?after={after}&limit=2")).await;
        assert_eq!((status, keys(&page)), (200, vec!["events", "head", "next", "reload"]));
        assert_eq!((&page["reload"], &page["head"]), (&json!(false), &json!(5)));
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= 2);
        if events.is_empty() {
            break;
        }
        heard.extend(events.iter().map(|event| event["file_name"].as_str().unwrap().to_owned()));
        after = page["next"].as_u64().unwrap();
    }
    assert_eq!(heard, ["0.json", "1.json", "2.json", "3.json", "4.json"]);
}

#[tokio::test]
async fn an_event_says_what_happened() {
    let relay = Relay::start();
    relay.upload(SOCIETE, FILE, "[1]").await;
    relay.sync(SOCIETE).await;
    let [uploaded, synced] = relay.events().await.try_into().unwrap();
    let all = ["collection", "file_name", "files_count", "id", "size", "tenant", "timestamp", "type", "version"];
    assert_eq!((keys(&uploaded), keys(&synced)), (all.to_vec(), all.to_vec()));
    assert_eq!((&uploaded["tenant"], &uploaded["file_name"]), (&json!(SOCIETE), &json!(FILE)));
    assert_eq!((&uploaded["size"], &uploaded["files_count"]), (&json!(3), &Value::Null));
    let download = relay.download(SOCIETE, FILE).send().await.unwrap();
    assert_eq!(download.headers()["etag"], format!("\"{}\"", uploaded["version"].as_str().unwrap()));
    assert_eq!((&synced["file_name"], &synced["files_count"]), (&Value::Null, &json!(1)));
    assert_time(&uploaded["timestamp"]);
}

#[tokio::test]
async fn filters_by_collection_tenant_and_type() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "1").await;
    relay.upload("b", "y.json", "1").await;
    relay.delete("a", "x.json").await;
    for (query, count) in [
        ("", 3),
        ("?tenant=a", 2),
        ("?tenant=a&type=file_deleted", 1),
        ("?type=file_deleted&type=file_uploaded", 3),
        ("?collection=societes", 3),
        ("?collection=other", 0),
        ("?collection=other&collection=societes", 3),
    ] {
        let (status, page) = relay.get(&format!("/v1/events{query}")).await;
        assert_eq!((status, page["events"].as_array().unwrap().len()), (200, count), "{query}");
    }
}

#[tokio::test]
async fn a_poll_that_waits_is_answered_when_something_happens() {
    let relay = Relay::start();
    let (_, page) = relay.get("/v1/events?wait=1").await;
    assert_eq!((&page["events"], &page["next"]), (&json!([]), &json!(0)));
    let began = Instant::now();
    let (waited, _) = tokio::join!(relay.get("/v1/events?wait=30"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        relay.upload("a", "x.json", "1").await
    });
    assert_eq!(waited.1["events"][0]["file_name"], "x.json");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_gateway_that_drains_waits_for_nobody_who_waits() {
    let relay = Relay::start();
    let waiting = tokio::spawn(answer(relay.request(Method::GET, "/v1/events?wait=30")));
    // So that the poll is there before the end is.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    let (_folder, status) = tokio::task::spawn_blocking(move || relay.process.terminate()).await.unwrap();
    assert!(status.success() && began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(waiting.await.unwrap().1["events"], json!([]));
}

#[tokio::test]
async fn a_position_beyond_the_log_is_answered_with_reload() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "1").await;
    let (_, page) = relay.get("/v1/events?after=1000").await;
    assert_eq!((&page["events"], &page["reload"], &page["next"]), (&json!([]), &json!(true), &json!(1)));
}

#[tokio::test]
async fn what_cannot_be_is_a_problem_document() {
    let relay = Relay::start();
    for query in
        ["after=x", "after=-1", "limit=0", "limit=257", "limit=x", "wait=31", "wait=-1", "type=nothing", "type=a,b"]
    {
        let response = relay.request(Method::GET, &format!("/v1/events?{query}")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{query}");
        let (status, problem) = read(response).await;
        assert_eq!((status, keys(&problem)), (400, vec!["detail", "status", "title", "type"]), "{query}");
    }
}
