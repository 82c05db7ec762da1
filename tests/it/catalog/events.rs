//! Cases of the port `events::EventLog`.

use futures_util::future::join_all;
use tidegate::events::{EventKind, LogBounds, NewEvent};
use tidegate::files::port::CatalogAnswer;

use super::{Fixture, Ports, event, publish, record, time};

async fn announce(ports: &Ports, at: i64) -> u64 {
    let event = NewEvent { at: time(at), ..event(EventKind::SyncCompleted, &record("t", "", "")) };
    ports.files.announce(event).await.unwrap()
}

pub async fn positions_have_neither_hole_nor_double(fixture: &impl Fixture) {
    let ports = fixture.open();
    // What is refused lies between what is not, in the same batches.
    let writers = (0..64).map(|writer: u64| {
        let ports = ports.clone();
        tokio::spawn(async move {
            let mut previous = 0;
            for round in 0..20 {
                let record = record(&writer.to_string(), &round.to_string(), "v1");
                let not_there = "v0".to_owned();
                let told = event(EventKind::FileUploaded, &record);
                let refused = ports.files.adopt(record, Some(&not_there), told, Vec::new());
                let (refused, position) = tokio::join!(refused, announce(&ports, round));
                assert_eq!(refused.unwrap(), CatalogAnswer::Refused);
                assert!(position > previous);
                previous = position;
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let events = ports.events.read_after(0, 10_000).await.unwrap();
    let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=64 * 20).collect::<Vec<_>>());
    let page = ports.events.read_after(1000, 3).await.unwrap();
    assert_eq!(page, events[1000..1003]);
    assert_eq!(ports.events.read_after(u64::MAX, 3).await.unwrap(), []);
}

pub async fn the_head_is_set_when_the_change_is_answered(fixture: &impl Fixture) {
    {
        let ports = fixture.open();
        let mut head = ports.events.head();
        assert_eq!(*head.borrow_and_update(), 0);
        for round in 1..=5 {
            let name = round.to_string();
            publish(&ports, &record("t", &name, "v"), None).await;
            assert!(head.has_changed().unwrap());
            assert_eq!(*head.borrow_and_update(), round);
        }
        ports.files.forget_unserved("disk", "nothing").await.unwrap();
        assert!(!head.has_changed().unwrap());
    }
    let ports = fixture.open();
    assert_eq!(*ports.events.head().borrow(), 5);
    let bounds = LogBounds { pruned_to: 0, head: 5, gaps: vec![] };
    assert_eq!(ports.events.bounds().await.unwrap(), bounds, "the same boot leaves no gap");
}

pub async fn what_is_refused_writes_no_event(fixture: &impl Fixture) {
    let ports = fixture.open();
    let record = record("t", "f", "v");
    let deleted = event(EventKind::FileDeleted, &record);
    assert_eq!(ports.files.unpublish(None, &record, deleted).await.unwrap(), CatalogAnswer::Refused);
    assert_eq!(ports.events.bounds().await.unwrap(), LogBounds::default());
    assert_eq!(*ports.events.head().borrow(), 0);
}

pub async fn pruning_moves_the_bounds(fixture: &impl Fixture) {
    {
        let ports = fixture.open();
        assert_eq!(ports.events.prune(time(0)).await.unwrap(), 0);
        // The clock was set back once: what is younger stands between older.
        for at in [1, 2, 9, 3, 4] {
            announce(&ports, at).await;
        }
        assert_eq!(ports.events.prune(time(2)).await.unwrap(), 1);
        assert_eq!(ports.events.prune(time(5)).await.unwrap(), 1, "no hole is left");
        let bounds = ports.events.bounds().await.unwrap();
        assert_eq!(bounds, LogBounds { pruned_to: 2, head: 5, gaps: vec![] });
        let left = ports.events.read_after(0, 10).await.unwrap();
        assert_eq!(left.iter().map(|event| event.position).collect::<Vec<_>>(), [3, 4, 5]);

        join_all((0..2500).map(|_| announce(&ports, 4))).await;
        assert_eq!(ports.events.prune(time(10)).await.unwrap(), 2503);
    }
    let ports = fixture.open();
    let bounds = ports.events.bounds().await.unwrap();
    assert_eq!(bounds, LogBounds { pruned_to: 2505, head: 2505, gaps: vec![] });
    assert_eq!(announce(&ports, 4).await, 2506, "no position is given twice");
}
