//! What every storage must do. Each function takes a storage with nothing in it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tidegate::fault::{Fault, FaultKind};
use tidegate::files::port::{
    FileRecord, Found, Identity, Intent, IntentAction, Mark, Opened, Placed, Prepared, Staged,
};

use super::Subject;

fn new_version() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

impl Subject {
    async fn prepare(&self, path: &str, content: &[u8]) -> Prepared {
        self.storage.prepare(&self.stage(content), path, &new_version(), false).await.unwrap()
    }

    async fn try_place(&self, path: &str, content: &[u8], expected_absent: bool) -> Result<Placed, Fault> {
        self.storage.place(self.prepare(path, content).await, expected_absent).await
    }

    async fn publish(&self, path: &str, content: &[u8]) -> Identity {
        let placed = self.try_place(path, content, false).await.unwrap();
        let identity = placed.identity.clone();
        self.storage.settle(placed).await;
        identity
    }

    async fn open(&self, path: &str) -> Option<Opened> {
        self.storage.open(path, None).await.unwrap()
    }

    async fn read(&self, path: &str) -> Option<Bytes> {
        Some(whole(&self.open(path).await?).await.unwrap())
    }

    async fn names(&self, folder: &str) -> Vec<String> {
        let files: Vec<Found> = self.storage.list_files(folder).await.unwrap().try_collect().await.unwrap();
        let mut paths: Vec<_> = files.into_iter().map(|found| found.path).collect();
        paths.sort();
        paths
    }

    async fn folders(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<_> = self.storage.list_folders(folder).await.unwrap().try_collect().await.unwrap();
        names.sort();
        names
    }
}

async fn whole(opened: &Opened) -> std::io::Result<Bytes> {
    range(opened, 0, opened.identity.size()).await
}

async fn range(opened: &Opened, start: u64, end: u64) -> std::io::Result<Bytes> {
    let pieces: Vec<Bytes> = opened.content.clone().stream(start..end).try_collect().await?;
    Ok(pieces.concat().into())
}

/// Bytes that differ everywhere, so that a shifted range is another one.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub async fn a_new_file_appears_when_it_is_placed(subject: &Subject) {
    let path = "tenant/inner/file.json";
    let prepared = subject.prepare(path, b"content").await;
    assert_eq!(prepared.path, path);
    assert_eq!(subject.storage.stat(path).await.unwrap(), None);
    assert!(subject.open(path).await.is_none());
    assert!(subject.names("tenant/inner").await.is_empty());

    let before = Timestamp::now();
    let placed = subject.storage.place(prepared, false).await.unwrap();
    let found = subject.storage.stat(path).await.unwrap().unwrap();
    assert_eq!((found.path.as_str(), &found.identity), (path, &placed.identity));
    assert_eq!(found.identity.size(), 7);
    assert!((found.modified - before).abs().compare(jiff::Span::new().hours(1)).unwrap().is_lt());
    subject.storage.settle(placed).await;

    let opened = subject.open(path).await.unwrap();
    assert_eq!((&opened.identity, opened.modified), (&found.identity, found.modified));
    assert_eq!(whole(&opened).await.unwrap(), "content");
    let listed: Vec<Found> = subject.storage.list_files("tenant/inner").await.unwrap().try_collect().await.unwrap();
    assert_eq!(
        listed.iter().map(|found| (&*found.path, &found.identity)).collect::<Vec<_>>(),
        [(path, &found.identity)]
    );

    subject.publish("at-the-root", b"").await;
    assert_eq!(subject.read("at-the-root").await.unwrap(), "");
    assert_eq!(subject.names("").await, ["at-the-root"]);
    assert_eq!(subject.folders("").await, ["tenant"]);
    assert_eq!(subject.folders("tenant").await, ["inner"]);
}

