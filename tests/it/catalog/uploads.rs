//! Cases of the port `upload::port::Catalog`.

use futures_util::future::join_all;
use tidegate::files::port::{CatalogAnswer, UploadId};
use tidegate::upload::port::{
    ASSEMBLE, Announced, ChangeAnswer, End, Named, OpenAnswer, Place, Receipt, UploadRow, UploadState,
};

use super::{Fixture, Ports, intent, open, publish, receipt, record, time, upload};

fn end(state: UploadState) -> End {
    End::new(state, "because")
}

fn with_path(session: &str, path: &str) -> UploadRow {
    UploadRow { path: Some(path.to_owned()), ..upload(session) }
}

async fn owed(ports: &Ports) -> usize {
    ports.jobs.claim(&[(ASSEMBLE, 100)], time(1_000_000)).await.unwrap().len()
}

pub async fn an_upload_is_made_once(fixture: &impl Fixture) {
    let ports = fixture.open();
    let rows = join_all((0..8).map(|_| open(&ports, upload("same")))).await;
    assert!(rows.iter().all(|row| row == &rows[0]), "{rows:?}");
    let mut other = upload("same");
    other.key.principal = "somebody".to_owned();
    assert_ne!(open(&ports, other).await.id, rows[0].id);
}

pub async fn an_upload_comes_back_as_it_was_written(fixture: &impl Fixture) {
    let announced = Announced {
        file_name: Some("été.json".to_owned()),
        size: Some(u64::MAX),
        total_parts: Some(u32::MAX),
        user: Some("7".to_owned()),
    };
    let wanted = UploadRow { announced, ..with_path("s", "large/été_s.json") };
    let made = open(&fixture.open(), wanted.clone()).await;
    assert_eq!(made, UploadRow { id: made.id, ..wanted });
    let ports = fixture.open();
    assert_eq!(ports.uploads.upload(&made.key).await.unwrap().as_ref(), Some(&made));
    assert_eq!(ports.uploads.upload_by_id(made.id).await.unwrap().as_ref(), Some(&made));
    assert_eq!(ports.uploads.upload_by_id(UploadId(made.id.0 + 1)).await.unwrap(), None);
}

pub async fn a_receipt_counts_only_while_the_upload_is_receiving(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    assert_eq!(ports.uploads.keep_receipt(id, receipt(1), time(9)).await.unwrap(), ChangeAnswer::Done);
    let row = ports.uploads.upload_by_id(id).await.unwrap().unwrap();
    assert_eq!((row.parts, row.touched), (1, time(9)));

    assert_eq!(ports.uploads.seal(id, time(10)).await.unwrap(), ChangeAnswer::Done);
    assert_eq!(ports.uploads.keep_receipt(id, receipt(2), time(11)).await.unwrap(), ChangeAnswer::WrongState);
    assert_eq!(ports.uploads.receipts(id).await.unwrap(), [receipt(1)]);

    ports.uploads.forget_upload(id).await.unwrap();
    assert_eq!(ports.uploads.keep_receipt(id, receipt(2), time(12)).await.unwrap(), ChangeAnswer::WrongState);
    assert_eq!(ports.uploads.receipts(id).await.unwrap(), []);
    // Nor does it count for the next upload of that name.
    let next = open(&ports, upload("s")).await;
    assert_ne!(next.id, id);
    assert_eq!(ports.uploads.keep_receipt(id, receipt(2), time(12)).await.unwrap(), ChangeAnswer::WrongState);
    assert_eq!(ports.uploads.receipts(next.id).await.unwrap(), []);
}

pub async fn a_number_sent_again_replaces_its_receipt(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    let again = Receipt { number: 3, place: Place::Overflow { number: u32::MAX }, length: 0, crc: 0 };
    for receipt in [receipt(3), receipt(1), again.clone()] {
        ports.uploads.keep_receipt(id, receipt, time(1)).await.unwrap();
    }
    assert_eq!(ports.uploads.receipt(id, again.number).await.unwrap(), Some(again.clone()));
    assert_eq!(ports.uploads.receipt(id, 99).await.unwrap(), None);
    assert_eq!(ports.uploads.receipts(id).await.unwrap(), [receipt(1), again]);
    assert_eq!(ports.uploads.upload_by_id(id).await.unwrap().unwrap().parts, 2);
}

pub async fn voided_receipts_are_gone(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    for number in 0..4 {
        ports.uploads.keep_receipt(id, receipt(number), time(1)).await.unwrap();
    }
    ports.uploads.void_receipts(id, vec![1, 3, 99], "boot-2").await.unwrap();
    assert_eq!(ports.uploads.receipts(id).await.unwrap(), [receipt(0), receipt(2)]);
    let row = ports.uploads.upload_by_id(id).await.unwrap().unwrap();
    assert_eq!((row.parts, row.boot_id.as_str()), (2, "boot-2"));
}

