//! Cases of the port `files::port::Catalog`.

use tidegate::events::{Event, EventKind, NewEvent};
use tidegate::files::port::{
    AppendRecord, CatalogAnswer, FileRecord, Identity, Intent, IntentAction, Mark, Publication, Totals, Unserved,
    Utf8State,
};
use tidegate::upload::port::{ASSEMBLE, End, UploadState};

use super::{Fixture, Ports, event, intent, open, publish, receipt, record, time, upload};

async fn events(ports: &Ports) -> Vec<NewEvent> {
    ports.events.read_after(0, 1000).await.unwrap().into_iter().map(|Event { event, .. }| event).collect()
}

pub async fn a_publication_is_record_event_and_end_of_the_intent(fixture: &impl Fixture) {
    let ports = fixture.open();
    let record = record("t", "f.json", "v1");
    assert_eq!(publish(&ports, &record, None).await, CatalogAnswer::Done);
    assert_eq!(ports.files.file("disk", "t/f.json").await.unwrap().as_ref(), Some(&record));
    assert_eq!(events(&ports).await, [event(EventKind::FileUploaded, &record)]);
    assert_eq!(ports.files.intents().await.unwrap(), []);

    let next = FileRecord { version: "v2".to_owned(), size: u64::MAX, ..record };
    publish(&ports, &next, None).await;
    assert_eq!(ports.files.file("disk", "t/f.json").await.unwrap(), Some(next));
    assert_eq!(ports.files.file("tape", "t/f.json").await.unwrap(), None);
}

pub async fn a_publication_stores_its_upload(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    ports.uploads.keep_receipt(id, receipt(0), time(1)).await.unwrap();
    ports.uploads.keep_receipt(id, receipt(1), time(1)).await.unwrap();
    let record = record("t", "f", "v1");
    assert_eq!(publish(&ports, &record, Some(id)).await, CatalogAnswer::Refused, "it is not received yet");
    ports.uploads.seal(id, time(1)).await.unwrap();
    assert_eq!(publish(&ports, &record, Some(id)).await, CatalogAnswer::Done);

    let row = ports.uploads.upload_by_id(id).await.unwrap().unwrap();
    assert_eq!(row.state, UploadState::Stored);
    assert_eq!((row.version.as_deref(), row.stored_size, row.stored_at), (Some("v1"), Some(42), Some(time(2))));
    assert_eq!(row.parts, 2, "how many there were");
    assert_eq!(ports.uploads.receipts(id).await.unwrap(), []);
    assert_eq!(ports.files.intents().await.unwrap(), []);
    assert_eq!(ports.jobs.claim(&[(ASSEMBLE, 10)], time(100)).await.unwrap(), []);
    assert_eq!(publish(&ports, &record, Some(id)).await, CatalogAnswer::Refused, "it is stored already");
}

pub async fn a_publication_of_an_aborted_upload_is_refused(fixture: &impl Fixture) {
    let ports = fixture.open();
    let id = open(&ports, upload("s")).await.id;
    ports.uploads.seal(id, time(1)).await.unwrap();
    let record = record("t", "f", "v1");
    let declared = ports.files.declare(intent(&record, Some(id))).await.unwrap();
    let aborted = End::new(UploadState::Aborted, "deleted");
    ports.uploads.end_upload(id, UploadState::Received, aborted).await.unwrap();
    let event = event(EventKind::FileUploaded, &record);
    let publication = Publication { intent: declared, record, event, upload: Some(id), follow_ups: Vec::new() };
    assert_eq!(ports.files.publish(publication).await.unwrap(), CatalogAnswer::Refused);
    assert_eq!(ports.files.file("disk", "t/f").await.unwrap(), None);
    assert_eq!(events(&ports).await, []);
}

