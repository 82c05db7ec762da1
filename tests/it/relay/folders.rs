//! Folders that other programs write to: what was there before, what scripts do, and what is no file of the relay's.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

#[tokio::test]
async fn a_folder_that_was_there_before_the_first_start_is_served() {
    let start = Start::new(RELAY);
    let folder = start.folder.path().join("files");
    fs::create_dir_all(folder.join(SOCIETE)).unwrap();
    fs::write(folder.join(SOCIETE).join(FILE), "[1, 2]").unwrap();
    let relay = Relay::of(start);
    assert_eq!(relay.societes().await, json!([SOCIETE]));
    assert_eq!(relay.names(SOCIETE).await, [FILE]);
    assert_eq!(relay.content(SOCIETE, FILE).await.unwrap(), b"[1, 2]");
    assert_eq!(fs::read(folder_of(&relay).join(SOCIETE).join(FILE)).unwrap(), b"[1, 2]");
}

fn folder_of(relay: &Relay) -> std::path::PathBuf {
    relay.process.folder().join("files")
}

#[tokio::test]
async fn a_script_that_writes_into_the_folder_is_noticed() {
    let relay = Relay::start();
    let mut listener = relay.listen("").await.greeted().await;
    relay.upload("a", "by-http.json", "1").await;
    listener.next().await;
    let folder = folder_of(&relay).join("a");

    fs::write(folder.join("by-script.json"), "2").unwrap();
    eventually("it is listed", async || relay.names("a").await == ["by-http.json", "by-script.json"]).await;
    let told = listener.next().await;
    assert_eq!((&told["type"], &told["filename"]), (&json!("file_uploaded"), &json!("by-script.json")));
    assert_eq!(relay.content("a", "by-script.json").await.unwrap(), b"2");

    // A download finds at once what was changed in place, and what was put there since the last look.
    fs::write(folder.join("by-http.json"), "\"changed\"").unwrap();
    assert_eq!(relay.content("a", "by-http.json").await.unwrap(), b"\"changed\"");
    assert_eq!(listener.next().await["filename"], "by-http.json");
    fs::write(folder.join("new.json"), "3").unwrap();
    assert_eq!(relay.content("a", "new.json").await.unwrap(), b"3");
    assert_eq!(listener.next().await["filename"], "new.json");

    fs::remove_file(folder.join("by-script.json")).unwrap();
    assert_eq!(relay.content("a", "by-script.json").await.unwrap_err(), 404);
    let told = listener.next().await;
    assert_eq!((&told["type"], &told["filename"]), (&json!("file_deleted"), &json!("by-script.json")));

    fs::create_dir(folder_of(&relay).join("b")).unwrap();
    fs::write(folder_of(&relay).join("b/x.json"), "4").unwrap();
    assert_eq!(relay.names("b").await, ["x.json"]);
}

/// What a script changes in place leaves the folder's own times alone.
#[tokio::test]
async fn a_listing_notices_what_was_changed_in_place() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "1").await;
    assert_eq!(relay.names("a").await, ["x.json"]);
    fs::write(folder_of(&relay).join("a/x.json"), "[1, 2, 3]").unwrap();
    let size = async || relay.list("a").await.1["files"][0]["size"].clone();
    eventually("the new size is listed", async || size().await == 9).await;
}

#[tokio::test]
async fn empty_folders_are_societes() {
    let relay = Relay::start();
    fs::create_dir_all(folder_of(&relay).join("vide")).unwrap();
    assert_eq!(relay.societes().await, json!(["vide"]));
    assert_eq!(relay.list("vide").await, (200, json!({ "societe": "vide", "files": [] })));
    assert_eq!(relay.sync("vide").await.1["files_count"], 0);
    assert_eq!(relay.status().await["societes_count"], 1);
    relay.upload("vide", "x.json", "1").await;
    relay.delete("vide", "x.json").await;
    assert_eq!(relay.list("vide").await.0, 200);
}

