//! The list of completed uploads, and the examples in the document.

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::chunk;
use crate::support::gateway::{Answered, TestGateway};

#[tokio::test(flavor = "multi_thread")]
async fn completed_uploads_are_listed_with_all_that_is_said_of_them() {
    let gateway = TestGateway::start().await;
    assert_eq!(gateway.list().await, Vec::<Value>::new());
    let before = Timestamp::now();
    gateway.upload_well(chunk("1731", 1, b"abc").text("fileName", "film.mp4").text("userId", "Zoé")).await;
    gateway.upload_well(chunk("1731", 2, b"de")).await;
    gateway.upload_well(chunk("other", 0, b"")).await;
    gateway.upload_well(chunk("pending", 1, b"x")).await;
    gateway.comes_out_as("1731", "film_1731.mp4", b"abcde").await;
    gateway.comes_out_as("other", "upload_other", b"").await;

    let mut listed = gateway.list().await;
    for row in &mut listed {
        let date = row["date_uploaded"].take();
        let date = date.as_str().unwrap();
        // Older Pythons and Dart read three decimals and `+00:00`; they do not all read `Z`.
        assert!(date.len() == 29 && date.ends_with("+00:00"), "{date}");
        let at: Timestamp = date.parse().unwrap();
        assert!(at.as_second() >= before.as_second() && at <= Timestamp::now(), "{date}");
    }
    let row = |session, name, user: Value, chunks, size| {
        json!({"session_id": session, "file_name": name, "user_id": user, "total_chunks": chunks,
               "date_uploaded": null, "file_size": size})
    };
    assert_eq!(
        listed,
        [row("1731", "film_1731.mp4", json!("Zoé"), 2, 5), row("other", "upload_other", json!(null), 1, 0)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_several_pages_is_whole_and_in_order() {
    let gateway = TestGateway::start().await;
    // Three pages, the last one full to its end.
    for count in [500, 1000, 1001] {
        let have = gateway.list().await.len();
        let sessions = (have..count).map(|number| {
            let gateway = &gateway;
            async move {
                let session = format!("s{number}");
                gateway.upload_well(chunk(&session, 1, session.as_bytes())).await;
                gateway.complete_well(&session).await;
                gateway.outcome(&session).await;
            }
        });
        stream::iter(sessions).buffer_unordered(16).collect::<Vec<()>>().await;
        let listed = gateway.list().await;
        let mut sessions: Vec<&str> = listed.iter().map(|row| row["session_id"].as_str().unwrap()).collect();
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!((listed.len(), sessions.len()), (count, count));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_in_the_document_are_what_the_gateway_answers() {
    let gateway = TestGateway::start().await;
    let document = gateway.get("/openapi.json").answer().await.1;
    let example = |method: &str, path: &str, status: &str| {
        document["paths"][path][method]["responses"][status]["content"]["application/json"]["example"].clone()
    };
    let (upload, complete) = ("/fileupload/upload_chunk/", "/fileupload/complete_upload/");
    let status = "/fileupload/assembly_status/{session_id}/";
    let delete = "/fileupload/delete_upload/{session_id}/";
    for path in [upload, complete, status, delete] {
        assert!(document["paths"][path].is_object(), "{path}");
    }

    assert_eq!(gateway.status("1731").await, (404, example("get", status, "404")));
    assert_eq!(gateway.complete("1731").await, (404, example("post", complete, "404")));
    assert_eq!(gateway.delete_upload("1731").await, (404, example("delete", delete, "404")));
    let no_number = crate::support::multipart::Form::new().text("sessionId", 1).file("chunk", b"x");
    assert_eq!(gateway.upload(no_number).await, (400, example("post", upload, "400")));
    for number in [1, 2, 4, 5, 6, 8] {
        let form = chunk("1731", number, b"x").text("fileName", "film.mp4");
        assert_eq!(gateway.upload(form).await, (200, example("post", upload, "200")));
    }
    assert_eq!(gateway.complete("1731").await, (409, example("post", complete, "409")));
    for number in [3, 7] {
        gateway.upload_well(chunk("1731", number, b"x")).await;
    }
    gateway.work.close();
    let body = &document["paths"][complete]["post"]["requestBody"]["content"]["application/json"]["example"];
    let completed = gateway.post(complete).json(body).answer().await;
    assert_eq!(completed, (200, example("post", complete, "200")));
    assert_eq!(gateway.status("1731").await, (200, example("get", status, "200")));
    assert_eq!(gateway.upload(chunk("1731", 9, b"x")).await, (409, example("post", upload, "409")));
    gateway.work.open();
    gateway.outcome("1731").await;
    let listed = &gateway.list().await[0];
    let example_row = &example("get", "/fileupload/list_completed_uploads/", "200")[0];
    assert_eq!(keys(listed), keys(example_row));
    for key in ["session_id", "file_name", "user_id"] {
        assert_eq!(listed[key], example_row[key]);
    }
    assert_eq!(gateway.delete_upload("1731").await, (200, example("delete", delete, "200")));
}

fn keys(row: &Value) -> Vec<&String> {
    row.as_object().unwrap().keys().collect()
}