pub async fn a_file_given_up_leaves_no_trace(subject: &Subject) {
    for content in [&b"small"[..], &pattern(17 << 20)] {
        let abandoned = subject.prepare("refused/inner/file", content).await;
        subject.storage.abandon(abandoned).await;
        drop(subject.prepare("refused/file", content).await);
        assert!(subject.names("refused").await.is_empty());
        assert!(subject.folders("").await.is_empty(), "{:?}", subject.folders("").await);
    }
    // A folder that others use meanwhile stays.
    let abandoned = subject.prepare("shared/one", b"one").await;
    let kept = subject.prepare("shared/other", b"other").await;
    subject.storage.abandon(abandoned).await;
    let placed = subject.storage.place(kept, false).await.unwrap();
    subject.storage.settle(placed).await;
    assert_eq!(subject.names("shared").await, ["shared/other"]);
}

pub async fn a_replaced_file_is_another_one(subject: &Subject) {
    let first = subject.publish("tenant/file", b"first").await;
    let second = subject.publish("tenant/file", b"other").await;
    assert_ne!(first, second);
    assert_eq!(subject.read("tenant/file").await.unwrap(), "other");
    assert_eq!(subject.names("tenant").await, ["tenant/file"]);
    let opened = subject.storage.open("tenant/file", Some(&second)).await.unwrap().unwrap();
    assert_eq!(opened.identity, second);
    // A disk opens what is there and tells its identity; a store reads that version or nothing.
    if let Some(opened) = subject.storage.open("tenant/file", Some(&first)).await.unwrap() {
        assert_eq!(opened.identity, second);
    }
}

pub async fn an_expected_absence_is_kept(subject: &Subject) {
    let large = pattern(17 << 20);
    for content in [&b"second"[..], &large] {
        let path = format!("tenant/{}", content.len());
        let first = subject.try_place(&path, b"first", true).await.unwrap();
        subject.storage.settle(first).await;
        let refused = subject.try_place(&path, content, true).await.err().unwrap();
        assert_eq!(refused.kind, FaultKind::Mismatch, "{refused}");
        assert_eq!(subject.read(&path).await.unwrap(), "first");
    }
    assert_eq!(subject.names("tenant").await.len(), 2);
}

const REPLACEMENTS: usize = 100;

/// Each version is filled with its own number, and has a length of its own.
fn numbered(number: usize) -> Vec<u8> {
    vec![u8::try_from(number % 251).unwrap(); 1 + (number * 7919) % 300_000]
}

fn number_of(content: &[u8]) -> Option<usize> {
    (0..=REPLACEMENTS).find(|number| numbered(*number) == content)
}

