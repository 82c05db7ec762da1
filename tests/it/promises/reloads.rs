//! Bad config never serves, and a good one takes effect under way: a hundred reloads under uploads in all dialects, of
//! which each gets the answer that is right under a configuration that was in force while it ran.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use futures_util::StreamExt;
use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::slow::Slow;
use super::*;

const RELOADS: u64 = 100;
/// Over the lower of the two limits.
const LARGE: usize = 200 << 10;

/// The configurations that were written, in order.
struct Scene {
    home: Home,
    written: Mutex<Vec<Setup>>,
    /// The first of them that can still be in force.
    settled: AtomicUsize,
    stop: AtomicBool,
}

impl Scene {
    fn new(setup: Setup) -> Arc<Self> {
        let home = Home::new(&setup);
        Arc::new(Self {
            home,
            written: Mutex::new(vec![setup]),
            settled: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        })
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn now(&self) -> Setup {
        self.written.lock().last().unwrap().clone()
    }

    fn will_be(&self, setup: &Setup) {
        self.written.lock().push(setup.clone());
        self.home.configure(setup);
    }

    fn is_in_force(&self) {
        self.settled.store(self.written.lock().len() - 1, Ordering::SeqCst);
    }

    /// An answer, and the configurations that were in force meanwhile.
    async fn ask(&self, request: RequestBuilder) -> ((u16, Value), Vec<Setup>) {
        let first = self.settled.load(Ordering::SeqCst);
        let answer = told(request).await;
        (answer, self.written.lock()[first..].to_vec())
    }
}

/// What an upload to the relay holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    NoJson,
    LargeJson,
}

impl Kind {
    fn content(self, number: u64) -> Bytes {
        match self {
            Kind::Json => Bytes::from(format!("{{\"number\": {number}}}")),
            Kind::NoJson => Bytes::from(format!("{{\"number\": {number}")),
            Kind::LargeJson => Bytes::from(format!("{{\"number\": {number}{}}}", " ".repeat(LARGE))),
        }
    }

    fn right_status(self, setup: &Setup) -> u16 {
        match self {
            _ if !setup.relay => 404,
            Kind::NoJson if setup.relay_checks => 422,
            Kind::LargeJson if setup.max_file_size != "1 GiB" => 413,
            _ => 200,
        }
    }
}

fn any_setup(dice: &mut Dice) -> Setup {
    let mut mostly = || dice.below(4) > 0;
    let (relay, fileupload, chunk_writer) = (mostly(), mostly(), mostly());
    Setup {
        relay,
        fileupload,
        chunk_writer,
        relay_checks: dice.below(2) == 0,
        max_file_size: ["1 GiB", "100 KiB"][dice.below(2) as usize],
        ..Setup::default()
    }
}

/// A configuration that is refused.
fn broken(scene: &Scene, dice: &mut Dice) -> String {
    let text = Setup { relay: true, ..any_setup(dice) }.toml(scene.home.address);
    match dice.below(4) {
        0 => format!("{text}[collection.more\n"),
        1 => text.replace("[server.deadlines]", "max_conections = 5\n[server.deadlines]"),
        2 => text.replace("[storage.files]", "[storage.filed]"),
        _ => format!(
            "{text}[collection.more]\nstorage = \"nowhere\"\npath = \"{{tenant}}/{{file}}\"\nvalidate = [\"jsn\"]\n"
        ),
    }
}

/// What the relay stored, by name; checked as it goes.
fn upload(scene: &Arc<Scene>, mut dice: Dice) -> JoinHandle<HashMap<String, Bytes>> {
    let (scene, client) = (scene.clone(), client());
    tokio::spawn(async move {
        let (mut stored, mut number) = (HashMap::new(), 0);
        while !scene.is_stopped() {
            number += 1;
            let kind = [Kind::Json, Kind::Json, Kind::NoJson, Kind::LargeJson][dice.below(4) as usize];
            let (name, content) = (format!("file {}_2026.json", dice.below(9)), kind.content(number));
            let url = scene.home.url("/api/files/upload/acme");
            let ((status, body), setups) = scene.ask(client.post(url).multipart(file_form(&name, &content))).await;
            let is_right = setups.iter().any(|setup| kind.right_status(setup) == status);
            assert!(is_right, "{kind:?} was answered {status} {body} under {setups:?}");
            match status {
                200 => assert_eq!(body["size"], content.len()),
                _ => assert!(body["detail"].is_string(), "{status}: {body}"),
            }
            if status == 200 {
                stored.insert(name.clone(), content);
            }
            if let Some(content) = stored.get(&name) {
                let response = client.get(scene.home.url(&format!("/api/files/download/acme/{name}"))).send();
                let first = scene.settled.load(Ordering::SeqCst);
                let response = response.await.unwrap();
                let is_off = scene.written.lock()[first..].iter().any(|setup| !setup.relay);
                match response.status().as_u16() {
                    200 => assert_eq!(response.bytes().await.unwrap(), content),
                    404 if is_off => {}
                    status => panic!("a download was answered {status}"),
                }
            }
        }
        stored
    })
}

