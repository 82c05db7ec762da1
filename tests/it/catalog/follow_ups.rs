//! Cases of the port `follow_ups::port::Catalog`, and of follow-ups as work.

use std::sync::Arc;

use futures_util::future::join_all;
use tidegate::events::EventKind;
use tidegate::files::port::{CatalogAnswer, FileRecord, Publication};
use tidegate::follow_ups::port::{
    FailedAttempt, Filter, FollowUp, FollowUpId, FollowUpState, HookCounts, HookName, Selection, SwitchedOff,
};
use tidegate::jobs::Job;

use super::{Fixture, Ports, event, intent, open, record, time, upload};

fn plugins(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn erp() -> HookName {
    HookName::new("relay", "erp")
}

/// Publishes a file that owes runs of these plugins.
async fn publish(ports: &Ports, record: &FileRecord, names: &[&str]) {
    let intent = ports.files.declare(intent(record, None)).await.unwrap();
    let event = event(EventKind::FileUploaded, record);
    let follow_ups = plugins(names);
    let publication = Publication { intent, record: record.clone(), event, upload: None, follow_ups };
    assert_eq!(ports.files.publish(publication).await.unwrap(), CatalogAnswer::Done);
}

async fn all(ports: &Ports) -> Vec<FollowUp> {
    ports.follow_ups.follow_ups(&Filter::default(), None, 1000).await.unwrap()
}

async fn claim(ports: &Ports, hook: &str, now: i64) -> Vec<Job> {
    ports.follow_up_queue.claim(&[(hook, 100)], time(now)).await.unwrap()
}

/// The states of all, in order.
async fn states(ports: &Ports) -> Vec<FollowUpState> {
    all(ports).await.into_iter().map(|row| row.state).collect()
}

pub async fn what_a_publication_owes_is_written_with_it(fixture: &impl Fixture) {
    let ports = fixture.open();
    let record = record("Société", "a.json", "v1");
    publish(&ports, &record, &["erp", "archive"]).await;
    publish(&ports, &FileRecord { version: "v2".to_owned(), ..record.clone() }, &[]).await;
    let rows = all(&ports).await;
    let hooks: Vec<String> = rows.iter().map(|row| row.hook.to_string()).collect();
    assert_eq!(hooks, ["relay/erp", "relay/archive"]);
    let expected = FollowUp {
        id: rows[0].id,
        hook: erp(),
        state: FollowUpState::Owed,
        event_id: "v1".to_owned(),
        tenant: "Société".to_owned(),
        file_name: "a.json".to_owned(),
        storage: "disk".to_owned(),
        path: "Société/a.json".to_owned(),
        version: "v1".to_owned(),
        size: 42,
        sha256: Some([7; 32]),
        published: time(2),
        attempts: 0,
        due: time(2),
        reason: None,
        ended: None,
    };
    assert_eq!(rows[0], expected);
    assert_eq!(ports.follow_ups.follow_up(rows[0].id).await.unwrap(), Some(expected));
    assert_eq!(ports.follow_ups.follow_up(FollowUpId(999)).await.unwrap(), None);
}

pub async fn a_publication_that_is_refused_owes_nothing(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    let record = record("t", "f", "v1");
    let intent = ports.files.declare(intent(&record, Some(id))).await.unwrap();
    let event = event(EventKind::FileUploaded, &record);
    let publication = Publication { intent, record, event, upload: Some(id), follow_ups: plugins(&["erp"]) };
    assert_eq!(ports.files.publish(publication).await.unwrap(), CatalogAnswer::Refused, "it is not received yet");
    assert_eq!(all(&ports).await, []);
}

pub async fn a_file_that_was_found_owes_too(fixture: &impl Fixture) {
    let ports = fixture.open();
    let (found, other) = (record("t", "f", "v1"), record("t", "f", "v2"));
    let told = event(EventKind::FileUploaded, &found);
    let adopted = ports.files.adopt(found, None, told.clone(), plugins(&["erp"])).await.unwrap();
    assert_eq!(adopted, CatalogAnswer::Done);
    let refused = ports.files.adopt(other, None, told, plugins(&["erp"])).await.unwrap();
    assert_eq!(refused, CatalogAnswer::Refused);
    assert_eq!(all(&ports).await.iter().map(|row| &*row.event_id).collect::<Vec<_>>(), ["v1"]);
}

pub async fn follow_ups_are_claimed_by_hook_tried_again_and_done(fixture: &impl Fixture) {
    let ports = fixture.open();
    publish(&ports, &record("t", "a", "v1"), &["erp", "archive"]).await;
    let woken = ports.follow_up_queue.woken();
    woken.notified().await;
    assert_eq!(claim(&ports, "relay/erp", 1).await, [], "it is due when it was published");
    assert_eq!(ports.follow_up_queue.next_due(&["relay/erp", "relay/none"]).await.unwrap(), Some(time(2)));
    let claimed = claim(&ports, "relay/erp", 2).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].kind.as_str(), claimed[0].subject, claimed[0].attempt), ("relay/erp", claimed[0].id, 1));
    assert_eq!(claim(&ports, "relay/erp", 100).await, [], "what runs is not claimed again");
    assert_eq!(states(&ports).await, [FollowUpState::Running, FollowUpState::Owed]);

    ports.follow_up_queue.put_off(claimed[0].id, time(50), "it is down").await.unwrap();
    let row = ports.follow_ups.follow_up(FollowUpId(claimed[0].id)).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts, row.due), (FollowUpState::Owed, 1, time(50)));
    assert_eq!(row.reason.as_deref(), Some("it is down"));
    assert_eq!(claim(&ports, "relay/erp", 49).await, []);
    assert_eq!(claim(&ports, "relay/erp", 50).await[0].attempt, 2);
    ports.follow_up_queue.finish(claimed[0].id).await.unwrap();
    let row = ports.follow_ups.follow_up(FollowUpId(claimed[0].id)).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts, row.reason), (FollowUpState::Done, 2, None));
    assert!(row.ended.is_some());
    let failed = ports.follow_ups.failed_attempts(row.id, 10).await.unwrap();
    assert_eq!(failed.iter().map(|it| (it.attempt, &*it.reason)).collect::<Vec<_>>(), [(1, "it is down")]);
    assert_eq!(claim(&ports, "relay/archive", 2).await.len(), 1, "the other hook waited for nobody");
}

