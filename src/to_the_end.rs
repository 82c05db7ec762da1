//! Work that must not stop half-way: it runs in its caller's task, and when the caller goes away it goes on in one of its own. (A task of
//! its own from the start would cost two turns of the scheduler for what hardly ever happens.)

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use tokio::runtime::Handle;

use crate::fault::Fault;

/// Runs `work` to its end, whatever happens to who waits for it. That it panicked is a fault of `operation`.
pub async fn to_the_end<F, T, E>(operation: &'static str, work: F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<Fault> + Send + 'static,
{
    let work = ToTheEnd { work: Some(Box::pin(AssertUnwindSafe(work).catch_unwind())) };
    work.await.map_err(|panic| Fault::broken(operation, words_of(&*panic)))?
}

struct ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// `None` once it has ended.
    work: Option<Pin<Box<CatchUnwind<AssertUnwindSafe<F>>>>>,
}

impl<F> Future for ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let output = std::task::ready!(work.poll_unpin(context));
        self.work = None;
        Poll::Ready(output)
    }
}

impl<F> Drop for ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// What a panic said.
pub fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn work_whose_caller_goes_away_ends() {
        let (go_on, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = {
            let (go_on, ended) = (go_on.clone(), ended.clone());
            async move {
                go_on.notified().await;
                ended.notify_one();
                Ok::<_, Fault>(())
            }
        };
        let mut caller = Box::pin(to_the_end("work", work));
        assert!(caller.as_mut().now_or_never().is_none(), "it has begun");
        drop(caller);
        go_on.notify_one();
        ended.notified().await;
    }

    #[tokio::test]
    async fn a_panic_is_a_fault() {
        async fn work() -> Result<(), Fault> {
            panic!("of course")
        }
        let fault = to_the_end("work", work()).await.unwrap_err();
        assert!(format!("{fault:?}").contains("of course"), "{fault:?}");
        assert_eq!(to_the_end("work", async { Ok::<_, Fault>(7) }).await.unwrap(), 7);
    }
}
