//! How long a check may go on, and whether anybody still waits for it. The validator asks for neither, but it knows a document only
//! through our views, and these count a step here for each look.
//!
//! A check that has to halt is unwound from such a step: whatever the validator would make of a document that is no longer shown to it
//! is no verdict, and with some schemas it would not come to an end even so. The steps belong to the thread, as a check runs on one from
//! its beginning to its end, and the names that `propertyNames` looks at come without anything of their check.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many steps a check may take where others wait for the thread: some milliseconds.
const ON_THE_SPOT: i64 = 100_000;
/// So many steps elsewhere between two looks at whether anybody waits. One can take milliseconds, if its pattern has to go back.
const STRIDE: i64 = 64;
/// So many bytes of a text, or values of a list, that are looked at one after the other are a step.
const PIECES: usize = 4;

thread_local! {
    /// Steps until [`look_up`].
    static LEFT: Cell<i64> = const { Cell::new(STRIDE) };
    static BOUND: RefCell<Option<Bound>> = const { RefCell::new(None) };
}

enum Bound {
    Steps,
    Waiting(Waiting),
}

/// Whether the caller of a check still waits for it.
#[derive(Debug, Clone)]
pub struct Waiting(Arc<AtomicBool>);

/// Held by the caller, who waits as long as this lives.
#[derive(Debug)]
pub struct Caller(Waiting);

impl Caller {
    pub fn new() -> Self {
        Self(Waiting(Arc::new(AtomicBool::new(true))))
    }

    pub fn waiting(&self) -> Waiting {
        self.0.clone()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// The check was halted, and says nothing of the document.
#[derive(Debug, PartialEq, Eq)]
pub struct Halted;

/// Does work for which others wait, up to a number of steps.
pub fn on_the_spot<T>(work: impl FnOnce() -> T) -> Result<T, Halted> {
    within(ON_THE_SPOT, Bound::Steps, work)
}

/// Does work that holds nobody up, as long as its caller waits.
pub fn while_waited_for<T>(waiting: Waiting, work: impl FnOnce() -> T) -> Result<T, Halted> {
    if !waiting.0.load(Ordering::Relaxed) {
        return Err(Halted);
    }
    within(STRIDE, Bound::Waiting(waiting), work)
}

fn within<T>(steps: i64, bound: Bound, work: impl FnOnce() -> T) -> Result<T, Halted> {
    LEFT.set(steps);
    BOUND.set(Some(bound));
    // Nothing that the work has touched is used after it was halted, but for what it keeps in order itself: see `Report` and `Block`.
    let ended = catch_unwind(AssertUnwindSafe(work));
    BOUND.set(None);
    match ended {
        Ok(result) => Ok(result),
        Err(panic) if is_halt(&*panic) => Err(Halted),
        Err(panic) => resume_unwind(panic),
    }
}

/// Whether this is how a check halts, and no mistake.
pub fn is_halt(panic: &(dyn Any + Send)) -> bool {
    panic.is::<Halted>()
}

#[inline]
pub fn step() {
    steps(1);
}

/// For a look at all of a text or a list.
#[inline]
pub fn steps_for(length: usize) {
    steps(1 + (length / PIECES) as i64);
}

#[inline]
fn steps(count: i64) {
    #[cfg(test)]
    lowest_address::note();
    let left = LEFT.get() - count;
    LEFT.set(left);
    if left < 0 {
        look_up();
    }
}

#[cold]
fn look_up() {
    let goes_on = BOUND.with_borrow(|bound| match bound {
        Some(Bound::Steps) => false,
        Some(Bound::Waiting(waiting)) => waiting.0.load(Ordering::Relaxed),
        None => true,
    });
    if !goes_on {
        // Unlike a panic it says nothing in the log.
        resume_unwind(Box::new(Halted));
    }
    LEFT.set(STRIDE);
}

/// How far down the stack steps were made on this thread.
#[cfg(test)]
pub mod lowest_address {
    use std::cell::Cell;

    thread_local! {
        static LOWEST: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    pub fn reset() {
        LOWEST.set(usize::MAX);
    }

    pub fn get() -> usize {
        LOWEST.get()
    }

    pub fn note() {
        let here = 0;
        LOWEST.set(LOWEST.get().min(std::ptr::from_ref(&here).addr()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn without_end() {
        loop {
            step();
        }
    }

    #[test]
    fn work_on_the_spot_halts_when_its_steps_are_used_up() {
        assert_eq!(on_the_spot(|| (0..ON_THE_SPOT).for_each(|_| step())), Ok(()));
        assert_eq!(on_the_spot(without_end), Err(Halted));
        assert_eq!(on_the_spot(|| (0..5).for_each(|_| steps_for(PIECES * ON_THE_SPOT as usize / 4))), Err(Halted));
    }

    #[test]
    fn work_elsewhere_halts_when_its_caller_is_gone() {
        let caller = Caller::new();
        let waiting = caller.waiting();
        assert_eq!(while_waited_for(caller.waiting(), || (0..100 * STRIDE).for_each(|_| step())), Ok(()));
        let work = std::thread::spawn(move || while_waited_for(waiting, without_end));
        std::thread::sleep(Duration::from_millis(10));
        assert!(!work.is_finished());
        let waiting = caller.waiting();
        drop(caller);
        assert_eq!(work.join().unwrap(), Err(Halted));
        assert_eq!(while_waited_for(waiting, || panic!("it was begun")), Err(Halted));
    }

    #[test]
    fn a_panic_stays_one() {
        let panicked = catch_unwind(|| on_the_spot(|| panic!("a mistake")));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a mistake"));
        (0..2 * STRIDE).for_each(|_| step());
    }
}
