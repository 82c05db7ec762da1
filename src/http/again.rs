//! A connection's task that goes on by itself. hyper's connection and the handler of its request are one task and wake each other with every
//! piece of a body; tokio takes a task that was woken while it ran for one that yields, queues it, and wakes an idle thread to
//! steal it. Here it is simply polled again, on the core that has its bytes in the cache.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// So often in a row; then the task lets others run.
const TURNS: usize = 16;

const WAITING: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

pub struct Again<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// What the future wakes.
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self.state.compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if noted == Err(WAITING) {
            self.task.wake();
        }
    }
}

impl<F: Future> Again<F> {
    pub fn new(future: F) -> Self {
        let bell = Arc::new(Bell { state: AtomicU8::new(WAITING), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&bell));
        Self { future: Box::pin(future), bell, waker }
    }
}

impl<F: Future> Future for Again<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.bell.task.register(context.waker());
        for _ in 0..TURNS {
            this.bell.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = this.future.as_mut().poll(&mut Context::from_waker(&this.waker)) {
                return Poll::Ready(output);
            }
            let waits = this.bell.state.compare_exchange(POLLED, WAITING, Ordering::AcqRel, Ordering::Acquire);
            if waits.is_ok() {
                return Poll::Pending;
            }
        }
        this.bell.state.store(WAITING, Ordering::Release);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    #[test]
    fn who_wakes_himself_goes_on_at_once_until_others_have_their_turn() {
        let mut left = 3 * TURNS;
        let mut polls = 0;
        let mut task = Again::new(poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        let waker = noop_waker();
        while Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending() {
            polls += 1;
        }
        assert_eq!(polls, 3, "one turn of the scheduler for so many of its own");
    }

    /// However a wake falls, between two polls, in one or behind it, it is not lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_wake_from_another_thread_is_never_lost() {
        const WAKES: usize = 20_000;
        let (given, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (bell, rung) = (Arc::new(AtomicWaker::new()), Arc::clone(&given));
        let waits = {
            let (bell, taken) = (Arc::clone(&bell), Arc::clone(&taken));
            poll_fn(move |context| {
                bell.register(context.waker());
                taken.store(rung.load(Ordering::SeqCst), Ordering::SeqCst);
                if taken.load(Ordering::SeqCst) == WAKES { Poll::Ready(()) } else { Poll::Pending }
            })
        };
        let task = tokio::spawn(Again::new(waits));
        let ring = std::thread::spawn(move || {
            for number in 1..=WAKES {
                given.store(number, Ordering::SeqCst);
                bell.wake();
                // The next one waits for this one to be heard.
                while taken.load(Ordering::SeqCst) < number {
                    std::thread::yield_now();
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(60), task).await.expect("a wake was lost").unwrap();
        ring.join().unwrap();
    }
}
