//! The suite on SQLite with both durabilities, and what is SQLite's alone: opening, another boot, `kill -9`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate::catalog::config::Durability;
use tidegate::catalog::{FollowUpQueue, OpenError, Opened, Sqlite};
use tidegate::events::{EventKind, LogBounds};

use super::{Fixture, Ports, conformance, event, open, publish, receipt, record, time, upload};

mod process {
    super::conformance!(super::OnDisk::new(super::Durability::Process));
}

mod disk {
    super::conformance!(super::OnDisk::new(super::Durability::Disk));
}

pub struct OnDisk {
    folder: TempDir,
    durability: Durability,
}

impl OnDisk {
    fn new(durability: Durability) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), durability }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    /// A process that another test has just forked holds the lock of the catalog before until its `exec`.
    fn reopen(&self, durability: Durability, boot_id: &str) -> (Sqlite, Opened) {
        let begun = Instant::now();
        loop {
            match Sqlite::open(&self.path(), durability, boot_id) {
                Err(OpenError::HeldByAnother { .. }) if begun.elapsed() < Duration::from_secs(5) => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                opened => return opened.unwrap(),
            }
        }
    }
}

impl Fixture for OnDisk {
    fn open_in_boot(&self, boot_id: &str) -> Ports {
        ports(self.reopen(self.durability, boot_id).0)
    }
}

fn ports(catalog: Sqlite) -> Ports {
    let catalog = Arc::new(catalog);
    Ports {
        files: catalog.clone(),
        uploads: catalog.clone(),
        events: catalog.clone(),
        jobs: catalog.clone(),
        follow_ups: catalog.clone(),
        follow_up_queue: Arc::new(FollowUpQueue(catalog)),
    }
}

fn refusal(path: &Path) -> OpenError {
    Sqlite::open(path, Durability::Process, "boot-1").err().expect("it must not open")
}

#[tokio::test]
async fn a_lost_tail_leaves_a_gap() {
    let fixture = OnDisk::new(Durability::Process);
    let first = {
        let ports = fixture.open_in_boot("boot-1");
        publish(&ports, &record("t", "f", "v1"), None).await;
        open(&ports, upload("a")).await.id
    };
    let (catalog, opened) = fixture.reopen(Durability::Process, "boot-2");
    assert_eq!(opened, Opened { previous_boot_id: Some("boot-1".to_owned()), tail_may_be_lost: true });
    let ports = ports(catalog);
    let bounds = LogBounds { pruned_to: 0, head: 1_000_001, gaps: vec![(1, 1_000_001)] };
    assert_eq!(ports.events.bounds().await.unwrap(), bounds);
    assert_eq!(*ports.events.head().borrow(), 1_000_001);
    let told = event(EventKind::FileDeleted, &record("t", "f", "v1"));
    assert_eq!(ports.files.announce(told).await.unwrap(), 1_000_002);
    assert!(open(&ports, upload("b")).await.id.0 > first.0 + 1000, "nor are ids of uploads given twice");
}

#[tokio::test]
async fn a_log_that_never_had_an_event_jumps_too() {
    let fixture = OnDisk::new(Durability::Process);
    drop(fixture.open_in_boot("boot-1"));
    let ports = fixture.open_in_boot("boot-2");
    assert_eq!(ports.events.bounds().await.unwrap().gaps, [(0, 1_000_000)]);
    let told = event(EventKind::FileDeleted, &record("t", "f", "v1"));
    assert_eq!(ports.files.announce(told).await.unwrap(), 1_000_001);
}

#[test]
fn what_was_on_disk_is_not_lost() {
    let fixture = OnDisk::new(Durability::Disk);
    let open = |boot_id: &str, durability| fixture.reopen(durability, boot_id).1;
    let first = open("boot-1", Durability::Disk);
    assert_eq!(first, Opened { previous_boot_id: None, tail_may_be_lost: false });
    // What counts is how it ran before, not how it runs now.
    assert!(!open("boot-2", Durability::Process).tail_may_be_lost);
    assert!(!open("boot-2", Durability::Process).tail_may_be_lost);
    assert!(open("boot-3", Durability::Disk).tail_may_be_lost);
}

#[test]
fn a_catalog_has_one_gateway() {
    let fixture = OnDisk::new(Durability::Process);
    let held = fixture.open();
    let refusal = refusal(&fixture.path());
    assert!(matches!(refusal, OpenError::HeldByAnother { .. }), "{refusal}");
    assert!(refusal.to_string().contains("catalog.db"), "{refusal}");
    drop(held);
    fixture.open();
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let refusal = refusal(&file.join("catalog.db"));
    assert!(matches!(refusal, OpenError::Folder { .. }), "{refusal}");
    assert!(refusal.to_string().contains("a-file"), "{refusal}");
}