pub async fn many_receipts_come_back_in_order(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    const COUNT: u32 = 20_001;
    // Seven apart, so that they come in no order; all at once, so that they share commits.
    join_all((0..COUNT).map(|step| ports.uploads.keep_receipt(id, receipt(step * 7 % COUNT), time(1)))).await;
    let numbers: Vec<u32> =
        ports.uploads.receipts(id).await.unwrap().into_iter().map(|receipt| receipt.number).collect();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}

pub async fn one_of_many_seals_wins(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    let answers = join_all((0..16).map(|_| ports.uploads.seal(id, time(5)))).await;
    let won = answers.into_iter().filter(|answer| matches!(answer, Ok(ChangeAnswer::Done))).count();
    assert_eq!(won, 1);
    assert_eq!(ports.uploads.upload_by_id(id).await.unwrap().unwrap().state, UploadState::Received);
    let owed = ports.jobs.claim(&[(ASSEMBLE, 100)], time(5)).await.unwrap();
    assert_eq!(owed.iter().map(|job| job.subject).collect::<Vec<_>>(), [id.0]);
}

pub async fn what_is_announced_adds_up(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    let name = Announced { file_name: Some("a.json".to_owned()), ..Announced::default() };
    let size = Announced { size: Some(9), total_parts: Some(2), ..Announced::default() };
    let named = Named { path: "large/b_s.json".to_owned(), admitted_as: Some("b.json".to_owned()) };
    assert_eq!(ports.uploads.announce(id, name, Some(named.clone())).await.unwrap(), ChangeAnswer::Done);
    assert_eq!(ports.uploads.announce(id, size, None).await.unwrap(), ChangeAnswer::Done);
    let row = ports.uploads.upload_by_id(id).await.unwrap().unwrap();
    let wanted = Announced { file_name: Some("a.json".to_owned()), size: Some(9), total_parts: Some(2), user: None };
    assert_eq!((row.announced, row.path, row.admitted_as), (wanted, Some(named.path), named.admitted_as));

    ports.uploads.seal(id, time(1)).await.unwrap();
    let late = Announced { user: Some("late".to_owned()), ..Announced::default() };
    assert_eq!(ports.uploads.announce(id, late, None).await.unwrap(), ChangeAnswer::WrongState);
    assert_eq!(ports.uploads.upload_by_id(id).await.unwrap().unwrap().announced.user, None);
}

/// `a` + `2_3` and `a_2` + `3` meet at one name.
pub async fn a_path_is_reserved(fixture: &impl Fixture) {
    let ports = fixture.open();
    let path = "largefiles/a_2_3.json".to_owned();
    let taken = OpenAnswer::PathTaken { path: path.clone() };
    let first = open(&ports, with_path("2_3", &path)).await;
    assert_eq!(ports.uploads.open_upload(with_path("3", &path)).await.unwrap(), taken);
    // Its own path is not taken from it, and on another storage it is another file.
    assert_eq!(open(&ports, with_path("2_3", &path)).await, first);
    let elsewhere = UploadRow { storage: "tape".to_owned(), ..with_path("4", &path) };
    open(&ports, elsewhere).await;

    // The name may come later than the upload.
    let second = open(&ports, upload("3")).await.id;
    let named = ports
        .uploads
        .announce(second, Announced::default(), Some(Named { path: path.clone(), admitted_as: None }))
        .await
        .unwrap();
    assert_eq!(named, ChangeAnswer::PathTaken { path: path.clone() });
    let own = ports
        .uploads
        .announce(first.id, Announced::default(), Some(Named { path: path.clone(), admitted_as: None }))
        .await
        .unwrap();
    assert_eq!(own, ChangeAnswer::Done);

    // It stays reserved after the seal; what ended lets go of it.
    ports.uploads.seal(first.id, time(1)).await.unwrap();
    let named = ports
        .uploads
        .announce(second, Announced::default(), Some(Named { path: path.clone(), admitted_as: None }))
        .await
        .unwrap();
    assert_eq!(named, ChangeAnswer::PathTaken { path: path.clone() });
    ports.uploads.end_upload(first.id, UploadState::Received, end(UploadState::Aborted)).await.unwrap();
    let named = ports
        .uploads
        .announce(second, Announced::default(), Some(Named { path: path.clone(), admitted_as: None }))
        .await
        .unwrap();
    assert_eq!(named, ChangeAnswer::Done);
    assert_eq!(ports.uploads.open_upload(with_path("2_3", &path)).await.unwrap(), taken);
}

