//! One call of a plugin, bounded in time, whatever the stage, so that no plugin can hurt the gateway: a deadline that holds also while the plugin
//! keeps its thread, panics that are caught, retries where they can help. (What is small is begun on the spot: there a plugin that never
//! awaits has its thread until it returns.)

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use tidegate_plugin_sdk::PluginError;
use tokio::task::JoinHandle;

use crate::collection::HookUse;
use crate::to_the_end::words_of;

/// Why a call of a plugin gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Plugin(PluginError),
    #[error("it panicked: {0}")]
    Panic(String),
    #[error("it took longer than {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    #[error(
        "as many calls of it as may be under way ({at_once}) were all the time for {}",
        humantime::format_duration(*.patience)
    )]
    Busy { at_once: usize, patience: Duration },
    #[error("there is no plugin of that name for this stage")]
    Missing,
    #[error("the gateway is stopping")]
    Stopping,
}

impl Failure {
    /// Whether the same call can succeed later without anybody mending the set-up.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Failure::Plugin(error) => error.retryable,
            Failure::Panic(_) | Failure::Timeout(_) | Failure::Busy { .. } | Failure::Stopping => true,
            Failure::Missing => false,
        }
    }
}

/// When a call is tried on the spot before it gets a task of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// A task and a timer would cost more than the call, which does not keep a worker for long.
    Small,
    Large,
}

/// Runs a call within `limit`.
pub(super) async fn bounded<T: Send + 'static>(
    limit: Duration,
    effort: Effort,
    call: impl Future<Output = Result<T, PluginError>> + Send + 'static,
) -> Result<T, Failure> {
    let mut call: Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>> = Box::pin(async move {
        match AssertUnwindSafe(call).catch_unwind().await {
            Ok(answer) => answer.map_err(Failure::Plugin),
            Err(panic) => Err(Failure::Panic(words_of(&*panic))),
        }
    });
    if effort == Effort::Small
        && let Some(answer) = call.as_mut().now_or_never()
    {
        return answer;
    }
    // In a task of its own the deadline holds even while the plugin keeps its worker busy.
    let mut task = AbortOnDrop(tokio::spawn(call));
    match tokio::time::timeout(limit, &mut task.0).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.is_panic() => Err(Failure::Panic(words_of(&*error.into_panic()))),
        Ok(Err(_)) => Err(Failure::Stopping),
        Err(_) => Err(Failure::Timeout(limit)),
    }
}

/// Calls again after each of the use's waits, as long as that can help. For the stages where somebody waits for the answer.
pub(super) async fn with_retries<T, F, Call: Future<Output = Result<T, Failure>>>(
    hook: &HookUse<F>,
    mut call: impl FnMut() -> Call,
) -> Result<T, Failure> {
    for wait in hook.retry.iter() {
        match call().await {
            Err(failure) if failure.is_retryable() => {
                tracing::debug!(hook = %hook.plugin, %failure, ?wait, "a hook failed, and is tried again");
                tokio::time::sleep(*wait).await;
            }
            answer => return answer,
        }
    }
    call().await
}

/// Whoever waits and goes away, and a deadline, end the call too.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
