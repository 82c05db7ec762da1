//! The operator's socket in the data folder, for `tidegate reload` and `tidegate hooks`. Whoever may write to that folder may use it.
//!
//! One JSON line in, one out: a [`Request`], an [`Answer`].

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::reload::{Reloaded, Reloader};
use crate::fault::Fault;
use crate::follow_ups::FollowUps;
use crate::follow_ups::port::{Filter, FollowUpId, HookName, Selection};
use crate::gateway::GatewayHandle;
use crate::http::api::admin;
use crate::http::api::admin::messages::{Count, FollowUpDetail, FollowUpStatus, Hook, Hooks};

const LONGEST_REQUEST: u64 = 4096;

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Reload,
    /// [`Hooks`].
    Hooks,
    /// [`admin::messages::FollowUps`].
    FollowUps {
        hook: Option<String>,
        state: Option<FollowUpStatus>,
        after: Option<i64>,
        limit: u16,
    },
    /// [`FollowUpDetail`].
    FollowUp(i64),
    /// [`Count`].
    Retry(Which),
    /// [`Count`].
    Discard(Which),
}

/// Which follow-ups are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    One(i64),
    /// The dead letters of a hook, as `societes/erp`.
    DeadOf(String),
}

/// What the gateway answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub done: bool,
    /// For people.
    pub text: String,
    /// What was asked for.
    pub value: Value,
}

impl Answer {
    fn refused(text: impl Into<String>) -> Self {
        Self { done: false, text: text.into(), value: Value::Null }
    }
}

pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Asks the gateway that runs on `data_dir`.
pub async fn ask(data_dir: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket_path(data_dir)).await?;
    stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    serde_json::from_str(&answer).map_err(io::Error::other)
}

pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

/// Who does what is asked for.
pub(super) struct Operator {
    pub reloader: Arc<Reloader>,
    pub gateway: GatewayHandle,
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

    pub(super) async fn answer(self, operator: Arc<Operator>) {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    let operator = operator.clone();
                    tokio::spawn(async move {
                        if let Err(error) = answer_one(stream, &operator).await {
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

async fn answer_one(stream: UnixStream, operator: &Operator) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LONGEST_REQUEST)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(line.trim()) {
        Ok(request) => operator.answer(request).await,
        Err(error) => Answer::refused(format!("this gateway does not know what is asked for ({error})\n")),
    };
    write.write_all(serde_json::to_string(&answer)?.as_bytes()).await?;
    write.shutdown().await
}

impl Operator {
    async fn answer(&self, request: Request) -> Answer {
        if request == Request::Reload {
            let Reloaded { done, text } = self.reloader.reload().await;
            return Answer { done, text, value: Value::Null };
        }
        match administer(&self.gateway.current().follow_ups, request).await {
            Ok(answer) => answer,
            Err(fault) => Answer::refused(fault.to_string()),
        }
    }
}

async fn administer(follow_ups: &FollowUps, request: Request) -> Result<Answer, Fault> {
    let no_hook = |hook: &str| format!("`{hook}` is no hook: write COLLECTION/PLUGIN, as societes/erp");
    Ok(match request {
        Request::Reload => Answer::refused("this is done elsewhere"),
        Request::Hooks => {
            let hooks = follow_ups.hooks().await?;
            told(&Hooks { hooks: hooks.into_iter().map(Hook::from).collect() })
        }
        Request::FollowUps { hook, state, after, limit } => {
            let name = hook.as_deref().map(|hook| HookName::parse(hook).ok_or_else(|| no_hook(hook)));
            match name.transpose() {
                Err(text) => Answer::refused(text),
                Ok(hook) => {
                    let filter = Filter { hook, state: state.map(Into::into) };
                    told(&admin::page(follow_ups, &filter, after, usize::from(limit)).await?)
                }
            }
        }
        Request::FollowUp(id) => match follow_ups.find(FollowUpId(id)).await? {
            Some((row, attempts)) => told(&FollowUpDetail::new(row, attempts)),
            None => Answer::refused(format!("there is no follow-up {id}")),
        },
        Request::Retry(which) => match selection(&which) {
            Some(which) => told(&Count { count: follow_ups.retry(&which).await? }),
            None => Answer::refused(no_hook(&which.to_string())),
        },
        Request::Discard(which) => match selection(&which) {
            Some(which) => told(&Count { count: follow_ups.discard(&which).await? }),
            None => Answer::refused(no_hook(&which.to_string())),
        },
    })
}

impl std::fmt::Display for Which {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Which::One(id) => write!(formatter, "{id}"),
            Which::DeadOf(hook) => formatter.write_str(hook),
        }
    }
}

fn selection(which: &Which) -> Option<Selection> {
    match which {
        Which::One(id) => Some(Selection::One(FollowUpId(*id))),
        Which::DeadOf(hook) => HookName::parse(hook).map(Selection::DeadOf),
    }
}

fn told(value: &impl Serialize) -> Answer {
    match serde_json::to_value(value) {
        Ok(value) => Answer { done: true, text: String::new(), value },
        Err(error) => Answer::refused(error.to_string()),
    }
}
