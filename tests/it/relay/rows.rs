//! The rows of the contract, in its order.

use reqwest::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use sha2::{Digest, Sha256};

use super::*;

#[tokio::test]
async fn the_start_is_json_and_a_page_for_browsers() {
    let relay = Relay::start();
    let (status, start) = relay.get("/").await;
    assert_eq!((status, keys(&start)), (200, vec!["endpoints", "features", "message", "version"]));
    assert!(start["features"].as_array().unwrap().iter().all(Value::is_string));
    for path in start["endpoints"].as_object().unwrap().values().map(|path| path.as_str().unwrap()) {
        let path = path.replace("{societe}", "a").replace("{filename}", "a.json");
        let (status, text) = relay.raw(format!("OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(status, 204, "{path}: {text}");
    }
    let page = relay.request(Method::GET, "/").header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
    let page = page.send().await.unwrap();
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    let page = page.text().await.unwrap();
    assert!(page.contains("href=\"/docs\"") && page.contains("href=\"/api/files/societes\""), "{page}");
    assert!(!page.contains("/site_chunk_writer.html"), "{page}");
}

#[tokio::test]
async fn societes_are_listed() {
    let relay = Relay::start();
    assert_eq!(relay.get("/api/files/societes").await, (200, json!({ "societes": [] })));
    for societe in ["b", "a", SOCIETE] {
        assert_eq!(relay.upload(societe, "x.json", "1").await.0, 200);
    }
    assert_eq!(relay.get("/api/files/societes").await, (200, json!({ "societes": [SOCIETE, "a", "b"] })));
}

#[tokio::test]
async fn files_are_listed_with_all_that_is_known_of_them() {
    let relay = Relay::start();
    let content = accounts(10_000);
    relay.upload(SOCIETE, FILE, &content).await;
    relay.upload(SOCIETE, "bilan.json", "{}").await;
    let (status, list) = relay.list(SOCIETE).await;
    assert_eq!((status, keys(&list)), (200, vec!["files", "societe"]));
    assert_eq!(list["societe"], SOCIETE);
    let [first, second] = list["files"].as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!(
        keys(second),
        ["annee", "checksum", "filename", "last_modified", "size", "societe", "type_data"],
        "{second}"
    );
    assert_eq!((&first["filename"], &first["type_data"]), (&json!("bilan.json"), &json!("unknown")));
    assert_eq!((&second["filename"], &second["societe"]), (&json!(FILE), &json!(SOCIETE)));
    assert_eq!(second["size"], content.len());
    assert_eq!((&second["type_data"], &second["annee"]), (&json!("comptes annuels"), &json!("été 2024")));
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(second["checksum"], digest);
    assert_time(&second["last_modified"]);

    let (status, refused) = relay.list("nobody").await;
    assert_eq!((status, keys(&refused)), (404, vec!["detail"]));
}

#[tokio::test]
async fn a_file_is_downloaded() {
    let relay = Relay::start();
    let content = accounts(300_000);
    relay.upload(SOCIETE, FILE, &content).await;
    let response = relay.download(SOCIETE, FILE).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(
        response.headers()[CONTENT_DISPOSITION],
        "attachment; filename=\"comptes annuels__t_ 2024.json\"; \
         filename*=UTF-8''comptes%20annuels_%C3%A9t%C3%A9%202024.json"
    );
    assert_eq!(response.text().await.unwrap(), content);
    for (societe, filename) in [(SOCIETE, "other.json"), ("nobody", FILE)] {
        let (status, refused) = answer(relay.download(societe, filename)).await;
        assert_eq!((status, keys(&refused)), (404, vec!["detail"]));
    }
}

#[tokio::test]
async fn a_file_is_uploaded() {
    let relay = Relay::start();
    let (status, uploaded) = relay.upload(SOCIETE, FILE, "{\"compte\": 512}").await;
    assert_eq!((status, keys(&uploaded)), (200, vec!["filename", "message", "size", "societe"]));
    assert_eq!((&uploaded["societe"], &uploaded["filename"]), (&json!(SOCIETE), &json!(FILE)));
    assert_eq!(uploaded["size"], 15);
    for name in ["comptes.csv", "comptes.JSON", "json", "comptes.json.exe"] {
        let (status, refused) = relay.upload("other", name, "{}").await;
        assert_eq!((status, keys(&refused)), (400, vec!["detail"]), "{name}");
    }
    assert_eq!(relay.societes().await, json!([SOCIETE]));
}

#[tokio::test]
async fn a_societe_is_synced() {
    let relay = Relay::start();
    relay.upload(SOCIETE, FILE, "1").await;
    std::fs::write(relay.process.stored(&format!("{SOCIETE}/b.json")), "2").unwrap();
    let (status, synced) = relay.sync(SOCIETE).await;
    assert_eq!((status, keys(&synced)), (200, vec!["files_count", "message", "societe"]));
    assert_eq!((&synced["societe"], &synced["files_count"]), (&json!(SOCIETE), &json!(2)));
    let (status, refused) = relay.sync("nobody").await;
    assert_eq!((status, keys(&refused)), (404, vec!["detail"]));
}

#[tokio::test]
async fn a_file_is_deleted() {
    let relay = Relay::start();
    relay.upload(SOCIETE, FILE, "1").await;
    let (status, deleted) = relay.delete(SOCIETE, FILE).await;
    assert_eq!((status, keys(&deleted)), (200, vec!["message"]));
    assert!(!relay.process.stored(&format!("{SOCIETE}/{FILE}")).exists());
    assert_eq!(relay.content(SOCIETE, FILE).await.unwrap_err(), 404);
    for (societe, filename) in [(SOCIETE, FILE), ("nobody", FILE)] {
        let (status, refused) = relay.delete(societe, filename).await;
        assert_eq!((status, keys(&refused)), (404, vec!["detail"]));
    }
}

#[tokio::test]
async fn the_status_counts() {
    let relay = Relay::start();
    let (status, empty) = relay.get("/api/files/status").await;
    assert_eq!((status, keys(&empty)), (200, vec!["message", "status"]));
    assert_eq!(empty["status"], "no_data");
    relay.upload("a", "x.json", "1").await;
    relay.upload("a", "y.json", "1").await;
    relay.upload("b", "x.json", "1").await;
    let _listener = relay.listen("").await.greeted().await;
    let ready = relay.status().await;
    assert_eq!(
        keys(&ready),
        ["last_update", "societes_count", "status", "total_files", "websocket_connections"],
        "{ready}"
    );
    assert_eq!((&ready["status"], &ready["societes_count"]), (&json!("ready"), &json!(2)));
    assert_eq!((&ready["total_files"], &ready["websocket_connections"]), (&json!(3), &json!(1)));
    assert_time(&ready["last_update"]);
}

#[tokio::test]
async fn the_websocket_tells_of_each_change() {
    let relay = Relay::start();
    let mut listener = relay.listen("").await;
    let greeting = listener.next().await;
    assert_eq!(keys(&greeting), ["collection", "id", "message", "timestamp", "type"]);
    assert_eq!(greeting["type"], "connection");
    relay.upload(SOCIETE, FILE, "1").await;
    relay.delete(SOCIETE, FILE).await;
    relay.sync(SOCIETE).await;
    for kind in ["file_uploaded", "file_deleted"] {
        let told = listener.next().await;
        assert_eq!(keys(&told), ["collection", "filename", "id", "societe", "timestamp", "type"], "{told}");
        assert_eq!((&told["type"], &told["societe"], &told["filename"]), (&json!(kind), &json!(SOCIETE), &json!(FILE)));
        assert_time(&told["timestamp"]);
    }
    let told = listener.next().await;
    assert_eq!(keys(&told), ["collection", "files_count", "id", "societe", "timestamp", "type"], "{told}");
    assert_eq!((&told["type"], &told["files_count"]), (&json!("sync_completed"), &json!(0)));
}
