//! Told once, in order: subscribers who are cut off, who come late or who never read, and a gateway that is killed twice
//! meanwhile. At the end each has heard the same list, the list holds every change that a client was told of, and what
//! it adds up to is what lies in the folder.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const SOCIETES: [&str; 3] = ["acme", "Société Générale", "Œuvres & Cie"];
const NAMES: [&str; 3] = ["comptes_2024.json", "bilan été_2025.json", "100%_2026.json"];
/// The gateway is killed when so many changes have been told of, and once more after as many again.
const CHANGES_BETWEEN_KILLS: usize = 100;

/// What a client asked for, and whether it was told that it was done; if not, it may have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    /// The number in the file; `None` for a delete.
    uploaded: Option<u64>,
    is_told: bool,
}

type Journal = BTreeMap<(String, String), Vec<Change>>;

#[derive(Default)]
struct Scene {
    told: AtomicUsize,
    stop: AtomicBool,
    /// The last event, once it is known; positions begin at 1.
    last: AtomicU64,
}

impl Scene {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn is_last(&self, id: u64) -> bool {
        id > 0 && self.last.load(Ordering::SeqCst) == id
    }
}

/// Uploads and deletes in one company, one request at a time, until it is told to stop.
fn change(home: &Arc<Home>, scene: &Arc<Scene>, societe: &'static str, mut dice: Dice) -> JoinHandle<Journal> {
    let (home, scene, client) = (home.clone(), scene.clone(), client());
    let mut journal = Journal::new();
    tokio::spawn(async move {
        let mut number = 0;
        while !scene.is_stopped() {
            let name = NAMES[dice.below(3) as usize];
            number += 1;
            let uploaded = (dice.below(4) > 0).then_some(number);
            let request = match uploaded {
                Some(number) => {
                    let padding = " ".repeat(1 << dice.below(18));
                    let content = Bytes::from(format!("{{\"number\": {number}{padding}}}"));
                    client.post(home.path_url(&["upload", societe])).multipart(file_form(name, &content))
                }
                None => client.delete(home.path_url(&["delete", societe, name])),
            };
            let is_told = match answer(request).await {
                Ok((200, _)) => true,
                Ok((404, _)) if uploaded.is_none() => continue,
                Ok((status, body)) => panic!("{status}: {body}"),
                Err(_) => {
                    is_back(&home, &client).await;
                    false
                }
            };
            journal.entry((societe.to_owned(), name.to_owned())).or_default().push(Change { uploaded, is_told });
            scene.told.fetch_add(usize::from(is_told), Ordering::SeqCst);
        }
        journal
    })
}

impl Home {
    /// A path of the relay, its segments encoded.
    fn path_url(&self, segments: &[&str]) -> reqwest::Url {
        let mut url = reqwest::Url::parse(&self.url("/api/files")).unwrap();
        url.path_segments_mut().unwrap().extend(segments);
        url
    }
}

async fn is_back(home: &Home, client: &Client) {
    let begun = Instant::now();
    while client.get(home.url("/healthz")).send().await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the gateway does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client of the socket whose connection breaks at random; it comes back with the last position that it processed.
fn subscribe(home: &Arc<Home>, scene: &Arc<Scene>, mut dice: Dice) -> JoinHandle<Vec<Value>> {
    let (home, scene) = (home.clone(), scene.clone());
    tokio::spawn(async move {
        let (mut heard, mut after) = (Vec::new(), 0);
        loop {
            let Some(mut socket) = home.socket(&format!("?after={after}")).await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let mut patience = dice.below(30);
            while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_millis(200), socket.next()).await {
                let Ok(text) = message.into_text() else { continue };
                let Ok(message) = serde_json::from_str::<Value>(&text) else { continue };
                match message["type"].as_str().unwrap() {
                    "connection" => {}
                    "reload" => panic!("nothing was lost, and it is told to reload"),
                    _ => {
                        after = message["id"].as_u64().unwrap();
                        heard.push(message);
                    }
                }
                patience = patience.saturating_sub(1);
                if patience == 0 {
                    break;
                }
            }
            // Dropped without a word, as a network that goes away does it.
            drop(socket);
            if scene.is_last(after) {
                return heard;
            }
        }
    })
}

/// A client that asks in turn.
fn poll(home: &Arc<Home>, scene: &Arc<Scene>) -> JoinHandle<Vec<Value>> {
    let (home, scene, client) = (home.clone(), scene.clone(), client());
    tokio::spawn(async move {
        let (mut heard, mut after) = (Vec::new(), 0);
        while !scene.is_last(after) {
            let url = home.url(&format!("/v1/events?after={after}&limit=7&wait=1"));
            let Ok((200, page)) = answer(client.get(url)).await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            assert_eq!(page["reload"], false);
            heard.extend(page["events"].as_array().unwrap().iter().cloned());
            after = page["next"].as_u64().unwrap();
        }
        heard
    })
}

