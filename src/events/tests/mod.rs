//! What subscribers are promised, tried against a log in memory.

mod model;
mod polling;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::{ArcWake, waker};
use jiff::Timestamp;

use super::ring::RingLimits;
use super::testing::{MemoryLog, uploaded};
use super::*;

const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

fn start(log: &Arc<MemoryLog>) -> Arc<Events> {
    Events::start(log.clone(), KEEP)
}

fn start_small(log: &Arc<MemoryLog>, entries: usize) -> Arc<Events> {
    Events::start_with(log.clone(), KEEP, RingLimits { entries, bytes: 1 << 20 })
}

fn append(log: &MemoryLog, collection: &str, count: usize) -> Vec<Position> {
    (0..count).map(|number| log.append(uploaded(collection, "acme", &format!("{number}.json")))).collect()
}

/// The positions of the next batch of entries.
async fn heard(subscription: &mut Subscription) -> Vec<Position> {
    let batch = tokio::time::timeout(Duration::from_secs(20), subscription.next_batch()).await;
    match batch.expect("an event comes").expect("the log can be read") {
        Batch::Entries(entries) => entries.iter().map(|entry| entry.position()).collect(),
        other => panic!("{other:?}"),
    }
}

/// As many positions as asked for, over several batches.
async fn heard_all(subscription: &mut Subscription, count: usize) -> Vec<Position> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(heard(subscription).await);
    }
    all
}

async fn is_told_to_reload(events: &Events, after: Position) -> Option<Position> {
    let mut subscription = events.subscribe(Some(after), Filter::default()).await.expect("bounds can be read");
    match futures_util::poll!(std::pin::pin!(subscription.next_batch())) {
        Poll::Ready(Ok(Batch::Reload { head })) => Some(head),
        _ => None,
    }
}

#[tokio::test]
async fn hears_what_is_appended_and_what_was_missed_in_order() {
    let log = Arc::new(MemoryLog::new());
    append(&log, "files", 3);
    let events = start(&log);
    let mut new = events.subscribe(None, Filter::default()).await.expect("subscribes");
    let mut back = events.subscribe(Some(1), Filter::default()).await.expect("subscribes");
    assert_eq!(heard_all(&mut back, 2).await, [2, 3]);
    append(&log, "files", 2);
    assert_eq!(heard_all(&mut back, 2).await, [4, 5]);
    assert_eq!(heard_all(&mut new, 2).await, [4, 5]);
    assert_eq!((new.position(), back.position()), (5, 5));
}

#[tokio::test]
async fn what_is_filtered_out_moves_the_position_on() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    let filter = Filter { collections: vec!["a".into(), "b".into()], tenant: Some("acme".into()), kinds: vec![] };
    let mut subscription = events.subscribe(None, filter).await.expect("subscribes");
    append(&log, "c", 5);
    log.append(uploaded("a", "other", "x.json"));
    append(&log, "b", 1);
    append(&log, "c", 3);
    assert_eq!(heard(&mut subscription).await, [7]);
    append(&log, "a", 1);
    assert_eq!(heard(&mut subscription).await, [11]);
}

#[tokio::test]
async fn who_fell_out_of_the_ring_is_served_from_the_log_in_pages() {
    let log = Arc::new(MemoryLog::new());
    let events = start_small(&log, 10);
    let mut slow = events.subscribe(None, Filter::default()).await.expect("subscribes");
    let mut quick = events.subscribe(None, Filter::default()).await.expect("subscribes");
    let all = append(&log, "files", 2_000);
    assert_eq!(heard_all(&mut quick, 2_000).await, all);
    let first = heard(&mut slow).await;
    assert_eq!(first.len(), BATCH);
    let rest = heard_all(&mut slow, 2_000 - BATCH).await;
    assert_eq!([first, rest].concat(), all);
}

#[tokio::test]
async fn a_subscriber_that_never_reads_delays_nobody() {
    let log = Arc::new(MemoryLog::new());
    let events = start_small(&log, 10);
    let stuck = events.subscribe(None, Filter::default()).await.expect("subscribes");
    let mut quick = events.subscribe(None, Filter::default()).await.expect("subscribes");
    for _ in 0..200 {
        let position = append(&log, "files", 1);
        assert_eq!(heard(&mut quick).await, position);
    }
    assert_eq!(stuck.position(), 0);
}

#[tokio::test]
async fn a_position_in_a_gap_beyond_the_head_or_removed_means_reload() {
    let log = MemoryLog::new();
    append(&log, "files", 50);
    log.prune_to(5);
    let log = Arc::new(log.lose(10));
    let events = start_small(&log, 20);
    append(&log, "files", 2);
    let head = log.bounds_now().head;
    assert_eq!(head, 152);
    for lost in [0, 4, 41, 45, 50, 150, 153, u64::MAX] {
        assert_eq!(is_told_to_reload(&events, lost).await, Some(head), "after {lost}");
    }
    for kept in [5, 6, 40, 151, 152] {
        assert_eq!(is_told_to_reload(&events, kept).await, None, "after {kept}");
    }
    let mut subscription = events.subscribe(Some(40), Filter::default()).await.expect("subscribes");
    assert_eq!(heard_all(&mut subscription, 2).await, [151, 152]);
}

