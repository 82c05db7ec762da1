//! The memory of the documents that are being checked. It is the process's, so these tests have one for themselves, and take turns.

mod support;

use std::io;
use std::path::Path;
use std::time::Duration;

use support::{accounts, issues, many_accounts, try_issues, with_schema};
use tidegate_plugin_json_schema::{Config, Format, JsonSchema};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::units::ByteSize;
use tidegate_plugin_sdk::{
    ByteStream, Bytes, ErrorKind, FileHandle, Issue, Metadata, PluginError, Validate, Verdict, async_trait,
};
use tokio::sync::{Mutex, Notify};

/// Held by the test whose turn it is.
static TURN: Mutex<()> = Mutex::const_new(());

fn with_memory(max_document: ByteSize, memory: ByteSize) -> JsonSchema {
    with_schema("true", Config { max_document, memory, ..Config::default() })
}

#[tokio::test]
async fn a_file_of_lines_may_be_larger_than_the_memory() {
    let _turn = TURN.lock().await;
    let config = Config {
        format: Format::Ndjson,
        max_document: ByteSize::bytes(1000),
        memory: ByteSize::bytes(10_240),
        ..Config::default()
    };
    let check = accounts(config);
    let line = many_accounts(5).replace('\n', "");
    assert_eq!(issues(&check, format!("{line}\n").repeat(10_000)).await, []);
    let error = try_issues(&check, format!("{line}\n{}", many_accounts(20).replace('\n', ""))).await.unwrap_err();
    assert!(
        error.kind == ErrorKind::Limit && error.context.contains("line 2") && error.context.contains("`max_document`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_document_past_a_bound_is_a_failure_that_says_which() {
    let _turn = TURN.lock().await;
    let check = accounts(Config { max_document: ByteSize::bytes(100), ..Config::default() });
    let error = try_issues(&check, many_accounts(10)).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, false));
    assert!(error.context.contains("the 100 B that `max_document` allows"), "{error}");

    let check = with_memory(ByteSize::bytes(10_000), ByteSize::bytes(100_000));
    let error = try_issues(&check, format!("[{}1]", "1,".repeat(4_900))).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, false));
    assert!(error.context.contains("`memory` allows 100 kB for all of them"), "{error}");
    // What was held is free again.
    assert_eq!(issues(&check, format!("\"{}\"", "a".repeat(9_900))).await, []);
}

/// A file that is read when it is told to be, so that its check holds memory until then.
struct Slow {
    file: MemoryFile,
    go: Notify,
}

#[async_trait]
impl FileHandle for Slow {
    fn metadata(&self) -> &Metadata {
        self.file.metadata()
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.go.notified().await;
        self.file.read_at(offset, length).await
    }

    fn stream(&self) -> ByteStream<'_> {
        self.file.stream()
    }

    fn local_path(&self) -> Option<&Path> {
        None
    }
}

/// Nearly 1 MiB of JSON.
fn large() -> String {
    format!("[{}1]", "1000000000,".repeat(90_000))
}

/// What `second` says of a large document while `first` has another one.
async fn while_another_is_checked(first: &JsonSchema, second: &JsonSchema) -> Result<Vec<Issue>, PluginError> {
    let slow = Slow { file: MemoryFile::new("slow.json", large()), go: Notify::new() };
    let meanwhile = async {
        let answer = try_issues(second, large()).await;
        slow.go.notify_one();
        answer
    };
    let (verdict, answer) = tokio::join!(first.validate(&slow), meanwhile);
    assert_eq!(verdict.unwrap(), Verdict::Accept);
    answer
}

#[tokio::test]
async fn documents_share_the_memory_whatever_instance_checks_them() {
    let _turn = TURN.lock().await;
    let one = with_memory(ByteSize::mib(1), ByteSize::mib(10));
    let other = with_memory(ByteSize::mib(1), ByteSize::mib(10));
    for (first, second) in [(&one, &one), (&one, &other), (&other, &one)] {
        let error = while_another_is_checked(first, second).await.unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, true), "{error}");
        assert!(error.context.contains("the 10 MiB that `memory` allows"), "{error}");
        assert_eq!(issues(second, large()).await, []);
    }
    // Whoever is allowed more takes one in beside those of others.
    let roomy = with_memory(ByteSize::mib(1), ByteSize::mib(20));
    assert_eq!(while_another_is_checked(&one, &roomy).await.unwrap(), []);
    while_another_is_checked(&roomy, &one).await.unwrap_err();
}

#[tokio::test]
async fn a_check_that_is_dropped_gives_its_memory_back() {
    let _turn = TURN.lock().await;
    let check = with_memory(ByteSize::mib(1), ByteSize::mib(10));
    let slow = Slow { file: MemoryFile::new("slow.json", large()), go: Notify::new() };
    let dropped = tokio::time::timeout(Duration::from_millis(10), check.validate(&slow)).await;
    assert!(dropped.is_err());
    drop(check);
    assert_eq!(issues(&with_memory(ByteSize::mib(1), ByteSize::mib(10)), large()).await, []);
}
