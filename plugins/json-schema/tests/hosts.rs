//! References to hosts, with hosts that are there: what is fetched, when, how often, and what is refused.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_plugin_json_schema::{Config, Format, JsonSchema};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, ErrorKind, OptionIssue, Plugin, PluginError, Validate, Verdict};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// What a host answers to one path.
enum Answer {
    Json(Value),
    Text(String),
    Status(&'static str),
    Redirect(String),
    /// So many bytes, and whether their number is said before.
    Bytes(usize, bool),
}

/// A host of this machine, for as long as it is held.
struct Host {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    /// So many answers are given.
    answers: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Host {
    async fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::at(0, answer).await
    }

    async fn at(port: u16, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let answers = Arc::new(Semaphore::new(1000));
        let (answer, notes, permits) = (Arc::new(answer), asked.clone(), answers.clone());
        let task = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(connection, answer.clone(), notes.clone(), permits.clone()));
            }
        });
        Self { port, asked, answers, task }
    }

    /// One that answers each path with what is listed, and others with 404.
    async fn with(documents: Vec<(&'static str, Value)>) -> Self {
        Self::new(move |path| match documents.iter().find(|(name, _)| *name == path) {
            Some((_, document)) => Answer::Json(document.clone()),
            None => Answer::Status("404 Not Found"),
        })
        .await
    }

    fn root(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    connection: TcpStream,
    answer: Arc<impl Fn(&str) -> Answer>,
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Semaphore>,
) {
    let mut connection = BufReader::new(connection);
    let mut request = String::new();
    connection.read_line(&mut request).await.unwrap();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(path.clone());
    answers.acquire().await.unwrap().forget();
    let answer = answer(&path);
    let (status, location, body) = match &answer {
        Answer::Json(value) => ("200 OK", "", value.to_string()),
        Answer::Text(text) => ("200 OK", "", text.clone()),
        Answer::Status(status) => (*status, "", String::new()),
        Answer::Redirect(to) => ("302 Found", to.as_str(), String::new()),
        Answer::Bytes(count, _) => ("200 OK", "", format!("\"{}\"", " ".repeat(count - 2))),
    };
    let length = match answer {
        // It goes to the end of the connection.
        Answer::Bytes(_, false) => String::new(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    let head = format!("HTTP/1.1 {status}\r\nlocation: {location}\r\n{length}connection: close\r\n\r\n");
    // Whoever has enough of it hangs up.
    let _ = connection.write_all(head.as_bytes()).await;
    let _ = connection.write_all(body.as_bytes()).await;
    let _ = connection.shutdown().await;
    let _ = connection.read_to_end(&mut Vec::new()).await;
}

/// A folder with `schema.json`.
fn folder_with(schema: &Value) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("schema.json"), schema.to_string()).unwrap();
    folder
}

fn config(allowed_hosts: &[&str]) -> Config {
    let allowed_hosts = allowed_hosts.iter().map(|host| (*host).to_owned()).collect();
    Config { schema: Some("schema.json".into()), allowed_hosts, ..Config::default() }
}

fn build_in(folder: &Path, config: Config) -> JsonSchema {
    assert_eq!(JsonSchema::check(&config, folder), []);
    JsonSchema::build(config, folder).unwrap()
}

/// An instance of the schema that may refer to these hosts.
fn build(schema: &Value, hosts: &[&Host]) -> JsonSchema {
    let roots: Vec<_> = hosts.iter().map(|host| host.root()).collect();
    let folder = folder_with(schema);
    build_in(folder.path(), config(&roots.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn check(schema: &Value, allowed_hosts: &[&str]) -> Vec<OptionIssue> {
    JsonSchema::check(&config(allowed_hosts), folder_with(schema).path())
}

async fn accepts(check: &JsonSchema, content: &str) -> Result<bool, PluginError> {
    let verdict = check.validate(&MemoryFile::new("a.json", content.to_owned())).await?;
    Ok(verdict == Verdict::Accept)
}

/// The failure of a use, which is one that a retry may mend.
async fn failure(check: &JsonSchema) -> String {
    let error = accepts(check, "1").await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Unavailable, true), "{error}");
    error.context
}

#[tokio::test]
async fn a_schema_of_a_host_is_fetched_at_the_first_use_and_once() {
    let host = Host::with(vec![
        ("/a.json", json!({"$defs": {"a": {"properties": {"b": {"$ref": "parts/b.json"}}}}})),
        ("/parts/b.json", json!({"$ref": "../c.json#/$defs/c"})),
        ("/c.json", json!({"$defs": {"c": {"type": "integer"}}})),
    ])
    .await;
    let schema = json!({"items": {"$ref": format!("{}/a.json#/$defs/a", host.root())}});
    let check = Arc::new(build(&schema, &[&host]));
    assert_eq!(host.asked(), [""; 0], "before a file comes nothing is dialled");
    let mut uses = JoinSet::new();
    for _ in 0..20 {
        let check = check.clone();
        uses.spawn(async move { accepts(&check, r#"[{"b": 1}]"#).await.unwrap() });
    }
    assert_eq!(uses.join_all().await, [true; 20]);
    assert!(!accepts(&check, r#"[{"b": "x"}]"#).await.unwrap());
    assert_eq!(host.asked(), ["/a.json", "/parts/b.json", "/c.json"]);
    check.close().await;
}

#[tokio::test]
async fn lines_and_files_of_this_machine_go_with_hosts() {
    let host = Host::with(vec![("/a.json", json!({"type": "integer"}))]).await;
    let folder = folder_with(&json!({"properties": {"a": {"$ref": "part.json"}, "b": {"$ref": "part.json"}}}));
    let part = folder.path().join("part.json");
    fs::write(&part, json!({"$ref": format!("{}/a.json", host.root())}).to_string()).unwrap();
    let check = build_in(folder.path(), Config { format: Format::Ndjson, ..config(&[&host.root()]) });
    // What was there when the instance was made is what counts.
    fs::remove_file(part).unwrap();
    assert!(accepts(&check, "{\"a\": 1}\n{\"b\": 2}\n").await.unwrap());
    assert!(!accepts(&check, "{\"a\": 1}\n{\"b\": \"x\"}\n").await.unwrap());
    assert_eq!(host.asked(), ["/a.json"]);
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_an_error_before_anything_is_fetched() {
    let host = Host::with(vec![]).await;
    let other = host.root().replace("127.0.0.1", "localhost");
    let schema = json!({"anyOf": [{"$ref": format!("{}/a.json", host.root())}, {"$ref": format!("{other}/b.json")}]});
    for allowed in [&[][..], &[&*host.root()], &[&host.root()[7..], &other[7..]]] {
        let issues = check(&schema, allowed);
        assert_eq!((issues.len(), &*issues[0].option), (1, "schema"), "{issues:?}");
        assert!(issues[0].message.contains("`allowed_hosts`"), "{issues:?}");
    }
    assert_eq!(check(&schema, &[&host.root(), &other]), []);
    assert_eq!(host.asked(), [""; 0]);
}

#[tokio::test]
async fn what_can_be_seen_without_the_hosts_is_told_before() {
    for (wrong, part) in [
        (json!({"type": "strnig"}), "/properties/a/type"),
        (json!({"pattern": "("}), "/properties/a/pattern"),
        (json!({"$ref": "#/properties/a"}), "back to itself"),
        (json!({"$ref": "none.json"}), "none.json"),
    ] {
        let schema = json!({"properties": {"a": wrong, "b": {"$ref": "https://example.org/b.json"}}});
        let issues = check(&schema, &["example.org"]);
        assert!(issues.len() == 1 && issues[0].message.contains(part), "{issues:?}");
    }
    let schema = json!({"properties": {"b": {"$ref": "https://example.org/b.json#/$defs/b"}}});
    assert_eq!(check(&schema, &["example.org"]), []);
    let issues = check(&schema, &["*.example.org", "example.org"]);
    assert_eq!((issues.len(), &*issues[0].option), (1, "allowed_hosts"), "{issues:?}");
}

#[tokio::test]
async fn a_host_that_is_down_is_tried_again_and_not_at_once() {
    let answer = |_: &str| Answer::Json(json!({"type": "integer"}));
    let host = Host::new(answer).await;
    let (root, port) = (host.root(), host.port);
    let check = build(&json!({"$ref": format!("{root}/a.json")}), &[&host]);
    drop(host);
    sleep(Duration::from_millis(50)).await;
    let message = failure(&check).await;
    assert!(message.contains(&format!("{root}/a.json")) && message.contains("refused"), "{message}");

    let host = Host::at(port, answer).await;
    assert_eq!(failure(&check).await, message, "it is remembered");
    assert_eq!(host.asked(), [""; 0]);
    sleep(Duration::from_millis(5_100)).await;
    assert!(accepts(&check, "1").await.unwrap());
    assert!(!accepts(&check, "\"x\"").await.unwrap());
    assert_eq!(host.asked(), ["/a.json"]);
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_given_up() {
    let host = Host::with(vec![]).await;
    host.answers.forget_permits(1000);
    let check = build(&json!({"$ref": format!("{}/a.json", host.root())}), &[&host]);
    let message = timeout(Duration::from_secs(20), failure(&check)).await.unwrap();
    assert!(message.contains("timed out"), "{message}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Host::with(vec![("/a.json", json!({}))]).await;
    let to = format!("{}/a.json", target.root());
    let host = Host::new(move |_| Answer::Redirect(to.clone())).await;
    let check = build(&json!({"$ref": format!("{}/a.json", host.root())}), &[&host, &target]);
    let message = failure(&check).await;
    assert!(message.contains("302") && message.contains("not followed"), "{message}");
    assert_eq!(target.asked(), [""; 0]);
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_failure_with_the_address() {
    let host = Host::new(|path| match path {
        "/large" => Answer::Bytes((16 << 20) + 1, true),
        "/endless" => Answer::Bytes((16 << 20) + 1, false),
        "/text" => Answer::Text("{".to_owned()),
        "/pattern" => Answer::Json(json!({"pattern": "("})),
        _ => Answer::Status("404 Not Found"),
    })
    .await;
    for (path, part) in [
        ("/large", "larger than 16 MiB"),
        ("/endless", "larger than 16 MiB"),
        ("/text", "not JSON"),
        ("/pattern", "regex"),
        ("/none", "404 Not Found"),
    ] {
        let address = format!("{}{path}", host.root());
        let message = failure(&build(&json!({"$ref": address}), &[&host])).await;
        assert!(message.contains(&address) && message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn the_largest_document_that_may_be_is_taken() {
    for says_its_length in [true, false] {
        let host = Host::new(move |_| Answer::Bytes(16 << 20, says_its_length)).await;
        let message = failure(&build(&json!({"$ref": format!("{}/a.json", host.root())}), &[&host])).await;
        assert!(message.contains("is no schema") && message.len() < 3000, "{} bytes: {message:.3000}", message.len());
    }
}

#[tokio::test]
async fn what_a_host_sends_reaches_no_files_and_no_other_hosts() {
    let other = Host::with(vec![("/a.json", json!({}))]).await;
    let elsewhere = format!("{}/a.json", other.root());
    let host = Host::new(move |path| match path {
        "/file" => Answer::Json(json!({"properties": {"a": {"$ref": "file:///etc/hostname"}}})),
        "/name" => Answer::Json(json!({"$id": "file:///etc/", "$ref": "hostname"})),
        "/host" => Answer::Json(json!({"allOf": [{"$ref": elsewhere}]})),
        _ => Answer::Status("404 Not Found"),
    })
    .await;
    for (path, part) in [("/file", "`file:///etc/hostname`"), ("/name", "`file:///etc/`"), ("/host", "`allowed_hosts`")]
    {
        let address = format!("{}{path}", host.root());
        let message = failure(&build(&json!({"$ref": address}), &[&host])).await;
        assert!(message.contains(&address) && message.contains(part), "{message}");
    }
    assert_eq!(other.asked(), [""; 0]);
}

#[tokio::test]
async fn references_without_end_through_hosts_are_found() {
    let host =
        Host::with(vec![("/a.json", json!({"$ref": "b.json"})), ("/b.json", json!({"allOf": [{"$ref": "a.json"}]}))]);
    let host = host.await;
    let message = failure(&build(&json!({"$ref": format!("{}/a.json", host.root())}), &[&host])).await;
    assert!(message.contains("back to itself"), "{message}");
    // One that goes into the value is none.
    let host =
        Host::with(vec![("/a.json", json!({"type": "object", "additionalProperties": {"$ref": "a.json"}}))]).await;
    let check = build(&json!({"$ref": format!("{}/a.json", host.root())}), &[&host]);
    assert!(accepts(&check, r#"{"a": {"b": {}}}"#).await.unwrap());
    assert!(!accepts(&check, r#"{"a": {"b": 1}}"#).await.unwrap());
}

#[tokio::test]
async fn a_host_that_always_has_one_more_document_comes_to_its_end() {
    let next = |path: &str| path[1..].parse::<u32>().unwrap() + 1;
    let host = Host::new(move |path| Answer::Json(json!({"items": {"$ref": next(path).to_string()}}))).await;
    let message = failure(&build(&json!({"$ref": format!("{}/0", host.root())}), &[&host])).await;
    assert!(message.contains("more than 100 documents"), "{message}");
    assert_eq!(host.asked().len(), 100);
}

#[tokio::test]
async fn fetching_goes_on_when_the_call_that_began_it_is_dropped() {
    let host = Host::with(vec![("/a.json", json!({"type": "integer"}))]).await;
    host.answers.forget_permits(1000);
    let check = build(&json!({"$ref": format!("{}/a.json", host.root())}), &[&host]);
    for _ in 0..3 {
        assert!(timeout(Duration::from_millis(50), accepts(&check, "1")).await.is_err());
    }
    host.answers.add_permits(1);
    assert!(accepts(&check, "1").await.unwrap());
    assert_eq!(host.asked(), ["/a.json"]);
}

#[tokio::test]
async fn closing_lets_go_of_a_host_that_does_not_answer() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    let folder = folder_with(&json!({"$ref": format!("{root}/a.json")}));
    let check = build_in(folder.path(), config(&[&root]));
    assert!(timeout(Duration::from_millis(50), accepts(&check, "1")).await.is_err());
    let (mut connection, _) = listener.accept().await.unwrap();
    check.close().await;
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(5), connection.read_to_end(&mut rest));
    closed.await.expect("the connection is closed").unwrap();
}
