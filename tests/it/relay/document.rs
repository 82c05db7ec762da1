//! The document says what the gateway does: its examples are real answers, and its names read well in a client.

use tidegate::http::app;

use super::*;

fn example(document: &Value, method: &str, path: &str, status: u16) -> Value {
    let answer = &document["paths"][path][method]["responses"][status.to_string()];
    let example = &answer["content"]["application/json"]["example"];
    assert!(!example.is_null(), "{method} {path} {status} has no example");
    example.clone()
}

/// Takes out what differs from run to run.
fn still(mut value: Value) -> Value {
    for key in ["last_modified", "last_update", "timestamp", "version"] {
        replace(&mut value, key);
    }
    value
}

fn replace(value: &mut Value, key: &str) {
    match value {
        Value::Object(object) => {
            if let Some(found) = object.get_mut(key) {
                *found = Value::from("…");
            }
            object.values_mut().for_each(|value| replace(value, key));
        }
        Value::Array(array) => array.iter_mut().for_each(|value| replace(value, key)),
        _ => {}
    }
}

#[tokio::test]
async fn the_examples_are_what_the_gateway_answers() {
    let document = app::document().unwrap().as_value().clone();
    let relay = Relay::start();
    let (societe, filename) = ("Société Générale", "comptes_2024.json");
    let download = "/api/files/download/{societe}/{filename}";
    let content = example(&document, "get", download, 200).as_str().unwrap().to_owned();
    let check = |method: &str, path: &str, (status, answer): (u16, Value)| {
        assert_eq!(still(answer), still(example(&document, method, path, status)), "{method} {path} {status}");
    };
    let upload = "/api/files/upload/{societe}";
    check("get", "/api/files/societe/{societe}/files", relay.list(societe).await);
    check("post", "/api/files/sync/{societe}", relay.sync(societe).await);
    check("get", download, answer(relay.download(societe, filename)).await);
    check("get", download, answer(relay.download(societe, "a/b")).await);
    check("delete", "/api/files/delete/{societe}/{filename}", relay.delete(societe, filename).await);
    check("post", upload, relay.upload(societe, "comptes_2024.csv", &content).await);
    check("post", upload, relay.upload(societe, filename, "{\"annee\": }").await);
    check("post", upload, relay.upload(societe, filename, &content).await);
    check("get", download, answer(relay.download(societe, filename).header("Range", "bytes=99-")).await);
    check("get", "/api/files/societes", relay.get("/api/files/societes").await);
    check("get", "/api/files/societe/{societe}/files", relay.list(societe).await);
    check("post", "/api/files/sync/{societe}", relay.sync(societe).await);
    check("get", "/api/files/status", relay.get("/api/files/status").await);
    check("delete", "/api/files/delete/{societe}/{filename}", relay.delete(societe, filename).await);
}

#[test]
fn operations_read_well_in_a_client() {
    let document = app::document().unwrap().as_value().clone();
    for (path, method, id) in [
        ("/", "get", "getStart"),
        ("/api/files/societes", "get", "listSocietes"),
        ("/api/files/societe/{societe}/files", "get", "listFiles"),
        ("/api/files/download/{societe}/{filename}", "get", "downloadFile"),
        ("/api/files/upload/{societe}", "post", "uploadFile"),
        ("/api/files/sync/{societe}", "post", "syncSociete"),
        ("/api/files/delete/{societe}/{filename}", "delete", "deleteFile"),
        ("/api/files/status", "get", "getStatus"),
        ("/v1/events", "get", "listEvents"),
    ] {
        let operation = &document["paths"][path][method];
        assert_eq!(operation["operationId"], id);
        assert!(operation["tags"].is_array() && operation["summary"].is_string(), "{id}");
        assert!(operation["responses"].as_object().unwrap().len() > 1 || id == "getStart", "{id} never fails?");
    }
    // What generated clients make of a binary answer, their own decoders cannot read.
    let download = &document["paths"]["/api/files/download/{societe}/{filename}"]["get"]["responses"]["200"];
    assert_eq!(download["content"]["application/json"]["schema"], json!({ "type": "string" }));
    let upload = &document["paths"]["/api/files/upload/{societe}"]["post"]["requestBody"]["content"];
    assert_eq!(upload["multipart/form-data"]["schema"]["properties"]["file"]["format"], "binary");
}
