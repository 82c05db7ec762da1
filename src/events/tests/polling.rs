//! Pages of the log for those who ask again and again.

use super::*;

async fn page(events: &Events, after: Position, limit: usize, wait_ms: u64) -> (Vec<Position>, Position, bool) {
    let filter = Filter::collection("files");
    let page = events.page(after, filter, limit, Duration::from_millis(wait_ms)).await.expect("the log can be read");
    (page.entries.iter().map(|entry| entry.position()).collect(), page.next, page.reload)
}

#[tokio::test]
async fn pages_follow_each_other_to_the_head() {
    let log = Arc::new(MemoryLog::new());
    append(&log, "files", 5);
    append(&log, "other", 900);
    append(&log, "files", 2);
    append(&log, "other", 5);
    for ring in [10, 10_000] {
        let events = start_small(&log, ring);
        assert_eq!(page(&events, 0, 3, 0).await, (vec![1, 2, 3], 3, false));
        let (rest, mut next, _) = page(&events, 3, 100, 0).await;
        assert_eq!(rest[..2], [4, 5]);
        let mut heard = rest;
        while next < 912 {
            let (more, after, reload) = page(&events, next, 100, 0).await;
            assert!(after > next && !reload);
            (next, heard) = (after, [heard, more].concat());
        }
        assert_eq!(heard, [4, 5, 906, 907]);
        assert_eq!(page(&events, 912, 100, 0).await, (vec![], 912, false));
        assert_eq!(page(&events, 913, 100, 0).await, (vec![], 912, true));
    }
}

#[tokio::test]
async fn finds_what_was_committed_a_moment_ago() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    for position in 1..50 {
        append(&log, "files", 1);
        assert_eq!(page(&events, position - 1, 10, 0).await, (vec![position], position, false));
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_first_event_but_not_for_ever() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    append(&log, "other", 1);
    let began = tokio::time::Instant::now();
    assert_eq!(page(&events, 0, 10, 5_000).await, (vec![], 1, false));
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    let waiting = tokio::spawn({
        let events = events.clone();
        async move { page(&events, 1, 10, 5_000).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    append(&log, "files", 1);
    assert_eq!(waiting.await.expect("no panic"), (vec![2], 2, false));
    assert_eq!(began.elapsed(), Duration::from_secs(6));
}

/// The tail reads together what comes quickly; who has all of it already waits for the next, and is not sent away empty.
#[tokio::test(start_paused = true)]
async fn waits_also_while_the_tail_gathers() {
    let log = Arc::new(MemoryLog::new());
    let events = start(&log);
    for first in [1, 3, 5] {
        append(&log, "files", 1);
        assert_eq!(page(&events, first - 1, 10, 5_000).await, (vec![first], first, false));
        let turns = async || {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        };
        turns().await;
        append(&log, "files", 1);
        turns().await;
        let second = first + 1;
        assert_eq!(page(&events, first, 10, 0).await, (vec![second], second, false));
        let began = tokio::time::Instant::now();
        assert_eq!(page(&events, second, 10, 5_000).await, (vec![], second, false));
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }
}