pub async fn follow_ups_that_ran_are_owed_after_reopening(fixture: &impl Fixture) {
    {
        let ports = fixture.open();
        publish(&ports, &record("t", "a", "v1"), &["erp"]).await;
        assert_eq!(claim(&ports, "relay/erp", 2).await.len(), 1);
    }
    let ports = fixture.open();
    assert_eq!(states(&ports).await, [FollowUpState::Running]);
    ports.follow_up_queue.free_claimed().await.unwrap();
    assert_eq!(claim(&ports, "relay/erp", 2).await[0].attempt, 2, "the run that was cut off counts");
}

pub async fn a_dead_letter_stays_until_it_is_retried_or_discarded(fixture: &impl Fixture) {
    let ports = fixture.open();
    for version in ["v1", "v2", "v3"] {
        publish(&ports, &record("t", version, version), &["erp"]).await;
    }
    let claimed = claim(&ports, "relay/erp", 2).await;
    for job in &claimed {
        ports.follow_ups.bury(FollowUpId(job.id), "it is gone for good", time(9)).await.unwrap();
        ports.follow_up_queue.given_up(job.id).await.unwrap();
    }
    assert_eq!(states(&ports).await, [FollowUpState::Dead; 3]);
    let first = FollowUpId(claimed[0].id);
    let row = ports.follow_ups.follow_up(first).await.unwrap().unwrap();
    assert_eq!((row.reason.as_deref(), row.ended), (Some("it is gone for good"), Some(time(9))));
    let failed = vec![FailedAttempt { attempt: 1, at: time(9), reason: "it is gone for good".to_owned() }];
    assert_eq!(ports.follow_ups.failed_attempts(first, 10).await.unwrap(), failed);
    assert_eq!(claim(&ports, "relay/erp", 1_000).await, []);

    assert_eq!(ports.follow_ups.retry(&Selection::One(first), time(20)).await.unwrap(), 1);
    let again = claim(&ports, "relay/erp", 20).await;
    assert_eq!((again.len(), again[0].id, again[0].attempt), (1, first.0, 1), "with every attempt before it");
    assert_eq!(ports.follow_ups.retry(&Selection::One(first), time(20)).await.unwrap(), 0, "it runs");
    assert_eq!(ports.follow_ups.discard(&Selection::One(first)).await.unwrap(), 0, "it runs");
    let second = Selection::One(FollowUpId(claimed[1].id));
    assert_eq!(ports.follow_ups.discard(&second).await.unwrap(), 1);
    assert_eq!(ports.follow_ups.discard(&second).await.unwrap(), 0);
    assert_eq!(ports.follow_ups.retry(&Selection::DeadOf(erp()), time(20)).await.unwrap(), 1);
    assert_eq!(states(&ports).await, [FollowUpState::Running, FollowUpState::Owed]);
    assert_eq!(ports.follow_ups.discard(&Selection::DeadOf(erp())).await.unwrap(), 0, "none is dead any more");
    ports.follow_ups.drop_follow_up(first).await.unwrap();
    assert_eq!(states(&ports).await, [FollowUpState::Owed]);
}

