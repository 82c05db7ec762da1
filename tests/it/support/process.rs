//! The gateway as it is shipped: the binary in a process of its own, with a configuration in a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::PATIENCE;

/// The dialects' configuration but for where they listen; more can stand behind it.
pub const RELAY: &str = r#"
[server]
listen = ["127.0.0.1:0"]
[storage.files]
service = "fs"
root = "files"
[collection.societes]
storage = "files"
path = "{tenant}/{file_name}"
extension = "json"
digest = "sha256"
validate = ["json"]
[api.relay]
collection = "societes"
"#;

/// A gateway that is about to start.
pub struct Start {
    pub folder: TempDir,
    command: Command,
}

/// A running gateway; dropping it kills it.
pub struct Process {
    pub addresses: Vec<SocketAddr>,
    child: Child,
    log: Arc<Mutex<String>>,
    folder: Option<TempDir>,
}

impl Start {
    pub fn new(config: &str) -> Self {
        Self::again(tempfile::tempdir().unwrap(), config)
    }

    /// In a folder where one ran before.
    pub fn again(folder: TempDir, config: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.env_clear();
        Self::by(folder, config, command)
    }

    /// By a command that ends in the gateway.
    pub fn by(folder: TempDir, config: &str, mut command: Command) -> Self {
        fs::write(folder.path().join("config.toml"), config).unwrap();
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { folder, command }
    }

    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Waits until it says where it listens.
    pub fn run(mut self) -> Process {
        let mut child = self.command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        collect(child.stderr.take().unwrap(), log.clone());
        let said = lines(child.stdout.take().unwrap());
        let mut addresses = Vec::new();
        loop {
            let Ok(line) = said.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                panic!("the gateway does not start: {}", log.lock());
            };
            if let Some(address) = line.trim().strip_prefix("listens on http://") {
                addresses.push(address.parse().unwrap());
            } else if line.starts_with("try:") {
                break;
            }
        }
        Process { addresses, child, log, folder: Some(self.folder) }
    }
}

impl Process {
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Where a path of the storage lies on disk.
    pub fn stored(&self, path: &str) -> PathBuf {
        self.folder().join("files").join(path)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its log so far.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// `kill -9`; gives what is left on disk.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.folder.take().unwrap()
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(mut self) -> (TempDir, ExitStatus) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        (self.folder.take().unwrap(), status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log.lock());
        }
    }
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = into.lock();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}