pub async fn records_come_back_as_they_were_written(fixture: &impl Fixture) {
    let local = record("Société Générale", "naïve – été.json", "v1");
    let object = FileRecord {
        sha256: None,
        identity: Identity::Object { size: 9, etag: String::new(), modified: -1 },
        ..record("", "o", "v2")
    };
    {
        let ports = fixture.open();
        publish(&ports, &local, None).await;
        publish(&ports, &object, None).await;
    }
    let ports = fixture.open();
    assert_eq!(ports.files.file("disk", &local.path).await.unwrap(), Some(local));
    assert_eq!(ports.files.file("disk", &object.path).await.unwrap(), Some(object));
}

pub async fn intents_are_found_after_reopening(fixture: &impl Fixture) {
    let mut intents = vec![
        intent(&record("t", "a", "v1"), None),
        Intent { action: IntentAction::Delete, mark: Mark::Version, ..intent(&record("t", "b", "v2"), None) },
        Intent { mark: Mark::Content, ..intent(&record("t", "c", "v3"), None) },
    ];
    {
        let ports = fixture.open();
        let withdrawn = ports.files.declare(intent(&record("t", "z", "v9"), None)).await.unwrap();
        intents[0].upload = Some(open(&ports, upload("s")).await.id);
        for intent in &mut intents {
            intent.id = ports.files.declare(intent.clone()).await.unwrap();
        }
        ports.files.withdraw(withdrawn).await.unwrap();
    }
    assert_eq!(fixture.open().files.intents().await.unwrap(), intents);
}

pub async fn a_record_is_removed_in_its_version_only(fixture: &impl Fixture) {
    let ports = fixture.open();
    let (old, new) = (record("t", "f", "v1"), record("t", "f", "v2"));
    publish(&ports, &new, None).await;
    let declared = ports.files.declare(intent(&new, None)).await.unwrap();
    let deleted = event(EventKind::FileDeleted, &new);
    let refused = ports.files.unpublish(Some(declared), &old, deleted.clone()).await.unwrap();
    assert_eq!(refused, CatalogAnswer::Refused);
    assert_eq!(ports.files.file("disk", "t/f").await.unwrap().as_ref(), Some(&new));
    assert_eq!(ports.files.intents().await.unwrap().len(), 1);

    let done = ports.files.unpublish(Some(declared), &new, deleted.clone()).await.unwrap();
    assert_eq!(done, CatalogAnswer::Done);
    assert_eq!(ports.files.file("disk", "t/f").await.unwrap(), None);
    assert_eq!(ports.files.intents().await.unwrap(), []);
    assert_eq!(events(&ports).await, [event(EventKind::FileUploaded, &new), deleted]);
}

pub async fn an_upload_goes_with_its_file(fixture: &impl Fixture) {
    let ports = fixture.open();
    let (id, file) = (open(&ports, upload("s")).await.id, record("", "f", "v1"));
    ports.uploads.seal(id, time(1)).await.unwrap();
    assert_eq!(publish(&ports, &file, Some(id)).await, CatalogAnswer::Done);
    let delete = Intent { action: IntentAction::Delete, mark: Mark::Version, ..intent(&file, Some(id)) };
    let declared = ports.files.declare(delete).await.unwrap();
    let deleted = event(EventKind::FileDeleted, &file);
    let other = record("", "f", "v2");
    assert_eq!(ports.files.unpublish(Some(declared), &other, deleted.clone()).await.unwrap(), CatalogAnswer::Refused);
    assert!(ports.uploads.upload_by_id(id).await.unwrap().is_some());
    assert_eq!(ports.files.unpublish(Some(declared), &file, deleted).await.unwrap(), CatalogAnswer::Done);
    assert_eq!(ports.uploads.upload_by_id(id).await.unwrap(), None);
    assert_eq!(ports.files.intents().await.unwrap(), []);
}

