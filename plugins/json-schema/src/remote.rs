//! A schema that refers to hosts. Nothing is dialled before a file comes, so it is fetched and compiled at its first use: once, in a task
//! that goes on whatever becomes of the call that began it, while all calls wait for it.

mod fetch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{Client, Url};
use serde_json::Value;
use tidegate_plugin_sdk::{ErrorKind, PluginError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::checker::Checker;
use crate::config::Config;
use crate::report::cut;
use crate::schema::{Compiled, Fetched, Source, file_named_in};

/// So long a failure holds for whoever comes.
const PAUSE: Duration = Duration::from_secs(5);
/// A schema of more documents of hosts is made by a mistake, or by a host that always has one more.
const MOST_DOCUMENTS: usize = 100;
/// So many addresses are named in a message.
const ORIGINS: usize = 5;
/// A message that is longer is cut, in bytes.
const LONGEST_MESSAGE: usize = 2048;

pub struct Remote {
    source: Arc<Source>,
    config: Config,
    /// The last that was begun.
    attempt: Mutex<Option<Attempt>>,
}

struct Attempt {
    outcome: watch::Receiver<Option<Outcome>>,
    task: AbortHandle,
}

type Outcome = Result<Arc<Checker>, Failure>;

struct Failure {
    message: String,
    at: Instant,
}

impl Failure {
    /// The error of a schema can quote all of it.
    fn new(message: String) -> Self {
        Self { message: cut(&message, LONGEST_MESSAGE), at: Instant::now() }
    }
}

impl Remote {
    pub fn new(source: Source, config: Config) -> Self {
        Self { source: Arc::new(source), config, attempt: Mutex::default() }
    }

    /// The checker, as soon as it is there.
    pub async fn checker(&self) -> Result<Arc<Checker>, PluginError> {
        let mut outcome = self.outcome();
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(checker))) => Ok(checker.clone()),
            Ok(Some(Err(Failure { message, .. }))) => {
                Err(PluginError::retryable(ErrorKind::Unavailable, format!("the schema is not there yet: {message}")))
            }
            Ok(None) | Err(_) => Err(PluginError::retryable(ErrorKind::Internal, "making the schema did not end")),
        }
    }

    /// Lets go of what is under way.
    pub fn stop(&self) {
        *self.attempt.lock() = None;
    }

    /// Of the attempt that is under way or that holds, or of a new one.
    fn outcome(&self) -> watch::Receiver<Option<Outcome>> {
        let mut last = self.attempt.lock();
        if last.as_ref().is_some_and(Attempt::is_void) {
            *last = None;
        }
        let attempt = last.get_or_insert_with(|| Attempt::begin(self.source.clone(), self.config.clone()));
        attempt.outcome.clone()
    }
}

impl Attempt {
    fn begin(source: Arc<Source>, config: Config) -> Self {
        let (sender, outcome) = watch::channel(None);
        let task = tokio::spawn(async move {
            let made = make(source, config).await.map_err(Failure::new);
            sender.send_replace(Some(made));
        });
        Self { outcome, task: task.abort_handle() }
    }

    fn is_void(&self) -> bool {
        // In this order, as between the two the task may end.
        let is_finished = self.task.is_finished();
        match &*self.outcome.borrow() {
            Some(Ok(_)) => false,
            Some(Err(failure)) => failure.at.elapsed() >= PAUSE,
            None => is_finished,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Compiles, fetches what that lacks, and so on until it lacks nothing, as what is fetched may refer to more.
async fn make(source: Arc<Source>, config: Config) -> Result<Arc<Checker>, String> {
    let tls = source.speaks_tls();
    let client = off_the_runtime(move || fetch::client(tls)).await?;
    let mut fetched = Arc::new(Fetched::new());
    let max_depth = config.max_depth;
    loop {
        let (source, known) = (source.clone(), fetched.clone());
        let compiled = off_the_runtime(move || source.compile(known, max_depth)).await;
        let lacking = match compiled.map_err(|message| with_origins(message, &fetched))? {
            Compiled::Whole(schema) => return Ok(Arc::new(Checker::new(schema, &config))),
            Compiled::Lacking(lacking) => lacking,
        };
        if fetched.len() + lacking.len() > MOST_DOCUMENTS {
            let message = format!("it takes more than {MOST_DOCUMENTS} documents of hosts");
            return Err(with_origins(message, &fetched));
        }
        let fetched = Arc::make_mut(&mut fetched);
        for (address, url) in lacking {
            fetched.insert(address, document(&client, url).await?);
        }
    }
}

async fn document(client: &Client, url: Url) -> Result<Value, String> {
    let text = fetch::fetch(client, url.clone()).await?;
    off_the_runtime(move || {
        let document =
            serde_json::from_slice(&text).map_err(|error| format!("the answer of {url} is not JSON: {error}"))?;
        match file_named_in(&document) {
            Some(file) => Err(format!("{url} names `{file}`, and what comes from a host has no way to files")),
            None => Ok(document),
        }
    })
    .await
}

/// Whatever takes the processor or blocks, where it holds nobody up.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("the work did not end: {error}"))?
}

/// A message after the addresses that it may be about.
fn with_origins(message: String, fetched: &Fetched) -> String {
    if fetched.is_empty() {
        return message;
    }
    let mut addresses: Vec<_> = fetched.keys().map(String::as_str).collect();
    addresses.sort_unstable();
    let more = if addresses.len() > ORIGINS { ", …" } else { "" };
    addresses.truncate(ORIGINS);
    format!("with what {}{more} answered, {message}", addresses.join(", "))
}
