//! Cases of the port `jobs::Queue`.

use tidegate::jobs::Job;
use tidegate::upload::port::ASSEMBLE;

use super::{Fixture, Ports, open, time, upload};

/// Owes an assembly that is due at `due`; gives the upload's id.
async fn owe(ports: &Ports, session: &str, due: i64) -> i64 {
    let id = open(ports, upload(session)).await.id;
    ports.uploads.seal(id, time(due)).await.unwrap();
    id.0
}

async fn claim(ports: &Ports, now: i64, limit: usize) -> Vec<Job> {
    ports.jobs.claim(&[(ASSEMBLE, limit)], time(now)).await.unwrap()
}

fn subjects(jobs: &[Job]) -> Vec<i64> {
    jobs.iter().map(|job| job.subject).collect()
}

pub async fn a_claim_counts_the_attempt(fixture: &impl Fixture) {
    let ports = fixture.open();
    let (late, early) = (owe(&ports, "late", 20).await, owe(&ports, "early", 10).await);
    assert_eq!(claim(&ports, 9, 10).await, []);
    let claimed = claim(&ports, 30, 1).await;
    assert_eq!(subjects(&claimed), [early], "who has been due longest comes first");
    assert_eq!((claimed[0].attempt, claimed[0].kind.as_str()), (1, ASSEMBLE));
    assert_eq!(subjects(&claim(&ports, 30, 10).await), [late], "what is claimed is not claimed again");
    assert_eq!(claim(&ports, 30, 10).await, []);

    ports.jobs.put_off(claimed[0].id, time(40), "busy").await.unwrap();
    assert_eq!(claim(&ports, 40, 10).await, [Job { attempt: 2, ..claimed[0].clone() }]);
    ports.jobs.finish(claimed[0].id).await.unwrap();
    ports.jobs.free_claimed().await.unwrap();
    assert_eq!(subjects(&claim(&ports, 100, 10).await), [late]);
}

pub async fn what_is_put_off_waits(fixture: &impl Fixture) {
    let ports = fixture.open();
    assert_eq!(ports.jobs.next_due(&[ASSEMBLE]).await.unwrap(), None);
    owe(&ports, "a", 10).await;
    owe(&ports, "b", 15).await;
    assert_eq!(ports.jobs.next_due(&["other", ASSEMBLE]).await.unwrap(), Some(time(10)));
    assert_eq!(ports.jobs.next_due(&["other"]).await.unwrap(), None);
    let claimed = claim(&ports, 12, 10).await;
    assert_eq!(ports.jobs.next_due(&[ASSEMBLE]).await.unwrap(), Some(time(15)));
    ports.jobs.put_off(claimed[0].id, time(14), "busy").await.unwrap();
    assert_eq!(ports.jobs.next_due(&[ASSEMBLE]).await.unwrap(), Some(time(14)));
    assert_eq!(claim(&ports, 13, 10).await, []);
}

pub async fn kinds_are_claimed_apart(fixture: &impl Fixture) {
    let ports = fixture.open();
    owe(&ports, "a", 10).await;
    assert_eq!(ports.jobs.claim(&[("other", 10)], time(100)).await.unwrap(), []);
    assert_eq!(claim(&ports, 100, 10).await.len(), 1);
}

pub async fn claimed_work_is_free_after_reopening(fixture: &impl Fixture) {
    let subject = {
        let ports = fixture.open();
        let subject = owe(&ports, "a", 10).await;
        assert_eq!(claim(&ports, 10, 10).await.len(), 1);
        subject
    };
    let ports = fixture.open();
    ports.jobs.free_claimed().await.unwrap();
    let claimed = claim(&ports, 10, 10).await;
    assert_eq!(subjects(&claimed), [subject]);
    assert_eq!(claimed[0].attempt, 2, "the run that was cut off counts");
}

pub async fn a_seal_wakes_the_runner(fixture: &impl Fixture) {
    let ports = fixture.open();
    let woken = ports.jobs.woken();
    let waiting = tokio::spawn(async move { woken.notified().await });
    owe(&ports, "a", 10).await;
    waiting.await.unwrap();
    // Also one that comes to wait only afterwards.
    let job = claim(&ports, 10, 1).await.remove(0);
    ports.jobs.put_off(job.id, time(11), "busy").await.unwrap();
    ports.jobs.woken().notified().await;
}
