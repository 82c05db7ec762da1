//! The conformance suite of the catalog's ports. Each case is a function over a [`Fixture`], so that another database runs the
//! same cases; [`conformance!`] names them all.

mod events;
mod files;
mod follow_ups;
mod jobs;
mod sqlite;
mod uploads;

use std::sync::Arc;

use jiff::Timestamp;
use tidegate::events::{EventKind, EventLog, NewEvent};
use tidegate::files::port::{self as file, FileRecord, Identity, Intent, IntentAction, Mark, Publication, UploadId};
use tidegate::follow_ups::port as follow_ups_port;
use tidegate::jobs::Queue;
use tidegate::upload::port::{
    self as upload, Announced, OpenAnswer, Place, Receipt, UploadKey, UploadRow, UploadState,
};

/// The ports of one open catalog. Dropping all of it closes the catalog.
#[derive(Clone)]
pub struct Ports {
    pub files: Arc<dyn file::Catalog>,
    pub uploads: Arc<dyn upload::Catalog>,
    pub events: Arc<dyn EventLog>,
    pub jobs: Arc<dyn Queue>,
    pub follow_ups: Arc<dyn follow_ups_port::Catalog>,
    pub follow_up_queue: Arc<dyn Queue>,
}

/// One catalog's place. It can be opened again once the ports of the last time are dropped.
pub trait Fixture {
    fn open(&self) -> Ports {
        self.open_in_boot("boot-1")
    }

    /// As after the machine was started anew.
    fn open_in_boot(&self, boot_id: &str) -> Ports;
}

/// Runs every case on the fixture that an expression makes.
macro_rules! conformance {
    ($fixture:expr) => {
        $crate::catalog::conformance!(@cases $fixture,
            uploads: an_upload_is_made_once,
            uploads: an_upload_comes_back_as_it_was_written,
            uploads: a_receipt_counts_only_while_the_upload_is_receiving,
            uploads: a_number_sent_again_replaces_its_receipt,
            uploads: voided_receipts_are_gone,
            uploads: many_receipts_come_back_in_order,
            uploads: one_of_many_seals_wins,
            uploads: what_is_announced_adds_up,
            uploads: a_path_is_reserved,
            uploads: a_published_path_is_taken,
            uploads: an_expired_upload_is_replaced_by_a_new_one,
            uploads: an_end_takes_parts_intents_and_work_along,
            uploads: uploads_are_listed_by_collection_and_state,
            uploads: idle_uploads_are_found,
            files: a_publication_is_record_event_and_end_of_the_intent,
            files: a_publication_stores_its_upload,
            files: a_publication_of_an_aborted_upload_is_refused,
            files: records_come_back_as_they_were_written,
            files: intents_are_found_after_reopening,
            files: a_record_is_removed_in_its_version_only,
            files: an_upload_goes_with_its_file,
            files: pages_go_on_where_they_ended,
            files: tenants_and_totals_count_one_collection,
            files: what_was_found_is_adopted_in_the_expected_place_only,
            files: a_refreshed_identity_keeps_the_version,
            files: what_is_shunned_is_not_served,
            files: an_append_is_compared_and_set,
            events: positions_have_neither_hole_nor_double,
            events: the_head_is_set_when_the_change_is_answered,
            events: what_is_refused_writes_no_event,
            events: pruning_moves_the_bounds,
            jobs: a_claim_counts_the_attempt,
            jobs: what_is_put_off_waits,
            jobs: kinds_are_claimed_apart,
            jobs: claimed_work_is_free_after_reopening,
            jobs: a_seal_wakes_the_runner,
            follow_ups: what_a_publication_owes_is_written_with_it,
            follow_ups: a_publication_that_is_refused_owes_nothing,
            follow_ups: a_file_that_was_found_owes_too,
            follow_ups: follow_ups_are_claimed_by_hook_tried_again_and_done,
            follow_ups: follow_ups_that_ran_are_owed_after_reopening,
            follow_ups: a_dead_letter_stays_until_it_is_retried_or_discarded,
            follow_ups: what_is_owed_to_a_hook_that_is_gone_becomes_a_dead_letter,
            follow_ups: a_hook_is_off_until_it_is_retried,
            follow_ups: follow_ups_are_listed_and_counted,
            follow_ups: what_was_done_is_pruned,
            follow_ups: a_thousand_dead_letters_are_retried_and_discarded,
        );
    };
    (@cases $fixture:expr, $($module:ident: $case:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::catalog::$module::$case(&$fixture).await;
            }
        )*
    };
}
pub(crate) use conformance;

// ---------------------------------------------------------------------------------------------------------
// What the cases are made of

pub fn time(seconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + seconds * 1000 + 123).unwrap()
}

/// A new upload of `session` in the collection `large`.
pub fn upload(session: &str) -> UploadRow {
    UploadRow {
        id: UploadId(0),
        key: UploadKey {
            collection: "large".to_owned(),
            principal: "anonymous".to_owned(),
            session: session.to_owned(),
        },
        state: UploadState::Receiving,
        announced: Announced::default(),
        storage: "disk".to_owned(),
        path: None,
        sha256: true,
        boot_id: "boot-1".to_owned(),
        created: time(0),
        touched: time(0),
        reason: None,
        admitted_as: None,
        issues: Vec::new(),
        version: None,
        stored_size: None,
        stored_at: None,
        parts: 0,
    }
}

pub async fn open(ports: &Ports, row: UploadRow) -> UploadRow {
    match ports.uploads.open_upload(row).await.unwrap() {
        OpenAnswer::Row(row) => row,
        OpenAnswer::PathTaken { path } => panic!("{path} is taken"),
    }
}

pub fn receipt(number: u32) -> Receipt {
    Receipt { number, place: Place::Spool { offset: u64::from(number) << 40 }, length: 5, crc: u64::MAX - 1 }
}

/// A file of the collection `relay`.
pub fn record(tenant: &str, file_name: &str, version: &str) -> FileRecord {
    FileRecord {
        collection: "relay".to_owned(),
        tenant: tenant.to_owned(),
        file_name: file_name.to_owned(),
        storage: "disk".to_owned(),
        path: format!("{tenant}/{file_name}"),
        version: version.to_owned(),
        size: 42,
        crc: u64::MAX,
        sha256: Some([7; 32]),
        modified: time(1),
        identity: Identity::Local { device: u64::MAX, inode: 1 << 63, size: 42, mtime: -5, ctime: i64::MAX },
    }
}

pub fn event(kind: EventKind, record: &FileRecord) -> NewEvent {
    NewEvent {
        kind,
        collection: record.collection.clone(),
        tenant: record.tenant.clone(),
        file_name: record.file_name.clone(),
        version: Some(record.version.clone()),
        size: Some(record.size),
        files_count: None,
        at: time(2),
    }
}

pub fn intent(record: &FileRecord, upload: Option<UploadId>) -> Intent {
    Intent {
        id: 0,
        action: IntentAction::Publish,
        record: record.clone(),
        mark: Mark::Inode { device: u64::MAX, inode: 77 },
        upload,
    }
}

/// Declares and publishes.
pub async fn publish(ports: &Ports, record: &FileRecord, upload: Option<UploadId>) -> file::CatalogAnswer {
    let declared = ports.files.declare(intent(record, upload)).await.unwrap();
    let publication = Publication {
        intent: declared,
        record: record.clone(),
        event: event(EventKind::FileUploaded, record),
        upload,
        follow_ups: Vec::new(),
    };
    ports.files.publish(publication).await.unwrap()
}