pub async fn what_is_owed_to_a_hook_that_is_gone_becomes_a_dead_letter(fixture: &impl Fixture) {
    let ports = fixture.open();
    publish(&ports, &record("t", "a", "v1"), &["erp", "archive", "old"]).await;
    let configured = [erp(), HookName::new("relay", "archive")];
    let last = ports.follow_ups.last_follow_up().await.unwrap();
    assert_eq!(last, all(&ports).await[2].id);
    let before = FollowUpId(last.0 - 1);
    assert_eq!(ports.follow_ups.bury_others(&configured, before, "gone", time(9)).await.unwrap(), 0, "it came later");
    assert_eq!(ports.follow_ups.bury_others(&configured, last, "gone", time(9)).await.unwrap(), 1);
    assert_eq!(states(&ports).await, [FollowUpState::Owed, FollowUpState::Owed, FollowUpState::Dead]);
    assert_eq!(ports.follow_ups.bury_others(&configured, last, "gone", time(9)).await.unwrap(), 0);
    assert_eq!(ports.follow_ups.bury_others(&[], last, "gone", time(9)).await.unwrap(), 2);
}

pub async fn a_hook_is_off_until_it_is_retried(fixture: &impl Fixture) {
    let ports = fixture.open();
    publish(&ports, &record("t", "a", "v1"), &["erp"]).await;
    assert_eq!(ports.follow_ups.switched_off(&erp()).await.unwrap(), None);
    ports.follow_ups.switch_off(&erp(), "410 Gone", time(5)).await.unwrap();
    ports.follow_ups.switch_off(&erp(), "410 Gone again", time(6)).await.unwrap();
    let off = SwitchedOff { hook: erp(), reason: "410 Gone".to_owned(), since: time(5) };
    assert_eq!(ports.follow_ups.switched_off(&erp()).await.unwrap(), Some(off.clone()));
    assert_eq!(ports.follow_ups.all_switched_off().await.unwrap(), [off]);
    let running = FollowUpId(claim(&ports, "relay/erp", 2).await[0].id);
    assert_eq!(ports.follow_ups.retry(&Selection::One(running), time(7)).await.unwrap(), 0);
    assert_eq!(ports.follow_ups.all_switched_off().await.unwrap().len(), 1, "nothing was retried");
    ports.follow_ups.bury(running, "410 Gone", time(7)).await.unwrap();
    assert_eq!(ports.follow_ups.retry(&Selection::One(running), time(7)).await.unwrap(), 1);
    assert_eq!(ports.follow_ups.all_switched_off().await.unwrap(), []);
    ports.follow_ups.switch_off(&erp(), "410 Gone", time(8)).await.unwrap();
    ports.follow_ups.switch_on(&erp()).await.unwrap();
    assert_eq!(ports.follow_ups.switched_off(&erp()).await.unwrap(), None);
    // Also where it has no dead letter.
    ports.follow_ups.switch_off(&erp(), "410 Gone", time(8)).await.unwrap();
    assert_eq!(ports.follow_ups.retry(&Selection::DeadOf(erp()), time(9)).await.unwrap(), 0);
    assert_eq!(ports.follow_ups.switched_off(&erp()).await.unwrap(), None);
}

