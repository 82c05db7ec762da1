//! What the fields of the requests may say, and how they may be written.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{bytes_first, chunk, message, nothing_is_left};
use crate::support::gateway::{Answered, Options, TestGateway};
use crate::support::multipart::Form;

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_with_and_without_its_slash() {
    let gateway = TestGateway::start().await;
    for slash in ["", "/"] {
        let session = format!("s{}", slash.len());
        let request = gateway.post(&format!("/fileupload/upload_chunk{slash}"));
        let request = request.header("content-type", Form::CONTENT_TYPE);
        let answer = request.body(chunk(&session, 1, b"bytes").body()).answer().await;
        assert_eq!(answer, (200, json!({"status": "chunk uploaded"})));
        let pending = gateway.get(&format!("/fileupload/assembly_status/{session}{slash}")).answer().await;
        assert_eq!(pending, (200, json!({"status": "pending"})));
        let request = gateway.post(&format!("/fileupload/complete_upload{slash}"));
        let answer = request.json(&json!({ "sessionId": session })).answer().await;
        assert_eq!(answer, (200, json!({"status": "file assembly task started"})));
        gateway.outcome(&session).await;
        let (status, listed) = gateway.get(&format!("/fileupload/list_completed_uploads{slash}")).answer().await;
        assert_eq!((status, listed.as_array().unwrap().len()), (200, 1));
        let answer = gateway.delete(&format!("/fileupload/delete_upload/{session}{slash}")).answer().await;
        assert_eq!(answer, (200, json!({"status": "upload deleted"})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_stand_in_any_order() {
    let gateway = TestGateway::start().await;
    let fields = ["sessionId", "chunkNumber", "chunk", "fileName"];
    let mut orders = vec![vec![]];
    for _ in fields {
        let longer = |order: &Vec<usize>| -> Vec<Vec<usize>> {
            let free = (0..fields.len()).filter(|index| !order.contains(index));
            free.map(|index| [order.as_slice(), &[index]].concat()).collect()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    assert_eq!(orders.len(), 24);
    for (index, order) in orders.iter().enumerate() {
        let session = index.to_string();
        let form = order.iter().fold(Form::new(), |form, field| match fields[*field] {
            "sessionId" => form.text("sessionId", &session),
            "chunkNumber" => form.text("chunkNumber", 1),
            "chunk" => form.file("chunk", session.as_bytes()),
            _ => form.text("fileName", "été 1.txt"),
        });
        gateway.upload_well(form).await;
        gateway.comes_out_as(&session, &format!("été 1_{session}.txt"), session.as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_field_is_named_and_leaves_no_trace() {
    let gateway = TestGateway::start().await;
    let text = |name: &str| Form::new().text(name, "1");
    for (form, named) in [
        (text("chunkNumber").file("chunk", b"x"), "sessionId"),
        (text("sessionId").file("chunk", b"x"), "chunkNumber"),
        (text("sessionId").text("chunkNumber", 1), "chunk"),
        (text("sessionId").text("chunkNumber", 1).text("chunk", "x"), "chunk"),
        (text("sessionId").text("chunkNumber", "").file("chunk", b"x"), "chunkNumber"),
        (Form::new().file("chunk", b"x").text("sessionId", "").text("chunkNumber", 1), "sessionId"),
        (Form::new(), "sessionId"),
    ] {
        let (status, body) = gateway.upload(form).await;
        assert_eq!(status, 400, "{body}");
        assert!(message(&body).starts_with(&format!("{named}: missing")), "{body}");
        assert_eq!(gateway.status("1").await.0, 404);
    }
    let (status, body) = gateway.post("/fileupload/complete_upload/").json(&json!({})).answer().await;
    assert_eq!(status, 400);
    assert!(message(&body).contains("sessionId"), "{body}");
    let (status, body) = gateway.post("/fileupload/complete_upload/").json(&json!({"sessionId": ""})).answer().await;
    assert_eq!(status, 400);
    assert!(message(&body).contains("sessionId"), "{body}");
    gateway.nothing_is_staged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_none_negative_or_huge_are_named_and_leave_no_trace() {
    let gateway = TestGateway::start().await;
    let wrong = ["-1", "x", "1.5", "NaN", "0x1", "99999999999999999999999999"];
    let beyond = ["1000001", "4294967296"];
    let refused = async |field: &str, number: &str, form: Form| {
        let (status, body) = gateway.upload(form).await;
        assert_eq!(status, 400, "{field} {number}: {body}");
        assert!(message(&body).starts_with(&format!("{field}: ")), "{body}");
    };
    for number in wrong.into_iter().chain(beyond) {
        refused("chunkNumber", number, chunk("n", number, b"x")).await;
        refused("chunkNumber", number, bytes_first("n", number, b"x")).await;
    }
    for field in ["totalChunks", "fileSize"] {
        for number in wrong {
            refused(field, number, chunk("n", 1, b"x").text(field, number)).await;
            refused(field, number, bytes_first("n", 1, b"x").text(field, number)).await;
        }
    }
    refused("totalChunks", "4294967296", chunk("n", 1, b"x").text("totalChunks", 4_294_967_296_u64)).await;
    nothing_is_left(&gateway, "n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_optional_fields_count_as_absent() {
    let gateway = TestGateway::start().await;
    let form = chunk("e", 1, b"x").text("fileName", "").text("totalChunks", "").text("fileSize", "").text("userId", "");
    gateway.upload_well(form).await;
    gateway.comes_out_as("e", "upload_e", b"x").await;
    assert_eq!(gateway.list().await[0]["user_id"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_of_generated_dart_clients_is_borne() {
    let gateway = TestGateway::start().await;
    // All text fields first, one of the file's name among them; the file has a type and no name.
    let form =
        Form::new().text("chunk", "chunk").text("sessionId", "d").text("chunkNumber", 0).text("fileName", "d.bin");
    let form = form.part("name=\"chunk\"", "content-type: application/octet-stream\r\n", b"\x00\xff");
    gateway.upload_well(form).await;
    gateway.comes_out_as("d", "d_d.bin", b"\x00\xff").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_paths_or_otherwise_unfit_are_refused_and_leave_no_trace() {
    let gateway = TestGateway::start().await;
    let long = "x".repeat(5_000);
    for name in
        ["../x", "a/b", "/etc/passwd", "C:\\fakepath\\x.mp4", "c:x", "..", "a\0b", "a\nb", ".hidden", "NUL", &long]
    {
        for form in [
            chunk("p", 1, b"x").text("fileName", name),
            Form::new().text("fileName", name).text("sessionId", "p").text("chunkNumber", 1).file("chunk", b"x"),
            chunk(name, 1, b"x"),
            Form::new().file("chunk", b"x").text("chunkNumber", 1).text("sessionId", name),
        ] {
            let (status, body) = gateway.upload(form).await;
            assert_eq!(status, 400, "{name}: {body}");
            message(&body);
        }
    }
    let latin = Form::new().part("name=\"sessionId\"", "", b"\xe9").text("chunkNumber", 1).file("chunk", b"x");
    assert_eq!(gateway.upload(latin).await.0, 400);
    nothing_is_left(&gateway, "p").await;
    // At completion too, and the upload stays open.
    gateway.upload_well(chunk("p", 1, b"x")).await;
    let body = json!({"sessionId": "p", "fileName": "../x"});
    assert_eq!(gateway.post("/fileupload/complete_upload/").json(&body).answer().await.0, 400);
    assert_eq!(gateway.status("p").await.1, json!({"status": "pending"}));
    gateway.comes_out_as("p", "upload_p", b"x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_ids_have_up_to_100_characters_and_are_percent_encoded_in_paths() {
    let gateway = TestGateway::start().await;
    assert_eq!(gateway.upload(chunk(&"é".repeat(101), 1, b"x")).await.0, 400);
    for session in ["é".repeat(100), "a b + %2f 100%".to_owned()] {
        gateway.upload_well(chunk(&session, 1, b"x")).await;
        let encoded: String =
            percent_encoding::utf8_percent_encode(&session, percent_encoding::NON_ALPHANUMERIC).to_string();
        assert_eq!(gateway.status(&encoded).await.1, json!({"status": "pending"}));
        gateway.complete_well(&session).await;
        gateway.outcome(&encoded).await;
        assert_eq!(gateway.delete_upload(&encoded).await.0, 200);
    }
    for (path, status) in [("..%2f..%2fetc", 400), ("a%00b", 400), ("%ff", 400), ("%5c", 400), ("unknown", 404)] {
        for (code, body) in [gateway.status(path).await, gateway.delete_upload(path).await] {
            assert_eq!(code, status, "{path}: {body}");
            message(&body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_takes_json_form_and_multipart() {
    let gateway = TestGateway::start().await;
    let complete = |content_type: &'static str, body: Vec<u8>| {
        gateway.post("/fileupload/complete_upload/").header("content-type", content_type).body(body)
    };
    let requests = [
        complete("application/json", br#"{"sessionId": 1, "fileName": "1.bin"}"#.to_vec()),
        complete("application/json; charset=utf-8", br#"{"sessionId": "2", "fileName": null}"#.to_vec()),
        complete("application/x-www-form-urlencoded", b"fileName=3.bin&sessionId=3".to_vec()),
        complete(Form::CONTENT_TYPE, Form::new().text("fileName", "").text("sessionId", 4).body()),
        complete("text/plain", br#"{"sessionId": 1731000000123}"#.to_vec()),
    ];
    for (request, (session, name)) in requests.into_iter().zip([
        ("1", "1_1.bin"),
        ("2", "upload_2"),
        ("3", "3_3.bin"),
        ("4", "upload_4"),
        ("1731000000123", "upload_1731000000123"),
    ]) {
        gateway.upload_well(chunk(session, 1, session.as_bytes())).await;
        assert_eq!(request.answer().await, (200, json!({"status": "file assembly task started"})));
        assert_eq!(gateway.outcome(session).await, json!({"status": "completed"}));
        gateway.is_stored(name, session.as_bytes());
    }
    for (content_type, body) in [
        ("application/json", "{"),
        ("application/json", "[]"),
        ("application/json", r#"{"sessionId": {}}"#),
        ("application/json", r#"{"sessionId": null}"#),
        ("application/json", ""),
        ("application/x-www-form-urlencoded", ""),
        ("multipart/form-data", "x"),
        (Form::CONTENT_TYPE, "x"),
    ] {
        let (status, answer) = complete(content_type, body.as_bytes().to_vec()).answer().await;
        assert_eq!(status, 400, "{content_type} {body}: {answer}");
        message(&answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn later_chunks_may_restate_and_must_not_contradict() {
    let gateway = TestGateway::start().await;
    let full = |number: u32, bytes: &[u8]| {
        chunk("r", number, bytes).text("fileName", "r.bin").text("totalChunks", 2).text("fileSize", 4).text("userId", 7)
    };
    gateway.upload_well(full(1, b"ab")).await;
    gateway.upload_well(full(2, b"cd")).await;
    for (field, value) in [("fileName", "other"), ("totalChunks", "3"), ("fileSize", "5"), ("userId", "8")] {
        let (status, body) = gateway.upload(chunk("r", 2, b"xx").text(field, value)).await;
        assert_eq!(status, 409, "{body}");
        assert!(message(&body).contains(field), "{body}");
    }
    gateway.comes_out_as("r", "r_r.bin", b"abcd").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_413_and_the_upload_stays_as_it_was() {
    let gateway = TestGateway::start_with(Options { max_file_size: 1_000, ..Options::default() }).await;
    assert_eq!(gateway.upload(chunk("t", 1, &[0; 1_001])).await.0, 413);
    assert_eq!(gateway.upload(chunk("t", 1, b"x").text("fileSize", 1_001)).await.0, 413);
    nothing_is_left(&gateway, "t").await;
    gateway.upload_well(chunk("t", 1, &[1; 600])).await;
    let (status, body) = gateway.upload(chunk("t", 2, &[2; 401])).await;
    assert_eq!(status, 413, "{body}");
    message(&body);
    gateway.upload_well(chunk("t", 2, &[2; 400])).await;
    gateway.comes_out_as("t", "upload_t", &[[1; 600].as_slice(), &[2; 400]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_form_are_refused() {
    let gateway = TestGateway::start().await;
    for (content_type, body, status) in [
        (None, "x", 415),
        (Some("application/json"), "{}", 415),
        (Some("multipart/form-data"), "x", 400),
        (Some(Form::CONTENT_TYPE), "", 400),
        (Some(Form::CONTENT_TYPE), "nonsense", 400),
    ] {
        let request = gateway.post("/fileupload/upload_chunk/").body(body);
        let request = content_type.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        let (code, answer) = request.answer().await;
        assert_eq!(code, status, "{content_type:?}: {answer}");
        message(&answer);
    }
    let double = chunk("double", 1, b"x").file("chunk", b"y");
    assert_eq!(gateway.upload(double).await.0, 400);
    nothing_is_left(&gateway, "double").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_leaves_no_trace() {
    let gateway = TestGateway::start().await;
    let whole = chunk("cut", 1, &[7; 300_000]).text("fileName", "cut.bin").body();
    // Truncated but complete by its length; and broken off with the connection.
    for at in [100, 250, 200_000, whole.len() - 60, whole.len() - 5] {
        let request = gateway.post("/fileupload/upload_chunk/").header("content-type", Form::CONTENT_TYPE);
        let (status, body) = request.body(whole[..at].to_vec()).answer().await;
        assert_eq!(status, 400, "{at}: {body}");
        message(&body);
        nothing_is_left(&gateway, "cut").await;

        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST /fileupload/upload_chunk/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            Form::CONTENT_TYPE,
            whole.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&whole[..at]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        nothing_is_left(&gateway, "cut").await;
    }
    // A chunk that is cut does not touch the one that was acknowledged.
    gateway.upload_well(chunk("cut", 1, b"kept")).await;
    let request = gateway.post("/fileupload/upload_chunk/").header("content-type", Form::CONTENT_TYPE);
    assert_eq!(request.body(whole[..200_000].to_vec()).answer().await.0, 400);
    gateway.comes_out_as("cut", "upload_cut", b"kept").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_paths_and_origins_are_told_in_the_shape() {
    let gateway = TestGateway::start().await;
    for (method, path, status) in [
        (Method::GET, "/fileupload/upload_chunk/", 405),
        (Method::POST, "/fileupload/list_completed_uploads/", 405),
        (Method::PUT, "/fileupload/delete_upload/x/", 405),
        (Method::GET, "/fileupload/nothing/", 404),
        (Method::GET, "/fileupload/", 404),
        (Method::GET, "/fileupload/assembly_status/", 404),
        (Method::GET, "/fileupload/assembly_status//", 400),
    ] {
        let (code, body) = gateway.client.request(method, gateway.url(path)).answer().await;
        assert_eq!(code, status, "{path}: {body}");
        message(&body);
    }
    let from = |origin: &str| gateway.get("/fileupload/list_completed_uploads/").header("origin", origin);
    let (status, body) = from("https://evil.example").answer().await;
    assert_eq!(status, 403);
    message(&body);
    // The web client in the field comes from another origin than the gateway's.
    let allowed = from("http://localhost:3000").send().await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "http://localhost:3000");
}

/// Each is short enough for a file's name; the published name has both.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_too_long_with_its_session_is_refused_at_once() {
    let gateway = TestGateway::start().await;
    let session = "s".repeat(100);
    let form = Form::new().text("sessionId", &session).text("chunkNumber", 1).text("fileName", "n".repeat(200));
    let (status, answer) = {
        let request = gateway.post("/fileupload/upload_chunk/").header("content-type", Form::CONTENT_TYPE);
        request.body(form.file("chunk", b"bytes").body()).answer().await
    };
    assert_eq!(status, 400, "{answer}");
    assert!(message(&answer).contains("together with the session id"), "{answer}");
}