pub async fn a_published_path_is_taken(fixture: &impl Fixture) {
    let ports = fixture.open();
    let record = record("largefiles", "a_2_3.json", "v1");
    let first = open(&ports, with_path("2_3", &record.path)).await;
    ports.uploads.seal(first.id, time(1)).await.unwrap();
    assert_eq!(publish(&ports, &record, Some(first.id)).await, CatalogAnswer::Done);

    let second = ports.uploads.open_upload(with_path("3", &record.path)).await.unwrap();
    assert_eq!(second, OpenAnswer::PathTaken { path: record.path.clone() });
    // Who published it is told of it.
    assert_eq!(open(&ports, with_path("2_3", &record.path)).await.state, UploadState::Stored);
}

pub async fn an_expired_upload_is_replaced_by_a_new_one(fixture: &impl Fixture) {
    let ports = fixture.open();
    for state in [UploadState::Expired, UploadState::Aborted] {
        let path = format!("large/{}.json", state.as_str());
        let old = open(&ports, with_path(state.as_str(), &path)).await;
        ports.uploads.keep_receipt(old.id, receipt(0), time(1)).await.unwrap();
        ports.uploads.end_upload(old.id, UploadState::Receiving, end(state)).await.unwrap();
        let new = open(&ports, with_path(state.as_str(), &path)).await;
        assert!(new.id > old.id);
        assert_eq!((new.state, new.parts, new.reason), (UploadState::Receiving, 0, None));
        assert_eq!(ports.uploads.upload_by_id(old.id).await.unwrap(), None);
    }
    // Every other end stays, for whoever asks what became of it.
    let failed = open(&ports, upload("failed")).await.id;
    ports.uploads.end_upload(failed, UploadState::Receiving, end(UploadState::Failed)).await.unwrap();
    let found = open(&ports, upload("failed")).await;
    assert_eq!((found.id, found.state, found.reason.as_deref()), (failed, UploadState::Failed, Some("because")));
}

pub async fn an_end_takes_parts_intents_and_work_along(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    ports.uploads.keep_receipt(id, receipt(0), time(1)).await.unwrap();
    let early = ports.uploads.end_upload(id, UploadState::Received, end(UploadState::Failed)).await.unwrap();
    assert_eq!(early, ChangeAnswer::WrongState);
    ports.uploads.seal(id, time(2)).await.unwrap();
    ports.files.declare(intent(&record("t", "f", "v"), Some(id))).await.unwrap();
    let kept = ports.files.declare(intent(&record("t", "g", "v"), None)).await.unwrap();

    let rejected = ports.uploads.end_upload(id, UploadState::Received, end(UploadState::Rejected)).await.unwrap();
    assert_eq!(rejected, ChangeAnswer::Done);
    assert_eq!(ports.uploads.receipts(id).await.unwrap(), []);
    let intents: Vec<i64> = ports.files.intents().await.unwrap().iter().map(|intent| intent.id).collect();
    assert_eq!(intents, [kept]);
    assert_eq!(owed(&ports).await, 0);
}

pub async fn uploads_are_listed_by_collection_and_state(fixture: &impl Fixture) {
    let ports = fixture.open();
    let mut ids = Vec::new();
    for session in ["a", "b", "c", "d"] {
        ids.push(open(&ports, upload(session)).await.id);
    }
    let mut elsewhere = upload("a");
    elsewhere.key.collection = "other".to_owned();
    let elsewhere = open(&ports, elsewhere).await.id;
    ports.uploads.seal(ids[3], time(1)).await.unwrap();
    ports.uploads.end_upload(ids[0], UploadState::Receiving, end(UploadState::Expired)).await.unwrap();

    let list = async |after: Option<UploadId>, limit| -> Vec<UploadId> {
        let rows = ports.uploads.uploads("large", UploadState::Receiving, after, limit).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(list(None, 10).await, ids[1..3]);
    assert_eq!(list(None, 1).await, ids[1..2]);
    assert_eq!(list(Some(ids[1]), 10).await, ids[2..3]);
    let mut live = ports.uploads.live_uploads().await.unwrap();
    live.sort();
    assert_eq!(live, [ids[1], ids[2], ids[3], elsewhere]);
}

pub async fn idle_uploads_are_found(fixture: &impl Fixture) {
    let ports = fixture.open();
    let mut ids = Vec::new();
    for (step, session) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let id = open(&ports, upload(session)).await.id;
        ports.uploads.keep_receipt(id, receipt(0), time(10 - step as i64)).await.unwrap();
        ids.push(id);
    }
    ports.uploads.seal(ids[3], time(8)).await.unwrap();
    let idle = ports.uploads.idle_uploads(time(10), 10).await.unwrap();
    assert_eq!(idle.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[2], ids[1]], "the longest idle first");
    assert_eq!(ports.uploads.idle_uploads(time(10), 1).await.unwrap().len(), 1);
}