pub async fn follow_ups_are_listed_and_counted(fixture: &impl Fixture) {
    let ports = fixture.open();
    for number in 0..5 {
        publish(&ports, &record("t", "a", &format!("v{number}")), &["erp", "archive"]).await;
    }
    let dead = claim(&ports, "relay/erp", 2).await.remove(0);
    ports.follow_ups.bury(FollowUpId(dead.id), "no", time(9)).await.unwrap();
    let list = async |filter: Filter, after: Option<FollowUpId>, limit| {
        let rows = ports.follow_ups.follow_ups(&filter, after, limit).await.unwrap();
        rows.into_iter().map(|row| row.id.0).collect::<Vec<_>>()
    };
    let by_hook = Filter { hook: Some(erp()), state: None };
    let first = list(by_hook.clone(), None, 3).await;
    let rest = list(by_hook, Some(FollowUpId(*first.last().unwrap())), 3).await;
    assert_eq!((first.len(), rest.len()), (3, 2));
    assert_eq!(list(Filter { hook: None, state: Some(FollowUpState::Dead) }, None, 10).await, [dead.id]);
    let both = Filter { hook: Some(HookName::new("relay", "archive")), state: Some(FollowUpState::Owed) };
    assert_eq!(list(both, None, 10).await.len(), 5);
    let counts = |plugin: &str, owed, running, dead| HookCounts {
        hook: HookName::new("relay", plugin),
        owed,
        running,
        done: 0,
        dead,
    };
    let counted = ports.follow_ups.hook_counts().await.unwrap();
    assert_eq!(counted, [counts("archive", 5, 0, 0), counts("erp", 0, 4, 1)]);
}

pub async fn what_was_done_is_pruned(fixture: &impl Fixture) {
    let ports = fixture.open();
    publish(&ports, &record("t", "a", "v1"), &["erp", "archive"]).await;
    let job = claim(&ports, "relay/erp", 2).await.remove(0);
    ports.follow_up_queue.put_off(job.id, time(3), "busy").await.unwrap();
    claim(&ports, "relay/erp", 3).await;
    ports.follow_up_queue.finish(job.id).await.unwrap();
    assert_eq!(ports.follow_ups.prune_done(time(0)).await.unwrap(), 0);
    let far = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    assert_eq!(ports.follow_ups.prune_done(far).await.unwrap(), 1);
    assert_eq!(states(&ports).await, [FollowUpState::Owed], "what is owed stays");
    assert_eq!(ports.follow_ups.failed_attempts(FollowUpId(job.id), 10).await.unwrap(), []);
}

/// More than one transaction takes.
pub async fn a_thousand_dead_letters_are_retried_and_discarded(fixture: &impl Fixture) {
    let ports = fixture.open();
    let ports_now = &ports;
    let publish_one = async |number: usize| {
        publish(ports_now, &record("t", "a", &format!("v{number}")), &["erp"]).await;
    };
    join_all((0..1_001).map(publish_one)).await;
    let bury_all = async || {
        let claimed = ports.follow_up_queue.claim(&[("relay/erp", 2_000)], time(100)).await.unwrap();
        let bury = claimed.iter().map(|job| ports.follow_ups.bury(FollowUpId(job.id), "no", time(9)));
        join_all(bury).await.into_iter().for_each(|buried| buried.unwrap());
        claimed.len()
    };
    assert_eq!(bury_all().await, 1_001);
    assert_eq!(ports.follow_ups.retry(&Selection::DeadOf(erp()), time(20)).await.unwrap(), 1_001);
    assert_eq!(bury_all().await, 1_001);
    assert_eq!(ports.follow_ups.discard(&Selection::DeadOf(erp())).await.unwrap(), 1_001);
    assert_eq!(all(&ports).await, []);
}
