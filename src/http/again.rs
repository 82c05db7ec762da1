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
