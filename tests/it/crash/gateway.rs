//! The gateway as a process of its own, that can be killed; and a client of it that tells "refused" from "gone".

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tidegate::catalog::Sqlite;
use tidegate::catalog::config::Durability;

/// Nothing that is asked of it takes so long, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);
const KILL: i32 = 9;

/// The gateway went away before it answered: what was asked of it was done, or not.
#[derive(Debug)]
pub struct Gone;

/// An answer to something that was to change something.
#[derive(Debug)]
pub struct Told {
    pub status: u16,
    /// Empty where the gateway died behind the head of its answer.
    pub text: String,
}

impl Told {
    pub fn is_acknowledged(&self) -> bool {
        self.status == 200
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub struct Gateway {
    child: Child,
    /// `http://127.0.0.1:PORT`
    url: String,
    client: reqwest::Client,
    is_struck: AtomicBool,
}

impl Gateway {
    /// Starts it on `folder` with these settings, to die at `crash_at` (a point's name, and `:` with the time that is meant).
    pub fn start_with(folder: &Path, crash_at: Option<&str>, settings: &[String]) -> Self {
        let log = File::options().create(true).append(true).open(log_path(folder)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .args(["--set", "server.listen=[\"127.0.0.1:0\"]"])
            .args(settings.iter().flat_map(|setting| ["--set", setting.as_str()]))
            .current_dir(folder)
            .env_clear()
            .env("STATE_DIRECTORY", data_path(folder))
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(point) = crash_at {
            command.env("TIDEGATE_CRASH_AT", point);
        }
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut lines = said.lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.trim().strip_prefix("listens on ").map(str::to_owned));
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let Some(url) = url else { panic!("the gateway did not start: {:?}", child.wait()) };
        // What it says behind that fits into the pipe.
        std::mem::forget(lines);
        Self { child, url, client, is_struck: AtomicBool::new(false) }
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    pub fn delete(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.delete(format!("{}{path}", self.url))
    }

    /// The address of a WebSocket.
    pub fn socket(&self, path: &str) -> String {
        format!("{}{path}", self.url.replace("http:", "ws:"))
    }

    /// Asks for a change. A status that came was told, whatever happened to the body behind it.
    pub async fn tell(&self, request: reqwest::RequestBuilder) -> Result<Told, Gone> {
        let answer = request.send().await.map_err(|_| Gone)?;
        Ok(Told { status: answer.status().as_u16(), text: answer.text().await.unwrap_or_default() })
    }

    /// Reads something from a gateway that may go away.
    pub async fn look(&self, path: &str) -> Result<Told, Gone> {
        self.tell(self.client.get(format!("{}{path}", self.url))).await
    }

    /// Reads something from a gateway that has no reason to go away.
    pub async fn read(&self, path: &str) -> (u16, Vec<u8>) {
        self.read_as(path, "*/*").await
    }

    pub async fn read_as(&self, path: &str, media_type: &str) -> (u16, Vec<u8>) {
        let request = self.client.get(format!("{}{path}", self.url)).header("accept", media_type);
        let answer = request.send().await.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        (status, body.to_vec())
    }

    pub async fn read_json(&self, path: &str) -> Value {
        let (status, body) = self.read(path).await;
        assert_eq!(status, 200, "GET {path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `kill -9`, and waits for it to be gone.
    pub fn kill(mut self) {
        self.strike();
        assert_eq!(self.child.wait().unwrap().signal(), Some(KILL), "it had ended before it was killed");
    }

    /// `kill -9`, while clients ask.
    pub fn strike(&self) {
        self.is_struck.store(true, Ordering::SeqCst);
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::KILL).unwrap();
    }

    pub fn is_struck(&self) -> bool {
        self.is_struck.load(Ordering::SeqCst)
    }

    /// Waits for it to be gone, killed.
    pub async fn died(mut self, point: &str) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.signal(), Some(KILL), "{point}: it ended otherwise than by a kill: {status}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{point}: a client lost its connection, but the gateway lives");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn data_path(folder: &Path) -> PathBuf {
    folder.join("data")
}

pub fn log_path(folder: &Path) -> PathBuf {
    folder.join("gateway.log")
}

/// The catalog that a gateway left that is dead. A copy: the next start finds the original as it is.
pub fn catalog_left(folder: &Path) -> (Sqlite, TempDir) {
    let copy = tempfile::tempdir().unwrap();
    for name in ["tidegate.db", "tidegate.db-wal"] {
        std::fs::copy(data_path(folder).join(name), copy.path().join(name)).unwrap();
    }
    let (catalog, _) = Sqlite::open(&copy.path().join("tidegate.db"), Durability::Process, "any").unwrap();
    (catalog, copy)
}
