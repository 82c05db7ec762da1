//! The operator's socket in the data folder, for `tidegate reload`. Whoever may write to that folder may use it.
//!
//! One line in, one JSON line out: `reload` → `{"done": bool, "text": string}`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::reload::{Reloaded, Reloader};

const LONGEST_COMMAND: u64 = 64;

/// What the gateway answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub done: bool,
    /// For people.
    pub text: String,
}

pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Asks the gateway that runs on `data_dir` to reload.
pub async fn ask_to_reload(data_dir: &Path) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket_path(data_dir)).await?;
    stream.write_all(b"reload\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    serde_json::from_str(&answer).map_err(io::Error::other)
}

pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// The catalog's lock has been taken: a socket that lies there is left over from a crash.
    pub(super) fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = socket_path(data_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { socket, path })
    }

    pub(super) async fn answer(self, reloader: Arc<Reloader>) {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    let reloader = reloader.clone();
                    tokio::spawn(async move {
                        if let Err(error) = answer_one(stream, &reloader).await {
                            tracing::debug!(%error, "an operator went away before the answer");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the operator's socket does not accept");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer_one(stream: UnixStream, reloader: &Reloader) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut command = String::new();
    BufReader::new(read.take(LONGEST_COMMAND)).read_line(&mut command).await?;
    let Reloaded { done, text } = match command.trim() {
        "reload" => reloader.reload().await,
        other => Reloaded { done: false, text: format!("there is no command `{other}`; there is `reload`\n") },
    };
    write.write_all(serde_json::to_string(&Answer { done, text })?.as_bytes()).await?;
    write.shutdown().await
}