/// What was appended.
fn append(scene: &Arc<Scene>) -> JoinHandle<String> {
    let (scene, client) = (scene.clone(), client());
    tokio::spawn(async move {
        let (mut appended, mut number) = (String::new(), 0);
        while !scene.is_stopped() {
            number += 1;
            let chunk = format!("{number};");
            let request = client.post(scene.home.url("/write_chunk")).json(&json!({"chunk": chunk}));
            let ((status, body), setups) = scene.ask(request).await;
            match status {
                200 => appended += &chunk,
                404 if setups.iter().any(|setup| !setup.chunk_writer) => assert!(body["error"].is_string(), "{body}"),
                _ => panic!("a chunk was answered {status} {body} under {setups:?}"),
            }
        }
        appended
    })
}

/// Sends whole uploads in chunks, one after another; gives how many were stored and how many failed.
fn send_chunks(scene: &Arc<Scene>, worker: u64) -> JoinHandle<(usize, usize)> {
    let (scene, client) = (scene.clone(), client());
    tokio::spawn(async move {
        let (mut stored, mut failed, mut session) = (0, 0, 0);
        while !scene.is_stopped() {
            session += 1;
            let session = format!("w{worker}n{session}");
            let pieces: Vec<_> =
                (0..3).map(|number| Bytes::from(format!("{session}.{number}|").repeat(2000))).collect();
            for (number, piece) in pieces.iter().enumerate() {
                persist(&scene, || {
                    let request = client.post(scene.home.url("/fileupload/upload_chunk/"));
                    request.multipart(chunk_form(&session, number, piece))
                })
                .await;
            }
            let completed_under = scene.settled.load(Ordering::SeqCst);
            persist(&scene, || {
                client.post(scene.home.url("/fileupload/complete_upload/")).json(&json!({"sessionId": session}))
            })
            .await;
            let url = scene.home.url(&format!("/fileupload/assembly_status/{session}/"));
            let status = loop {
                let status = persist(&scene, || client.get(&url)).await;
                if status["status"] != "in_progress" {
                    break status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            let was_off = scene.written.lock()[completed_under..].iter().any(|setup| !setup.fileupload);
            match status["status"].as_str() {
                Some("completed") => {
                    let path = scene.home.path(format!("data/large/largefiles/large_{session}.bin"));
                    assert!(std::fs::read(path).unwrap() == pieces.concat());
                    stored += 1;
                }
                Some("failed") if was_off => {
                    assert!(status["message"].as_str().unwrap().contains("`largefiles` is not configured"), "{status}");
                    failed += 1;
                }
                _ => panic!("{session} came to {status}"),
            }
        }
        (stored, failed)
    })
}

/// Asks until the dialect is there; anything else than that it is not is an answer.
async fn persist(scene: &Scene, request: impl Fn() -> RequestBuilder) -> Value {
    let begun = Instant::now();
    loop {
        let ((status, body), setups) = scene.ask(request()).await;
        match status {
            200 => return body,
            404 if setups.iter().any(|setup| !setup.fileupload) => assert!(body["message"].is_string(), "{body}"),
            _ => panic!("answered {status} {body} under {setups:?}"),
        }
        assert!(begun.elapsed() < PATIENCE, "the dialect never comes back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each answer is the one that is right under the last configuration that was good.
async fn probe(scene: &Scene, client: &Client, number: u64) {
    let setup = scene.now();
    for kind in [Kind::Json, Kind::NoJson, Kind::LargeJson] {
        let (status, body) = scene.home.upload(client, "probe", "probe_1.json", &kind.content(number)).await;
        assert_eq!(status, kind.right_status(&setup), "{kind:?}: {body} under {setup:?}");
    }
    for (path, is_on) in [("/get_file", setup.chunk_writer), ("/fileupload/list_completed_uploads/", setup.fileupload)]
    {
        let (status, body) = told(client.get(scene.home.url(path))).await;
        assert_eq!(status, if is_on { 200 } else { 404 }, "{path}: {body} under {setup:?}");
    }
}

async fn reload_well(scene: &Scene, gateway: &Gateway, setup: &Setup, by_signal: bool) {
    let before = gateway.log.len();
    scene.will_be(setup);
    if by_signal {
        gateway.signal(Signal::HUP);
        let line = gateway.log.wait_for(before, "reload").await;
        assert!(line.contains("reloaded config.toml"), "{line}");
    } else {
        let output = scene.home.run(&["reload"]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        // Warnings, as that no dialect is left, stand before it.
        assert!(String::from_utf8(output.stdout).unwrap().ends_with("reloaded config.toml\n"));
    }
    scene.is_in_force();
}

/// Says what `check` says, by whatever way it is asked.
async fn reload_badly(scene: &Scene, gateway: &Gateway, text: &str, way: u64) {
    scene.home.write_config(text);
    let check = scene.home.run(&["check"]).await;
    assert_eq!(check.status.code(), Some(78), "{check:?}");
    let check = String::from_utf8(check.stdout).unwrap();
    match way % 3 {
        0 => {
            let output = scene.home.run(&["reload"]).await;
            assert_eq!(output.status.code(), Some(78), "{output:?}");
            assert_eq!(String::from_utf8(output.stderr).unwrap().trim_end(), check.trim_end());
        }
        1 => {
            let mut control = UnixStream::connect(scene.home.path("data/control.sock")).await.unwrap();
            control.write_all(b"reload\n").await.unwrap();
            let mut answer = String::new();
            control.read_to_string(&mut answer).await.unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["done"], false);
            assert_eq!(answer["text"].as_str().unwrap().trim_end(), check.trim_end());
        }
        _ => {
            let before = gateway.log.len();
            gateway.signal(Signal::HUP);
            let line = gateway.log.wait_for(before, "reload refused").await;
            let first = check.lines().next().unwrap().replace('"', "\\\"");
            assert!(line.contains(&first), "{line}");
        }
    }
}

/// Everything that a socket hears until the event `last` or an end.
fn listen(mut socket: Socket, scene: &Arc<Scene>, last: Arc<AtomicU64>) -> JoinHandle<Vec<u64>> {
    let scene = scene.clone();
    tokio::spawn(async move {
        let mut heard = Vec::new();
        loop {
            if scene.is_stopped() && heard.last() == Some(&last.load(Ordering::SeqCst)) {
                return heard;
            }
            let Ok(message) = tokio::time::timeout(Duration::from_millis(100), socket.next()).await else { continue };
            let message = message.expect("a socket was closed").expect("a socket broke");
            assert!(!message.is_close(), "a socket was closed: {message:?}");
            let Ok(message) = serde_json::from_slice::<Value>(&message.into_data()) else { continue };
            match message["type"].as_str() {
                Some("file_uploaded") => heard.push(message["id"].as_u64().unwrap()),
                Some("connection") => {}
                _ => panic!("a socket was told {message}"),
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_good_and_bad_ones_under_load() {
    let scene = Scene::new(Setup::default());
    let gateway = scene.home.start().await;
    let (client, mut dice) = (client(), Dice::new(5));
    let last = Arc::new(AtomicU64::new(0));
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(listen(scene.home.socket("").await.unwrap(), &scene, last.clone()));
    }
    let uploading = upload(&scene, dice.fork());
    let appending = append(&scene);
    let sending = [send_chunks(&scene, 1), send_chunks(&scene, 2)];
    for round in 0..RELOADS {
        if round % 3 == 2 {
            reload_badly(&scene, &gateway, &broken(&scene, &mut dice), round / 3).await;
        } else {
            reload_well(&scene, &gateway, &any_setup(&mut dice), round % 2 == 0).await;
        }
        probe(&scene, &client, round).await;
    }
    reload_well(&scene, &gateway, &Setup::default(), false).await;
    scene.stop.store(true, Ordering::SeqCst);

    for sending in sending {
        let (stored, _) = sending.await.unwrap();
        assert!(stored > 0, "no upload in chunks came through");
    }
    let (status, file) = told(client.get(scene.home.url("/get_file"))).await;
    assert_eq!((status, file["content"].as_str()), (200, Some(&*appending.await.unwrap())));
    let stored = uploading.await.unwrap();
    assert!(stored.len() > 3, "{:?}", stored.keys());
    for (name, content) in stored {
        let response = client.get(scene.home.url(&format!("/api/files/download/acme/{name}"))).send().await.unwrap();
        assert_eq!(response.bytes().await.unwrap(), content, "{name}");
    }
    let events = scene.home.events(&client, 0).await;
    let of_the_relay = events.iter().filter(|event| event["collection"] == "societes");
    let ids: Vec<_> = of_the_relay.map(|event| event["id"].as_u64().unwrap()).collect();
    last.store(*ids.last().unwrap(), Ordering::SeqCst);
    for socket in sockets {
        assert_eq!(socket.await.unwrap(), ids);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_keeps_the_configuration_that_it_began_with() {
    let scene = Scene::new(Setup::default());
    let gateway = scene.home.start().await;
    let (home, client) = (&scene.home, client());
    let large = Kind::LargeJson.content(1);
    let file = Slow::file(home, "one_1.json", &large).await;
    let chunk = Slow::chunk(home, "s", "0", &[b'a'; 70_000]).await;
    let bytes = Slow::bytes(home, &[b'x'; 70_000]).await;
    is_heard(home).await;

    let none =
        Setup { relay: false, fileupload: false, chunk_writer: false, max_file_size: "100 KiB", ..Setup::default() };
    reload_well(&scene, &gateway, &none, true).await;
    probe(&scene, &client, 1).await;
    let again = client.post(home.url("/fileupload/upload_chunk/")).multipart(chunk_form("s", 1, &large));
    assert_eq!(told(again).await.0, 404);
    assert_eq!(file.end().await.0, 200);
    assert_eq!(chunk.end().await.0, 200);
    assert_eq!(bytes.end().await.0, 200);

    reload_well(&scene, &gateway, &Setup::default(), false).await;
    let (_, found) = told(client.get(home.url("/api/files/societe/acme/files"))).await;
    assert_eq!(
        (found["files"][0]["filename"].as_str(), found["files"][0]["size"].as_u64()),
        (Some("one_1.json"), Some(large.len() as u64))
    );
    assert_eq!(told(client.get(home.url("/get_file"))).await.1["content"].as_str().unwrap().len(), 70_000);
    let complete = client.post(home.url("/fileupload/complete_upload/")).json(&json!({"sessionId": "s"}));
    assert_eq!(told(complete).await.0, 200);
    assert_eq!(home.outcome(&client, "s").await, json!({"status": "completed"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_owed_to_a_collection_that_is_gone_fails_with_that_reason() {
    let scene = Scene::new(Setup { large_checks: true, ..Setup::default() });
    let (home, client) = (&scene.home, client());
    let gateway = home.start().await;
    // Long enough to check that the gateway does not survive it.
    let part = Bytes::from(format!("[{}1]", "1,".repeat(8 << 20)));
    let chunk = client.post(home.url("/fileupload/upload_chunk/")).multipart(chunk_form("s", 0, &part));
    assert_eq!(told(chunk).await.0, 200);
    let complete = client.post(home.url("/fileupload/complete_upload/")).json(&json!({"sessionId": "s"}));
    assert_eq!(told(complete).await.0, 200);
    gateway.kill();
    scene.will_be(&Setup { fileupload: false, ..Setup::default() });
    let gateway = home.start().await;
    gateway.log.wait_for(0, "ended without being stored").await;
    reload_well(&scene, &gateway, &Setup::default(), false).await;
    let status = home.outcome(&client, "s").await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["message"], "the collection `largefiles` is not configured any more");
    assert!(!home.path("data/large/largefiles/large_s.bin").exists());
}