pub async fn readers_see_one_version_whole(subject: &Subject) {
    assert!(subject.storage.capabilities().atomic_replace);
    subject.publish("tenant/file", &numbered(0)).await;
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let read = async {
        let mut last = 0;
        while !done.load(Ordering::Relaxed) {
            // Neither side may depend on the other's waiting for something: both can run on the spot.
            tokio::task::yield_now().await;
            let opened = subject.open("tenant/file").await;
            let content = match opened {
                Some(opened) => whole(&opened).await,
                // Between a store's two answers about one object it was replaced.
                None if !subject.opened_files_keep => continue,
                None => panic!("there was no file"),
            };
            let content = match content {
                Ok(content) => content,
                Err(error) if !subject.opened_files_keep => {
                    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let number = number_of(&content).expect("a mix of versions");
            assert!(number >= last, "{number} was read after {last}");
            last = number;
            reads.fetch_add(1, Ordering::Relaxed);
        }
    };
    let write = async {
        for number in 1..=REPLACEMENTS {
            subject.publish("tenant/file", &numbered(number)).await;
            tokio::task::yield_now().await;
            // Where a replacement ends a read, the reader gets through only when there is a pause.
            let before = reads.load(Ordering::Relaxed);
            while number % 10 == 0 && reads.load(Ordering::Relaxed) == before {
                tokio::task::yield_now().await;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(read, write);
    assert!(reads.into_inner() >= REPLACEMENTS / 10);
    assert_eq!(number_of(&subject.read("tenant/file").await.unwrap()), Some(REPLACEMENTS));
}

pub async fn a_file_opened_before_is_read_whole(subject: &Subject) {
    let content = pattern(3 << 20);
    subject.publish("tenant/file", &content).await;
    let opened = subject.open("tenant/file").await.unwrap();
    let mut begun = opened.content.clone().stream(0..content.len() as u64);
    let mut read = begun.next().await.unwrap().unwrap().to_vec();
    for number in 0..REPLACEMENTS {
        subject.publish("tenant/file", &numbered(number)).await;
    }
    while let Some(piece) = begun.next().await {
        match piece {
            Ok(piece) => read.extend(piece),
            Err(error) if !subject.opened_files_keep => panic!("what was begun must go on: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(read == content);
    match whole(&opened).await {
        Ok(again) => assert!(again == content),
        Err(error) => assert!(!subject.opened_files_keep, "{error}"),
    }
}

pub async fn ranges_are_exact(subject: &Subject) {
    assert!(subject.storage.capabilities().ranges);
    // Around the sizes of pieces and of small files.
    let edges: [u64; 8] = [0, 1, (64 << 10) - 1, 64 << 10, (256 << 10) - 1, 256 << 10, (512 << 10) + 1, 777_777];
    let length = 777_777;
    let content = pattern(length);
    subject.publish("file", &content).await;
    let opened = subject.open("file").await.unwrap();
    for start in edges {
        for end in edges.into_iter().filter(|end| *end >= start) {
            let expected = &content[start as usize..end as usize];
            assert!(range(&opened, start, end).await.unwrap() == expected, "{start}..{end}");
            let read = opened.content.read_at(start, (end - start) as usize).await.unwrap();
            assert!(read == expected, "read_at {start}..{end}");
        }
    }
    let tail = opened.content.read_at(length as u64 - 5, 100).await.unwrap();
    assert!(tail == content[length - 5..]);
    assert_eq!(opened.content.read_at(length as u64, 10).await.unwrap(), "");
    assert_eq!(opened.content.read_at(length as u64 + 7, 10).await.unwrap(), "");
    for promised in [length as u64 + 1, length as u64 + (1 << 20)] {
        assert!(range(&opened, 5, promised).await.is_err(), "a stream that is too short must not end well");
    }
    assert!(range(&opened, length as u64 - 3, length as u64 + 1).await.is_err());
}

pub async fn large_files_arrive_whole(subject: &Subject) {
    // A store's pieces are 8 MiB: none, exactly some, and some with a rest.
    for length in [(8 << 20) - 1, 8 << 20, 16 << 20, (33 << 20) + 12_345] {
        let content = pattern(length);
        let identity = subject.publish("large", &content).await;
        assert_eq!(identity.size(), length as u64);
        assert!(subject.read("large").await.unwrap() == content, "{length}");
    }
    let publish = |number: usize| async move {
        let content = pattern((9 << 20) + number);
        let path = format!("many/{number}");
        subject.publish(&path, &content).await;
        assert!(subject.read(&path).await.unwrap() == content);
    };
    stream::iter(0..8).for_each_concurrent(8, publish).await;
}

pub async fn thousands_of_files_are_listed(subject: &Subject) {
    const COUNT: usize = 2_500;
    let name = |number: usize| format!("tenant/{number:05}.json");
    let content = Bytes::from_static(b"{}");
    stream::iter(0..COUNT)
        .for_each_concurrent(8, |number| {
            let (path, content) = (name(number), content.clone());
            async move {
                subject.publish(&path, &content).await;
            }
        })
        .await;
    assert_eq!(subject.names("tenant").await, (0..COUNT).map(name).collect::<Vec<_>>());
    assert_eq!(subject.folders("").await, ["tenant"]);
    // Nobody has to read to the end.
    let mut first = subject.storage.list_files("tenant").await.unwrap();
    assert!(first.next().await.unwrap().unwrap().path.starts_with("tenant/"));
}

pub async fn hidden_and_inner_files_are_not_listed(subject: &Subject) {
    for path in ["a", "b/c", "b/d/e", "b/.hidden", ".hidden", ".folder/file", "b/d.json"] {
        subject.publish(path, b"x").await;
    }
    assert_eq!(subject.names("").await, ["a"]);
    assert_eq!(subject.folders("").await, ["b"]);
    assert_eq!(subject.names("b").await, ["b/c", "b/d.json"]);
    assert_eq!(subject.folders("b").await, ["d"]);
    for nothing in ["c", "b/c", "b/none"] {
        assert!(subject.names(nothing).await.is_empty(), "{nothing}");
        assert!(subject.folders(nothing).await.is_empty(), "{nothing}");
    }
}

pub async fn only_the_file_that_is_meant_is_removed(subject: &Subject) {
    assert!(subject.storage.capabilities().delete);
    let path = "tenant/file";
    let first = subject.publish(path, b"first").await;
    let second = subject.publish(path, b"other").await;
    assert!(!subject.storage.remove(path, &first, false).await.unwrap());
    assert_eq!(subject.read(path).await.unwrap(), "other");
    assert!(subject.storage.remove(path, &second, true).await.unwrap());
    assert!(subject.open(path).await.is_none());
    assert!(!subject.storage.remove(path, &second, false).await.unwrap());
    assert!(!subject.storage.remove("none/file", &second, false).await.unwrap());
    assert!(subject.names("tenant").await.is_empty());
}

pub async fn odd_names_are_only_names(subject: &Subject) {
    let long = "é".repeat(127) + "x";
    assert_eq!(long.len(), 255);
    let names = [
        "with space.json",
        "accents éàüñ.json",
        "decomposed e\u{301}.json",
        "emoji 🎉.json",
        "中文.json",
        "%41.json",
        "100%.json",
        "%2e%2e%2f.json",
        "plus+plus.json",
        "hash#tag.json",
        "what?.json",
        "a&b=c;d,e.json",
        "it's \"quoted\".json",
        "star*.json",
        "(brackets)[and]{braces}.json",
        "tilde~at@dollar$.json",
        "colon:pipe|less<more>.json",
        "A.json",
        "a.json",
        "..dots...json",
        "no-extension",
        &long,
    ];
    let names: Vec<_> = names.into_iter().filter(|name| !name.starts_with('.')).collect();
    for folder in ["société à & b", "%41 +#?"] {
        let path = |name: &str| format!("{folder}/{name}");
        for name in &names {
            subject.publish(&path(name), name.as_bytes()).await;
        }
        for name in &names {
            assert_eq!(subject.read(&path(name)).await.expect(name), name.as_bytes());
        }
        let expected: BTreeSet<_> = names.iter().map(|name| path(name)).collect();
        assert_eq!(subject.names(folder).await.into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(subject.folders("").await.iter().any(|found| found == folder));
        for name in &names {
            let found = subject.storage.stat(&path(name)).await.unwrap().expect(name);
            assert!(subject.storage.remove(&path(name), &found.identity, false).await.unwrap(), "{name}");
            assert_eq!(subject.storage.stat(&path(name)).await.unwrap(), None, "{name}");
        }
    }
}

pub async fn undo_brings_back_what_was_there(subject: &Subject) {
    let path = "tenant/inner/file";
    let staged = subject.stage(b"first");
    let first = place(subject, &staged, path).await;
    let can = subject.storage.undo(first).await.unwrap();
    if !can {
        assert_eq!(subject.read(path).await.unwrap(), "first", "what cannot be undone must be whole");
        return;
    }
    assert!(subject.open(path).await.is_none());
    assert!(subject.folders("").await.is_empty());

    // What was taken back is in staging again, and can be published by the next attempt.
    let first = place(subject, &staged, path).await;
    subject.storage.settle(first).await;
    let before = subject.storage.stat(path).await.unwrap().unwrap();
    let second = subject.stage(b"second");
    for _ in 0..2 {
        let placed = place(subject, &second, path).await;
        assert_eq!(subject.read(path).await.unwrap(), "second");
        assert!(subject.storage.undo(placed).await.unwrap());
        assert_eq!(subject.read(path).await.unwrap(), "first");
        assert_eq!(subject.storage.stat(path).await.unwrap().unwrap().modified, before.modified);
    }
    let placed = place(subject, &second, path).await;
    subject.storage.settle(placed).await;
    assert_eq!(subject.read(path).await.unwrap(), "second");
    assert_eq!(subject.names("tenant/inner").await, [path]);
}

async fn place(subject: &Subject, staged: &Staged, path: &str) -> Placed {
    let prepared = subject.storage.prepare(staged, path, &new_version(), true).await.unwrap();
    subject.storage.place(prepared, false).await.unwrap()
}

pub async fn a_placed_file_is_found_again(subject: &Subject) {
    for content in [&b"content"[..], &pattern(17 << 20)] {
        let path = format!("tenant/{}", content.len());
        let staged = subject.stage(content);
        let version = new_version();
        let prepared = subject.storage.prepare(&staged, &path, &version, false).await.unwrap();
        let intent = intent(&path, &staged, version, prepared.mark.clone());
        assert_eq!(subject.storage.find_placed(&intent).await.unwrap(), None);

        let placed = subject.storage.place(prepared, false).await.unwrap();
        let found = subject.storage.find_placed(&intent).await.unwrap().unwrap();
        assert_eq!((found.path, found.identity), (path.clone(), placed.identity.clone()));
        subject.storage.settle(placed).await;

        // Of the same length, but another one.
        let mut other = content.to_vec();
        other[0] ^= 1;
        subject.publish(&path, &other).await;
        assert_eq!(subject.storage.find_placed(&intent).await.unwrap(), None);
    }
}

fn intent(path: &str, staged: &Staged, version: String, mark: Mark) -> Intent {
    let record = FileRecord {
        collection: "collection".into(),
        tenant: "tenant".into(),
        file_name: "file".into(),
        storage: "files".into(),
        path: path.into(),
        version,
        size: staged.size,
        crc: staged.crc,
        sha256: None,
        modified: Timestamp::UNIX_EPOCH,
        identity: Identity::Local { device: 0, inode: 0, size: 0, mtime: 0, ctime: 0 },
    };
    Intent { id: 1, action: IntentAction::Publish, record, mark, upload: None }
}

pub async fn what_is_not_there_is_nothing(subject: &Subject) {
    subject.publish("tenant/file", b"x").await;
    for path in ["none", "none/none", "tenant", "tenant/none", "tenant/file/none", &"n".repeat(300)] {
        assert_eq!(subject.storage.stat(path).await.unwrap(), None, "{path}");
        assert!(subject.open(path).await.is_none(), "{path}");
    }
    let mark = subject.storage.folder_mark("none").await.unwrap();
    assert_eq!(mark, None);
    assert_eq!(
        subject.storage.folder_mark("tenant").await.unwrap().is_some(),
        subject.storage.capabilities().shared_folder
    );
    if !subject.storage.capabilities().append {
        assert!(subject.storage.append("log", None, 0, false).await.is_err());
    }
}

pub async fn a_sweep_leaves_published_files(subject: &Subject) {
    subject.publish("tenant/file", b"content").await;
    let prepared = subject.prepare("tenant/other", b"other").await;
    // A crash: nothing is dropped.
    std::mem::forget(prepared);
    subject.storage.sweep().await.unwrap();
    subject.storage.sweep().await.unwrap();
    assert_eq!(subject.names("tenant").await, ["tenant/file"]);
    assert_eq!(subject.folders("").await, ["tenant"]);
    let opened = Arc::new(subject.open("tenant/file").await.unwrap());
    assert_eq!(whole(&opened).await.unwrap(), "content");
}
