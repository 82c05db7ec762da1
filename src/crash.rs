//! Named points at which the tests kill the gateway (a leaf). In a binary without the feature `crash-points` they are nothing.
//!
//! `TIDEGATE_CRASH_AT=publish.placed:3` kills the process (`SIGKILL`) when that point is reached for the third time.

/// Every boundary of admitting, receiving, sealing, assembling, publishing and following up, in the order of an upload's way.
pub const POINTS: &[&str] = &[
    "admit.done",
    "receive.opened",
    "receive.part-written",
    "receive.receipt-kept",
    "append.written",
    "append.committed",
    "clear.committed",
    "stray.copied",
    "stray.receipt-kept",
    "seal.writes-ended",
    "seal.committed",
    "assemble.begun",
    "assemble.copied",
    "assemble.done",
    "validate.begun",
    "validate.done",
    "publish.prepared",
    "publish.declared",
    "publish.placed",
    "publish.committed",
    "publish.settled",
    "delete.declared",
    "delete.removed",
    "delete.committed",
    "follow-up.begun",
    "follow-up.ended",
    "follow-up.settled",
];

/// Reached the point `name`, which stands in [`POINTS`].
#[inline(always)]
pub fn point(name: &'static str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in POINTS");
    fail::fail_point!(name);
}

/// Arms what `TIDEGATE_CRASH_AT` names. Called once at start.
#[cfg(feature = "crash-points")]
pub fn arm() -> Result<(), String> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let Ok(wanted) = std::env::var("TIDEGATE_CRASH_AT") else { return Ok(()) };
    let (name, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    let count: usize = count.parse().map_err(|_| format!("TIDEGATE_CRASH_AT: `{count}` is no number"))?;
    if !POINTS.contains(&name) {
        return Err(format!("TIDEGATE_CRASH_AT: there is no crash point `{name}`"));
    }
    let left = AtomicUsize::new(count);
    fail::cfg_callback(name, move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    })
}