/// A client that asks for all that ever happened and never takes a byte of it.
async fn never_reads(home: &Home) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1024).unwrap();
    let mut stream = socket.connect(home.address).await.unwrap();
    let head = "GET /api/files/ws?after=0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn told_of(scene: &Scene, count: usize) {
    let begun = Instant::now();
    while scene.told.load(Ordering::SeqCst) < count {
        assert!(begun.elapsed() < PATIENCE, "changes have come to a halt");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_hear_the_same_and_it_is_what_happened() {
    let home = Arc::new(Home::new(&Setup::default()));
    let mut gateway = home.start().await;
    let (scene, mut dice) = (Arc::new(Scene::default()), Dice::new(4));
    let subscribers: Vec<_> = (0..4).map(|_| subscribe(&home, &scene, dice.fork())).collect();
    let polling = poll(&home, &scene);
    let changing: Vec<_> = SOCIETES.iter().map(|societe| change(&home, &scene, societe, dice.fork())).collect();
    for kills in 1..=2 {
        let _silent = [never_reads(&home).await, never_reads(&home).await, never_reads(&home).await];
        told_of(&scene, kills * CHANGES_BETWEEN_KILLS).await;
        gateway.kill();
        gateway = home.start().await;
    }
    told_of(&scene, 3 * CHANGES_BETWEEN_KILLS).await;
    scene.stop.store(true, Ordering::SeqCst);
    let mut journal = Journal::new();
    for changing in changing {
        journal.append(&mut changing.await.unwrap());
    }

    let client = client();
    let events = home.events(&client, 0).await;
    let ids: Vec<u64> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    scene.last.store(*ids.last().unwrap(), Ordering::SeqCst);
    assert_eq!(polling.await.unwrap(), events);
    for subscriber in subscribers {
        let heard: Vec<_> = subscriber.await.unwrap().iter().map(as_told_on_a_socket).collect();
        assert_eq!(heard, events.iter().map(as_told_in_a_page).collect::<Vec<_>>());
    }
    events_are_the_changes(&events, &journal);
    events_are_the_folder(&home, &client, &events, &journal).await;
}

type Told = (u64, String, String, String);

fn told_in(event: &Value, societe: &str, name: &str) -> Told {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    (event["id"].as_u64().unwrap(), text("type"), text(societe), text(name))
}

fn as_told_on_a_socket(event: &Value) -> Told {
    told_in(event, "societe", "filename")
}

fn as_told_in_a_page(event: &Value) -> Told {
    told_in(event, "tenant", "file_name")
}

/// Events of one file, in order: `true` for an upload.
fn by_file(events: &[Value]) -> BTreeMap<(String, String), Vec<bool>> {
    let mut files = BTreeMap::<_, Vec<bool>>::new();
    for event in events {
        let (_, kind, societe, name) = as_told_in_a_page(event);
        let is_upload = match kind.as_str() {
            "file_uploaded" => true,
            "file_deleted" => false,
            other => panic!("nobody did `{other}`"),
        };
        files.entry((societe, name)).or_default().push(is_upload);
    }
    files
}

fn events_are_the_changes(events: &[Value], journal: &Journal) {
    let files = by_file(events);
    assert!(files.keys().all(|file| journal.contains_key(file)), "{:?}", files.keys());
    for (file, changes) in journal {
        let events = files.get(file).map_or(&[][..], |events| events);
        assert!(explain(events, changes), "{file:?}: {changes:?} became {events:?}");
    }
}

/// Whether each event is one of the changes, in order, and each change that was told of is an event.
fn explain(events: &[bool], changes: &[Change]) -> bool {
    // Which events can have been explained by the changes so far.
    let mut reached = vec![false; events.len() + 1];
    reached[0] = true;
    for change in changes {
        let mut next = vec![false; events.len() + 1];
        for count in (0..=events.len()).filter(|count| reached[*count]) {
            if events.get(count) == Some(&change.uploaded.is_some()) {
                next[count + 1] = true;
            }
            if !change.is_told {
                next[count] = true;
            }
        }
        reached = next;
    }
    reached[events.len()]
}

#[test]
fn a_missing_or_a_second_event_is_noticed() {
    let upload = Change { uploaded: Some(1), is_told: true };
    let delete = Change { uploaded: None, is_told: true };
    let perhaps = Change { is_told: false, ..upload };
    assert!(explain(&[true, false], &[upload, delete]));
    assert!(!explain(&[true], &[upload, delete]));
    assert!(!explain(&[false, true], &[upload, delete]));
    assert!(!explain(&[true, true, false], &[upload, delete]));
    assert!(explain(&[true, true, false], &[upload, perhaps, delete]));
    assert!(explain(&[true, false], &[upload, perhaps, delete]));
    assert!(!explain(&[true, true, true, false], &[upload, perhaps, delete]));
}

async fn events_are_the_folder(home: &Home, client: &Client, events: &[Value], journal: &Journal) {
    let mut there: Vec<_> =
        by_file(events).into_iter().filter(|(_, events)| events.last() == Some(&true)).map(|(file, _)| file).collect();
    there.sort();
    let mut walked = Vec::new();
    for folder in fs::read_dir(home.path("data/files")).unwrap().map(Result::unwrap) {
        for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
            walked.push((name(&folder), name(&file)));
        }
    }
    walked.sort();
    assert_eq!(walked, there);
    for (societe, name) in &there {
        let (status, content) = told(client.get(home.path_url(&["download", societe, name]))).await;
        assert_eq!(status, 200, "{societe}/{name}");
        let number = content["number"].as_u64();
        let changes = &journal[&(societe.clone(), name.clone())];
        // The last that was told of, or one after it that may have been done.
        let mut last: Vec<_> = changes.iter().rev().take_while(|change| !change.is_told).collect();
        last.extend(changes.iter().rev().find(|change| change.is_told));
        assert!(last.iter().any(|change| change.uploaded == number), "{number:?} is none of {last:?}");
    }
}