#[test]
fn a_newer_catalog_is_left_alone() {
    let fixture = OnDisk::new(Durability::Process);
    drop(fixture.open());
    let connection = rusqlite::Connection::open(fixture.path()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let refusal = refusal(&fixture.path());
    assert!(matches!(refusal, OpenError::Newer { found: 99, .. }), "{refusal}");
}

/// What an older gateway wrote is there after the migrations, as it was.
#[tokio::test]
async fn an_older_catalog_is_brought_up_to_date() {
    let fixture = OnDisk::new(Durability::Process);
    let connection = rusqlite::Connection::open(fixture.path()).unwrap();
    connection.execute_batch(include_str!("../../../src/catalog/migrations/1-first.sql")).unwrap();
    let sql = "INSERT INTO upload (collection, principal, session, state, file_name, storage, sha256, boot_id, created, touched, \
               reason, parts) VALUES ('large', 'anonymous', 's', 'rejected', 'a', 'disk', 1, 'boot-1', 1, 1, 'because', 0)";
    connection.execute(sql, []).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let ports = fixture.open();
    let row = ports.uploads.upload(&upload("s").key).await.unwrap().unwrap();
    assert_eq!((row.reason.as_deref(), row.admitted_as, row.issues), (Some("because"), None, Vec::new()));
    assert_eq!(ports.follow_ups.hook_counts().await.unwrap(), []);
}

#[test]
fn what_is_no_catalog_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    std::fs::write(&path, "This is no database, however long it may go on. ".repeat(100)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let damaged = refusal(&path);
    assert!(matches!(damaged, OpenError::Damaged { .. }), "{damaged}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::remove_file(&path).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE somebody_elses (x)").unwrap();
    drop(connection);
    let foreign = refusal(&path);
    assert!(matches!(foreign, OpenError::Foreign { .. }), "{foreign}");
}

#[tokio::test]
async fn a_caller_that_goes_away_undoes_nothing() {
    let fixture = OnDisk::new(Durability::Process);
    let id = {
        let ports = fixture.open();
        let id = open(&ports, upload("s")).await.id;
        for number in 0..100 {
            let mut kept = Box::pin(ports.uploads.keep_receipt(id, receipt(number), time(1)));
            // In line after the first look at it; then nobody is there any more for the answer. (A writer that is quick enough
            // may have answered already.)
            let _ = futures_util::poll!(&mut kept);
        }
        id
    };
    assert_eq!(fixture.open().uploads.receipts(id).await.unwrap().len(), 100);
}

/// More than is copied at once, and then nothing: the log is copied, emptied, and nothing in it was lost.
#[tokio::test]
async fn the_write_ahead_log_is_taken_in_while_the_catalog_is_open() {
    let fixture = OnDisk::new(Durability::Process);
    let ports = fixture.open();
    let name = "x".repeat(100_000);
    for _ in 0..100 {
        ports.files.announce(event(EventKind::FileDeleted, &record("t", &name, "v"))).await.unwrap();
    }
    let log = fixture.path().with_extension("db-wal");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(&log).unwrap().len() > 0 {
        assert!(Instant::now() < deadline, "the log stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(std::fs::metadata(fixture.path()).unwrap().len() > 10_000_000);
    assert_eq!(ports.events.read_after(0, 1000).await.unwrap().len(), 100);
    ports.files.announce(event(EventKind::FileDeleted, &record("t", "f", "v"))).await.unwrap();
    assert_eq!(*ports.events.head().borrow(), 101);
}

const CHILD: &str = "TIDEGATE_TEST_CATALOG";

/// Not a test: what `nothing_acknowledged_is_lost_to_a_kill` runs in a process of its own, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by nothing_acknowledged_is_lost_to_a_kill"]
async fn child_that_keeps_receipts() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let ports = ports(Sqlite::open(Path::new(&path), Durability::Process, "boot-1").unwrap().0);
    let id = open(&ports, upload("s")).await.id;
    // What the child before kept has holes, for its writers were not equally far.
    let first = ports.uploads.receipts(id).await.unwrap().last().map_or(0, |last| last.number + 1);
    let writers = (0..8).map(|writer| {
        let ports = ports.clone();
        tokio::spawn(async move {
            for step in 0.. {
                let number = first + step * 8 + writer;
                ports.uploads.keep_receipt(id, receipt(number), time(1)).await.unwrap();
                let file = record("t", &number.to_string(), "v");
                publish(&ports, &file, None).await;
                writeln!(std::io::stdout().lock(), "kept {number}").unwrap();
            }
        })
    });
    futures_util::future::join_all(writers).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_to_a_kill() {
    let fixture = OnDisk::new(Durability::Process);
    let mut kept = Vec::new();
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "catalog::sqlite::child_that_keeps_receipts", "--ignored", "--nocapture"])
            .env(CHILD, fixture.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: std::io::Result<String>| -> Option<u32> { line.ok()?.rsplit_once("kept ")?.1.parse().ok() };
        let before = kept.len();
        while kept.len() < before + 150 * round {
            kept.extend(number(lines.next().expect("the child goes on until it is killed")));
        }
        child.kill().unwrap();
        // What it had said and nobody had read yet counts too; a last line may be cut.
        kept.extend(lines.filter_map(number));
        child.wait().unwrap();

        let ports = fixture.open();
        let id = open(&ports, upload("s")).await.id;
        let there: Vec<u32> = ports.uploads.receipts(id).await.unwrap().iter().map(|receipt| receipt.number).collect();
        for number in &kept {
            assert!(there.binary_search(number).is_ok(), "receipt {number} was acknowledged");
            let path = format!("t/{number}");
            assert!(ports.files.file("disk", &path).await.unwrap().is_some(), "{path} was acknowledged");
        }
        let events = ports.events.read_after(0, usize::MAX).await.unwrap();
        let files = ports.files.totals("relay").await.unwrap().files;
        assert_eq!(events.len() as u64, files, "each file has its event");
        assert!(events.iter().zip(1..).all(|(event, position)| event.position == position));
        let parts = ports.uploads.upload_by_id(id).await.unwrap().unwrap().parts;
        assert_eq!(parts as usize, there.len());
    }
}