#[tokio::test]
async fn sync_records_and_announces_what_others_did() {
    let relay = Relay::start();
    for name in ["changed.json", "kept.json", "removed.json", "touched.json"] {
        relay.upload("a", name, "1").await;
    }
    let mut listener = relay.listen("").await.greeted().await;
    let folder = folder_of(&relay).join("a");
    fs::write(folder.join("added.json"), "2").unwrap();
    fs::write(folder.join("changed.json"), "3").unwrap();
    fs::write(folder.join("touched.json"), "1").unwrap();
    fs::write(folder.join("bad.json"), "{").unwrap();
    fs::remove_file(folder.join("removed.json")).unwrap();
    assert_eq!(relay.sync("a").await.1["files_count"], 4);
    let mut told = Vec::new();
    loop {
        let message = listener.next().await;
        if message["type"] == "sync_completed" {
            assert_eq!(message["files_count"], 4);
            break;
        }
        told.push(format!("{} {}", message["type"].as_str().unwrap(), message["filename"].as_str().unwrap()));
    }
    told.sort();
    assert_eq!(told, ["file_deleted removed.json", "file_uploaded added.json", "file_uploaded changed.json"]);
    assert_eq!(relay.names("a").await, ["added.json", "changed.json", "kept.json", "touched.json"]);
}

#[tokio::test]
async fn what_does_not_pass_validation_stays_as_it_is_unserved() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "1").await;
    let file = folder_of(&relay).join("a/x.json");
    fs::write(&file, "{\"half\": ").unwrap();
    assert_eq!(relay.content("a", "x.json").await.unwrap_err(), 404);
    assert_eq!(relay.names("a").await, Vec::<String>::new());
    assert_eq!(fs::read(&file).unwrap(), b"{\"half\": ");
    assert!(relay.process.log().contains("did not pass validation"));
    fs::write(&file, "{\"half\": false}").unwrap();
    assert_eq!(relay.content("a", "x.json").await.unwrap(), b"{\"half\": false}");
}

#[tokio::test]
async fn other_files_in_the_folder_are_left_alone_in_silence() {
    let relay = Relay::start();
    let folder = folder_of(&relay).join("a");
    fs::create_dir_all(folder.join("sub.json")).unwrap();
    for name in ["notes.txt", "data.csv", "x.JSON", ".hidden.json", "x.json.tmp", "y.json"] {
        fs::write(folder.join(name), "{}").unwrap();
    }
    assert_eq!(relay.names("a").await, ["y.json"]);
    assert_eq!(relay.sync("a").await.1["files_count"], 1);
    assert_eq!(relay.status().await["total_files"], 1);
    for name in ["notes.txt", "x.JSON", "x.json.tmp", "sub.json"] {
        assert_eq!(relay.content("a", name).await.unwrap_err(), 404, "{name}");
        assert_eq!(relay.delete("a", name).await.0, 404, "{name}");
        assert!(folder.join(name).exists(), "{name}");
    }
    assert_eq!(relay.content("a", ".hidden.json").await.unwrap_err(), 400);
    let log = relay.process.log();
    assert!(!log.contains("not served") && !log.contains("not taken up"), "{log}");
}

#[tokio::test]
async fn links_and_pipes_in_the_folder_are_no_files() {
    let relay = Relay::start();
    relay.upload("a", "x.json", "1").await;
    let secret = relay.process.folder().join("secret.json");
    fs::write(&secret, "\"secret\"").unwrap();
    let folder = folder_of(&relay).join("a");
    symlink(&secret, folder.join("link.json")).unwrap();
    symlink(relay.process.folder(), folder_of(&relay).join("linked")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, folder.join("pipe.json"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert_eq!(relay.sync("a").await.1["files_count"], 1);
    for (societe, name) in [("a", "link.json"), ("a", "pipe.json"), ("linked", "secret.json")] {
        assert_eq!(relay.content(societe, name).await.unwrap_err(), 404, "{societe}/{name}");
        assert_eq!(relay.delete(societe, name).await.0, 404, "{societe}/{name}");
    }
    assert_eq!(relay.societes().await, json!(["a"]));
    // What stands in the way of an upload is replaced or refused; nothing is written through it.
    for name in ["link.json", "pipe.json"] {
        let (status, _) = relay.upload("a", name, "2").await;
        assert!(status == 200 || (400..500).contains(&status), "{name}: {status}");
    }
    fs::create_dir(folder.join("folder.json")).unwrap();
    fs::write(folder_of(&relay).join("file"), "").unwrap();
    for (societe, name) in [("linked", "x.json"), ("a", "folder.json"), ("file", "x.json")] {
        let (status, refused) = relay.upload(societe, name, "2").await;
        assert_eq!((status, keys(&refused)), (409, vec!["detail"]), "{societe}/{name}");
    }
    assert_eq!(fs::read(&secret).unwrap(), b"\"secret\"");
    assert!(!relay.process.folder().join("x.json").exists());
}
