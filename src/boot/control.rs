//! The operator's socket in the data folder, for `tidegate reload` and `tidegate hooks`. Whoever may write to that folder may use it.
//!
//! One line in, one JSON line out: a [`Request`] as JSON (or `reload` alone, as it was once), an [`Answer`].

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
use crate::follow_ups::port::{Filter, FollowUpId, HookName, Selection};
use crate::follow_ups::{FollowUps, RetryError, Unchanged};
use crate::gateway::GatewayHandle;
use crate::http::api::admin;
use crate::http::api::admin::messages::{Count, FollowUpDetail, FollowUpStatus, Hook, Hooks};

const LONGEST_REQUEST: u64 = 4096;
const RELOAD: &str = "reload";

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
    #[serde(default)]
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
    let line = match request {
        // So that a gateway that was not started anew since understands it.
        Request::Reload => RELOAD.to_owned(),
        request => serde_json::to_string(request)?,
    };
    stream.write_all(format!("{line}\n").as_bytes()).await?;
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
    let request = match line.trim() {
        RELOAD => Ok(Request::Reload),
        line => serde_json::from_str(line),
    };
    let answer = match request {
        Ok(request) => operator.answer(request).await,
        Err(error) => Answer::refused(format!("this gateway does not know what is asked for ({error})\n")),
    };
    write.write_all(serde_json::to_string(&answer)?.as_bytes()).await?;
    write.shutdown().await
}

impl Operator {
    async fn answer(&self, request: Request) -> Answer {
        let follow_ups = &self.gateway.current().follow_ups;
        let answer = match request {
            Request::Reload => {
                let Reloaded { done, text } = self.reloader.reload().await;
                return Answer { done, text, value: Value::Null };
            }
            Request::Hooks => hooks(follow_ups).await,
            Request::FollowUps { hook, state, after, limit } => list(follow_ups, hook, state, after, limit).await,
            Request::FollowUp(id) => find(follow_ups, id).await,
            Request::Retry(which) => change(follow_ups, which, Change::Retry).await,
            Request::Discard(which) => change(follow_ups, which, Change::Discard).await,
        };
        answer.unwrap_or_else(|fault| Answer::refused(fault.to_string()))
    }
}

async fn hooks(follow_ups: &FollowUps) -> Result<Answer, Fault> {
    let hooks = follow_ups.hooks().await?;
    Ok(told(&Hooks { hooks: hooks.into_iter().map(Hook::from).collect() }))
}

async fn list(
    follow_ups: &FollowUps,
    hook: Option<String>,
    state: Option<FollowUpStatus>,
    after: Option<i64>,
    limit: u16,
) -> Result<Answer, Fault> {
    let hook = match hook.as_deref().map(|hook| HookName::parse(hook).ok_or(hook)).transpose() {
        Ok(hook) => hook,
        Err(text) => return Ok(Answer::refused(no_hook(text))),
    };
    let filter = Filter { hook, state: state.map(Into::into) };
    Ok(told(&admin::page(follow_ups, &filter, after, usize::from(limit)).await?))
}

async fn find(follow_ups: &FollowUps, id: i64) -> Result<Answer, Fault> {
    Ok(match follow_ups.find(FollowUpId(id)).await? {
        Some((row, attempts)) => told(&FollowUpDetail::new(row, attempts)),
        None => Answer::refused(Unchanged::Missing(FollowUpId(id)).to_string()),
    })
}

enum Change {
    Retry,
    Discard,
}

async fn change(follow_ups: &FollowUps, which: Which, change: Change) -> Result<Answer, Fault> {
    let selection = match &which {
        Which::One(id) => Selection::One(FollowUpId(*id)),
        Which::DeadOf(hook) => match HookName::parse(hook) {
            Some(name) if follow_ups.is_known(&name).await? => Selection::DeadOf(name),
            Some(_) => return Ok(Answer::refused(format!("there is no hook `{hook}`"))),
            None => return Ok(Answer::refused(no_hook(hook))),
        },
    };
    let count = match change {
        Change::Retry => match follow_ups.retry(&selection).await {
            Ok(count) => count,
            Err(RetryError::Fault(fault)) => return Err(fault),
            Err(error @ RetryError::NotConfigured(_)) => return Ok(Answer::refused(error.to_string())),
        },
        Change::Discard => follow_ups.discard(&selection).await?,
    };
    if let (0, Which::One(id)) = (count, &which) {
        return Ok(Answer::refused(follow_ups.unchanged(FollowUpId(*id)).await?.to_string()));
    }
    Ok(told(&Count { count }))
}

fn no_hook(text: &str) -> String {
    format!("`{text}` is no hook: write COLLECTION/PLUGIN, as societes/erp")
}

fn told(value: &impl Serialize) -> Answer {
    match serde_json::to_value(value) {
        Ok(value) => Answer { done: true, text: String::new(), value },
        Err(error) => Answer::refused(error.to_string()),
    }
}