#[tokio::test]
async fn after_a_reload_the_subscription_goes_on_from_the_head() {
    let log = Arc::new(MemoryLog::new());
    append(&log, "files", 3);
    let events = start(&log);
    let mut subscription = events.subscribe(Some(99), Filter::default()).await.expect("subscribes");
    assert!(matches!(subscription.next_batch().await, Ok(Batch::Reload { head: 3 })));
    append(&log, "files", 1);
    assert_eq!(heard(&mut subscription).await, [4]);
}

#[tokio::test]
async fn who_falls_behind_retention_is_told_to_reload_once() {
    let log = Arc::new(MemoryLog::new());
    let events = start_small(&log, 10);
    let mut slow = events.subscribe(None, Filter::default()).await.expect("subscribes");
    let mut quick = events.subscribe(None, Filter::default()).await.expect("subscribes");
    append(&log, "files", 100);
    heard_all(&mut quick, 100).await;
    log.prune_to(40);
    assert!(matches!(slow.next_batch().await, Ok(Batch::Reload { head: 100 })));
    append(&log, "files", 1);
    assert_eq!(heard(&mut slow).await, [101]);
}

#[tokio::test]
async fn what_retention_removed_before_the_tail_read_it_is_not_passed_over() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    let mut subscription = events.subscribe(None, Filter::default()).await.expect("subscribes");
    append(&log, "files", 10);
    log.prune_to(4);
    assert!(matches!(subscription.next_batch().await, Ok(Batch::Reload { head: 10 })));
}

#[tokio::test]
async fn a_quiet_collection_needs_no_log_however_much_happens_elsewhere() {
    let log = Arc::new(MemoryLog::new());
    let events = start_small(&log, 10);
    let mut quiet = events.subscribe(None, Filter::collection("quiet")).await.expect("subscribes");
    let mut busy = events.subscribe(None, Filter::collection("busy")).await.expect("subscribes");
    append(&log, "busy", 500);
    heard_all(&mut busy, 500).await;
    log.prune_to(450);
    append(&log, "quiet", 1);
    assert_eq!(heard(&mut quiet).await, [501]);
}

struct CountWakes(AtomicUsize);

impl ArcWake for CountWakes {
    fn wake_by_ref(woken: &Arc<Self>) {
        woken.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_event_of_another_collection_does_not_even_wake() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    let mut idle = events.subscribe(None, Filter::collection("files")).await.expect("subscribes");
    let mut other = events.subscribe(None, Filter::collection("other")).await.expect("subscribes");
    let count = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = waker(count.clone());
    let mut next = std::pin::pin!(idle.next_batch());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    append(&log, "other", 3);
    heard_all(&mut other, 3).await;
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    append(&log, "files", 1);
    append(&log, "other", 1);
    heard_all(&mut other, 1).await;
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn an_idle_subscription_is_small() {
    assert!(size_of::<Subscription>() <= 64, "{}", size_of::<Subscription>());
}

#[tokio::test]
async fn doorbells_that_nobody_hears_are_taken_down() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    for number in 0..1_000 {
        drop(events.subscribe(None, Filter::collection(format!("made up {number}"))).await);
    }
    assert!(events.tail.doorbells() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_for_a_while_costs_no_event() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    let mut subscription = events.subscribe(None, Filter::default()).await.expect("subscribes");
    log.is_broken.store(true, Ordering::SeqCst);
    let all = append(&log, "files", 3);
    let waited = tokio::time::timeout(Duration::from_secs(60), subscription.next_batch()).await;
    assert!(waited.is_err(), "{waited:?}");
    let reads = log.reads.load(Ordering::SeqCst);
    assert!((5..40).contains(&reads), "{reads} attempts in a minute");
    assert!(events.subscribe(Some(1), Filter::default()).await.is_err());
    log.is_broken.store(false, Ordering::SeqCst);
    assert_eq!(heard(&mut subscription).await, all);
}

#[tokio::test]
async fn the_end_of_the_gateway_ends_subscriptions() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    let mut first = events.subscribe(None, Filter::default()).await.expect("subscribes");
    let mut second = events.subscribe(None, Filter::collection("files")).await.expect("subscribes");
    let waiting = tokio::spawn(async move { first.next_batch().await });
    tokio::task::yield_now().await;
    events.close();
    assert!(matches!(waiting.await.expect("no panic"), Ok(Batch::Ended)));
    assert!(matches!(second.next_batch().await, Ok(Batch::Ended)));

    let events = start(&log);
    let mut third = events.subscribe(None, Filter::default()).await.expect("subscribes");
    drop(events);
    assert!(matches!(third.next_batch().await, Ok(Batch::Ended)));
}

#[tokio::test(start_paused = true)]
async fn retention_is_looked_at_when_starting_and_every_hour() {
    let log = Arc::new(MemoryLog::new());
    let aged = |hours: i64| NewEvent {
        at: Timestamp::now() - jiff::SignedDuration::from_hours(hours),
        ..uploaded("files", "acme", "old.json")
    };
    log.append(aged(3));
    log.append(aged(1));
    let events = Events::start(log.clone(), Duration::from_secs(2 * 3600));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(log.bounds_now().pruned_to, 1);
    log.append(aged(5));
    events.set_keep(Duration::from_secs(4 * 3600));
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(log.events().len(), 2);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(log.bounds_now().pruned_to, 3);
    events.set_keep(Duration::MAX);
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
}
