//! The gateway's own binary in a folder and on a port of its own: started, killed, told to reload or to stop.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::watch;

use super::PATIENCE;

/// Below the ports that the system hands to connections: while the gateway is down nobody takes its port.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// What a test wants of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub relay: bool,
    pub fileupload: bool,
    pub chunk_writer: bool,
    /// Of every collection but the chunk writer's.
    pub max_file_size: &'static str,
    /// Whether the relay's files have to be JSON.
    pub relay_checks: bool,
    /// Whether large files have to be JSON.
    pub large_checks: bool,
    pub drain: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            relay: true,
            fileupload: true,
            chunk_writer: true,
            max_file_size: "1 GiB",
            relay_checks: true,
            large_checks: false,
            drain: "30s",
        }
    }
}

impl Setup {
    /// A dialect that is off takes its collection with it.
    pub fn toml(&self, address: SocketAddr) -> String {
        let mut text = format!(
            "data_dir = \"data\"\n[server]\nlisten = [\"{address}\"]\n[server.deadlines]\ndrain = \"{}\"\n\
             [storage.files]\nservice = \"fs\"\nroot = \"data/files\"\n\
             [storage.large]\nservice = \"fs\"\nroot = \"data/large\"\n\
             [storage.chunks]\nservice = \"fs\"\nroot = \"data/chunks\"\n",
            self.drain
        );
        let checks = |yes: bool| if yes { "validate = [\"json\"]\n" } else { "" };
        let mut dialect = |is_on: bool, api: &str, collection: &str, keys: &str| {
            if is_on {
                text.push_str(&format!(
                    "[api.{api}]\ncollection = \"{collection}\"\n[collection.{collection}]\n{keys}"
                ));
            }
        };
        let limit = format!("max_file_size = \"{}\"\n", self.max_file_size);
        let keys = format!(
            "storage = \"files\"\npath = \"{{tenant}}/{{file_name}}\"\nextension = \"json\"\ndigest = \"sha256\"\n{limit}{}",
            checks(self.relay_checks)
        );
        dialect(self.relay, "relay", "societes", &keys);
        let keys = format!(
            "storage = \"large\"\npath = \"largefiles/{{stem}}_{{session_id}}{{ext}}\"\n{limit}{}",
            checks(self.large_checks)
        );
        dialect(self.fileupload, "fileupload", "largefiles", &keys);
        let keys = "storage = \"chunks\"\npath = \"uploads/received_chunks.txt\"\n";
        dialect(self.chunk_writer, "chunk_writer", "chunks", keys);
        text
    }
}

/// What stays when a gateway ends: its folder and its address.
pub struct Home {
    folder: TempDir,
    pub address: SocketAddr,
}

impl Home {
    pub fn new(setup: &Setup) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap(), address: free_address() };
        home.configure(setup);
        home
    }

    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub fn configure(&self, setup: &Setup) {
        self.write_config(&setup.toml(self.address));
    }

    pub fn write_config(&self, text: &str) {
        std::fs::write(self.path("config.toml"), text).unwrap();
    }

    /// Any command, with an environment of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Starts the gateway and waits until it listens.
    pub async fn start(&self) -> Gateway {
        let mut child = self.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::default();
        log.follow(child.stdout.take().unwrap());
        log.follow(child.stderr.take().unwrap());
        let mut gateway = Gateway { child, log: log.clone() };
        tokio::select! {
            _ = log.wait_for(0, "listens on") => gateway,
            status = gateway.ended() => panic!("it does not start: {status}\n{}", gateway.log.text()),
        }
    }
}

fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    let first = (std::process::id() as u16).wrapping_mul(97) % span;
    loop {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        let address = SocketAddr::from(([127, 0, 0, 1], PORTS.start + offset));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A gateway that runs. Dropping it kills it.
pub struct Gateway {
    child: Child,
    pub log: Log,
}

impl Gateway {
    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits until the process has ended; gives how.
    pub async fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the gateway does not end:\n{}", self.log.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the gateway's log ended with:\n{}", self.log.tail(40));
        }
    }
}

/// What the gateway printed, line by line.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Default for Log {
    fn default() -> Self {
        Self { lines: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }
}

impl Log {
    fn follow(&self, output: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut lines = log.lines.lock();
                lines.push(line);
                log.count.send_replace(lines.len());
            }
        });
    }

    pub fn len(&self) -> usize {
        self.lines.lock().len()
    }

    pub fn text(&self) -> String {
        self.lines.lock().join("\n")
    }

    fn tail(&self, count: usize) -> String {
        let lines = self.lines.lock();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Waits for a line after the first `after` that holds `text`.
    pub async fn wait_for(&self, after: usize, text: &str) -> String {
        let mut count = self.count.subscribe();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(line) = self.lines.lock().iter().skip(after).find(|line| line.contains(text)) {
                    return line.clone();
                }
                count.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("the gateway never said `{text}`, but:\n{}", self.text()))
    }
}