pub async fn pages_go_on_where_they_ended(fixture: &impl Fixture) {
    let ports = fixture.open();
    let mut wanted = Vec::new();
    for name in ["a.json", "b", "b.json", "é", "Z"] {
        // One name at three paths, as chunked uploads of one name have it.
        for session in 0..3 {
            let mut record = record("t", name, "v");
            record.path = format!("t/{name}_{session}");
            publish(&ports, &record, None).await;
            wanted.push((record.file_name, record.path));
        }
    }
    publish(&ports, &record("other", "a.json", "v"), None).await;
    wanted.sort();
    for limit in [1, 2, 4, 15, 16] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = ports.files.files("relay", "t", after.as_deref(), limit).await.unwrap();
            assert!(page.rows.len() <= limit);
            found.extend(page.rows.into_iter().map(|record| (record.file_name, record.path)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, wanted, "in pages of {limit}");
    }
    // A name alone is a place too.
    let page = ports.files.files("relay", "t", Some("b"), 1).await.unwrap();
    assert_eq!(page.rows[0].file_name, "b.json");
    assert_eq!(ports.files.files("relay", "nobody", None, 5).await.unwrap().rows, []);
}

pub async fn tenants_and_totals_count_one_collection(fixture: &impl Fixture) {
    let ports = fixture.open();
    assert_eq!(ports.files.totals("relay").await.unwrap(), Totals::default());
    assert_eq!(ports.files.tenants("relay").await.unwrap(), [""; 0]);
    for (tenant, name, modified) in [("b", "1", 5), ("a", "1", 9), ("a", "2", 7), ("é", "1", 1)] {
        let record = FileRecord { modified: time(modified), ..record(tenant, name, "v") };
        publish(&ports, &record, None).await;
        publish(&ports, &record, None).await;
    }
    let mut elsewhere = FileRecord { modified: time(100), ..record("x", "1", "v") };
    elsewhere.collection = "other".to_owned();
    publish(&ports, &elsewhere, None).await;

    assert_eq!(ports.files.tenants("relay").await.unwrap(), ["a", "b", "é"]);
    let totals = ports.files.totals("relay").await.unwrap();
    assert_eq!(totals, Totals { tenants: 3, files: 4, last_modified: Some(time(9)) });
}

pub async fn what_was_found_is_adopted_in_the_expected_place_only(fixture: &impl Fixture) {
    let ports = fixture.open();
    let (first, second) = (record("t", "f", "v1"), record("t", "f", "v2"));
    let adopt = async |record: &FileRecord, replaces: Option<&FileRecord>| {
        let event = event(EventKind::FileUploaded, record);
        ports.files.adopt(record.clone(), replaces.map(|record| &record.version), event, Vec::new()).await.unwrap()
    };
    assert_eq!(adopt(&second, Some(&first)).await, CatalogAnswer::Refused);
    assert_eq!(adopt(&first, None).await, CatalogAnswer::Done);
    assert_eq!(adopt(&second, None).await, CatalogAnswer::Refused);
    assert_eq!(adopt(&second, Some(&second)).await, CatalogAnswer::Refused);
    assert_eq!(adopt(&second, Some(&first)).await, CatalogAnswer::Done);
    assert_eq!(ports.files.file("disk", "t/f").await.unwrap(), Some(second));
    assert_eq!(events(&ports).await.len(), 2);
}

pub async fn a_refreshed_identity_keeps_the_version(fixture: &impl Fixture) {
    let ports = fixture.open();
    let (old, new) = (record("t", "f", "v1"), record("t", "f", "v2"));
    publish(&ports, &new, None).await;
    let identity = Identity::Local { device: 1, inode: 2, size: 42, mtime: 4, ctime: 5 };
    ports.files.refresh_identity(&old, &identity).await.unwrap();
    assert_eq!(ports.files.file("disk", "t/f").await.unwrap().as_ref(), Some(&new));
    ports.files.refresh_identity(&new, &identity).await.unwrap();
    assert_eq!(ports.files.file("disk", "t/f").await.unwrap(), Some(FileRecord { identity, ..new }));
}

fn unserved(record: &FileRecord) -> Unserved {
    Unserved {
        collection: record.collection.clone(),
        tenant: record.tenant.clone(),
        file_name: record.file_name.clone(),
        storage: record.storage.clone(),
        path: record.path.clone(),
        identity: Identity::Object { size: 1, etag: "\"x\"".to_owned(), modified: 3 },
        reason: "not JSON".to_owned(),
    }
}

