//! The same dialects over a real S3 server, which `tests/services/s3` starts: staged on the local disk, streamed, published by the
//! multipart completion.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::client;
use super::gateway::{Gateway, Home, Setup};
use crate::support::{noise, sha256};

fn config(home: &Home) -> String {
    let variable = |name: &str| {
        let name = format!("TIDEGATE_TEST_S3_{name}");
        std::env::var(&name).unwrap_or_else(|_| panic!("{name} is not set: run this with tests/services/s3"))
    };
    format!(
        "data_dir = \"data\"\n[server]\nlisten = [\"{}\"]\n\
         [storage.archive]\nservice = \"s3\"\nregion = \"us-east-1\"\nendpoint = {:?}\nbucket = {:?}\n\
         access_key_id = {:?}\nsecret_access_key = {:?}\nroot = {:?}\n\
         [collection.largefiles]\nstorage = \"archive\"\npath = \"largefiles/{{stem}}_{{session_id}}{{ext}}\"\n\
         digest = \"sha256\"\nverify = \"read-back\"\n\
         [collection.societes]\nstorage = \"archive\"\npath = \"societes/{{tenant}}/{{file_name}}\"\n\
         extension = \"json\"\ndigest = \"sha256\"\nvalidate = [\"json\"]\n\
         [api.fileupload]\ncollection = \"largefiles\"\n[api.relay]\ncollection = \"societes\"\n",
        home.address,
        variable("ENDPOINT"),
        variable("BUCKET"),
        variable("KEY"),
        variable("SECRET"),
        format!("/gateway/{}", uuid::Uuid::now_v7()),
    )
}

async fn start() -> (Home, Gateway) {
    let home = Home::new(&Setup::default());
    home.write_config(&config(&home));
    let gateway = home.start().await;
    (home, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_large_files_are_streamed_and_survive_a_kill() {
    let (home, gateway) = start().await;
    let base = format!("http://{}", home.address);
    let source = noise(40_000_000, 9);
    for (number, piece) in source.chunks(10_000_000).enumerate() {
        let form = Form::new()
            .text("sessionId", "s3")
            .text("chunkNumber", number.to_string())
            .text("fileName", "film.mp4")
            .part("chunk", Part::bytes(piece.to_vec()).file_name("blob"));
        let answer = client().post(format!("{base}/fileupload/upload_chunk/")).multipart(form).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
    let completed = client().post(format!("{base}/fileupload/complete_upload/")).json(&json!({"sessionId": "s3"}));
    assert_eq!(completed.send().await.unwrap().status(), 200);
    // The stream to the store has begun or not: either way the work goes on at the next start.
    gateway.kill();
    let _gateway = home.start().await;
    let status = || async {
        let answer = client().get(format!("{base}/fileupload/assembly_status/s3/")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["status"].as_str().unwrap().to_owned()
    };
    let begun = std::time::Instant::now();
    while status().await == "in_progress" {
        assert!(begun.elapsed() < super::PATIENCE, "it is never stored");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // Before that the gateway read the object back and compared its CRC.
    assert_eq!(status().await, "completed");
    let deleted = client().delete(format!("{base}/fileupload/delete_upload/s3/")).send().await.unwrap();
    assert_eq!(deleted.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_documents_are_replaced_listed_downloaded_and_deleted() {
    let (home, _gateway) = start().await;
    let files = format!("http://{}/api/files", home.address);
    for version in 1..=3 {
        let body = json!({"version": version, "filler": "é".repeat(version * 1000)}).to_string();
        let form = Form::new().part("file", Part::text(body.clone()).file_name("comptes été_2024.json"));
        let answer = client().post(format!("{files}/upload/Acme")).multipart(form).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        let listed: Value =
            client().get(format!("{files}/societe/Acme/files")).send().await.unwrap().json().await.unwrap();
        assert_eq!(listed["files"].as_array().unwrap().len(), 1);
        assert_eq!(listed["files"][0]["checksum"], tidegate::digest::hex(&sha256(body.as_bytes())));
        let url = format!("{files}/download/Acme/comptes%20%C3%A9t%C3%A9_2024.json");
        assert_eq!(client().get(&url).send().await.unwrap().text().await.unwrap(), body);
        let part = client().get(&url).header("range", "bytes=2-9").send().await.unwrap();
        assert_eq!((part.status().as_u16(), part.text().await.unwrap().as_str()), (206, &body[2..10]));
    }
    let url = format!("{files}/delete/Acme/comptes%20%C3%A9t%C3%A9_2024.json");
    assert_eq!(client().delete(&url).send().await.unwrap().status(), 200);
    assert_eq!(client().get(format!("{files}/societe/Acme/files")).send().await.unwrap().status(), 404);
}