pub async fn what_is_shunned_is_not_served(fixture: &impl Fixture) {
    let ports = fixture.open();
    let (old, new) = (record("t", "f", "v1"), record("t", "f", "v2"));
    let file = unserved(&new);
    publish(&ports, &new, None).await;
    // Another version took the place meanwhile.
    let stale = Some((old.clone(), event(EventKind::FileDeleted, &old)));
    ports.files.shun(file.clone(), stale).await.unwrap();
    assert_eq!(ports.files.file("disk", "t/f").await.unwrap().as_ref(), Some(&new));
    assert_eq!(ports.files.unserved("relay", "t").await.unwrap(), []);

    let deleted = event(EventKind::FileDeleted, &new);
    ports.files.shun(file.clone(), Some((new.clone(), deleted.clone()))).await.unwrap();
    assert_eq!(ports.files.file("disk", "t/f").await.unwrap(), None);
    assert_eq!(ports.files.unserved("relay", "t").await.unwrap(), std::slice::from_ref(&file));
    assert_eq!(events(&ports).await, [event(EventKind::FileUploaded, &new), deleted]);

    // What is published there is served again.
    publish(&ports, &new, None).await;
    assert_eq!(ports.files.unserved("relay", "t").await.unwrap(), []);

    let other = unserved(&record("t", "g", "v"));
    ports.files.shun(other.clone(), None).await.unwrap();
    let changed = Unserved { reason: "still not".to_owned(), ..other };
    ports.files.shun(changed.clone(), None).await.unwrap();
    assert_eq!(ports.files.unserved("relay", "t").await.unwrap(), [changed]);
    ports.files.forget_unserved("disk", "t/g").await.unwrap();
    assert_eq!(ports.files.unserved("relay", "t").await.unwrap(), []);
}

pub async fn an_append_is_compared_and_set(fixture: &impl Fixture) {
    let first = AppendRecord {
        collection: "chunks".to_owned(),
        storage: "disk".to_owned(),
        path: "uploads/received_chunks.txt".to_owned(),
        generation: 0,
        length: 3,
        inode: Some((u64::MAX, 1 << 63)),
        utf8: Utf8State::Valid { open: vec![0xc3] },
        modified: time(1),
    };
    let longer = AppendRecord { length: 5, utf8: Utf8State::Invalid, ..first.clone() };
    let cleared = AppendRecord {
        generation: 1,
        length: 0,
        inode: None,
        utf8: Utf8State::Valid { open: vec![] },
        ..first.clone()
    };
    {
        let ports = fixture.open();
        let told = event(EventKind::FileAppended, &record("", "received_chunks.txt", "v"));
        let set = async |before: Option<&AppendRecord>, after: &AppendRecord| {
            ports.files.appended(before, after.clone(), Some(told.clone())).await.unwrap()
        };
        assert_eq!(ports.files.append_record("chunks").await.unwrap(), None);
        assert_eq!(set(Some(&first), &longer).await, CatalogAnswer::Refused);
        assert_eq!(set(None, &first).await, CatalogAnswer::Done);
        assert_eq!(ports.files.append_record("chunks").await.unwrap().as_ref(), Some(&first));
        assert_eq!(set(None, &first).await, CatalogAnswer::Refused);
        assert_eq!(set(Some(&first), &longer).await, CatalogAnswer::Done);
        assert_eq!(set(Some(&first), &longer).await, CatalogAnswer::Refused);
        assert_eq!(ports.files.append_record("chunks").await.unwrap().as_ref(), Some(&longer));
        assert_eq!(set(Some(&longer), &cleared).await, CatalogAnswer::Done);
        assert_eq!(events(&ports).await.len(), 3);
    }
    assert_eq!(fixture.open().files.append_record("chunks").await.unwrap(), Some(cleared));
}
