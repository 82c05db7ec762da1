//! The check through the contract: life cycle, small and large files, contents that cannot be read.

use std::io;
use std::path::Path;

use futures_util::stream;
use tidegate_plugin_json::{Config, DuplicateKeys, Json};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{
    Build, ByteStream, Bytes, ErrorKind, FileHandle, Metadata, Plugin, Validate, Verdict, async_trait,
};

/// A file in memory whose storage breaks at some byte, if it says so.
struct Memory {
    metadata: Metadata,
    content: Bytes,
    breaks_at: Option<u64>,
}

impl Memory {
    fn new(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let metadata = Metadata::new("societes", "Société", "comptes_2024.json", content.len() as u64);
        Self { metadata, content, breaks_at: None }
    }
}

#[async_trait]
impl FileHandle for Memory {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = self.content.len().min(offset as usize);
        let end = self.content.len().min(start + length);
        match self.breaks_at {
            Some(at) if at < end as u64 => Err(io::Error::other("the disk is gone")),
            _ => Ok(self.content.slice(start..end)),
        }
    }

    fn stream(&self) -> ByteStream<'_> {
        let pieces = self.content.chunks(10_000).scan(0, |offset, piece| {
            let start = *offset;
            *offset += piece.len();
            Some((start, piece))
        });
        Box::pin(stream::iter(pieces.map(|(start, piece)| match self.breaks_at {
            Some(at) if at < (start + piece.len()) as u64 => Err(io::Error::other("the disk is gone")),
            _ => Ok(self.content.slice_ref(piece)),
        })))
    }

    fn local_path(&self) -> Option<&Path> {
        None
    }
}

fn json(config: Config) -> Json {
    assert!(Json::check(&config, Path::new(".")).is_empty());
    Json::build(config, Path::new(".")).unwrap()
}

fn large(inner: &str) -> String {
    format!("[{}{inner}]", "{\"compte\": \"512000\", \"libellé\": \"Crédit\"},\n".repeat(20_000))
}

#[tokio::test]
async fn accepts_what_is_json() {
    let json = json(Config::default());
    for good in ["{}".to_owned(), large("1")] {
        assert_eq!(json.validate(&Memory::new(good)).await.unwrap(), Verdict::Accept);
    }
    json.close().await;
}

#[tokio::test]
async fn rejects_with_one_issue_that_says_where() {
    let json = json(Config::default());
    for (bad, path, code, message) in [
        (
            "{\"société\": tru }".into(),
            "1:16",
            "json-syntax",
            "expected `true`, found a blank at line 1, column 16 (byte 17)",
        ),
        (String::new(), "1:1", "json-empty", "the file is empty, expected a JSON value at line 1, column 1 (byte 0)"),
        (large("NaN"), "20001:1", "json-nan", "at line 20001, column 1 (byte 900001)"),
        (large("1") + "x", "20001:3", "json-syntax", "nothing more after the value, found `x`"),
        (large("\""), "20001:3", "json-syntax", "the closing `\"` of a string, but the file ends"),
    ] {
        let Verdict::Reject(issues) = json.validate(&Memory::new(bad)).await.unwrap() else { panic!("accepted") };
        assert_eq!(issues.len(), 1);
        assert_eq!((issues[0].path.as_str(), issues[0].code.as_str()), (path, code), "{issues:?}");
        assert!(issues[0].message.contains(message), "{issues:?}");
    }
}

#[tokio::test]
async fn the_depth_is_the_configured_one() {
    let json = json(Config { max_depth: 2, ..Config::default() });
    assert_eq!(json.validate(&Memory::new("[[1]]")).await.unwrap(), Verdict::Accept);
    let Verdict::Reject(issues) = json.validate(&Memory::new("[[[1]]]")).await.unwrap() else { panic!("accepted") };
    assert_eq!((issues[0].path.as_str(), issues[0].code.as_str()), ("1:3", "json-depth"));
}

/// A content that is cut must never pass for the shorter document that it then is.
#[tokio::test]
async fn a_content_that_cannot_be_read_is_an_error_and_no_verdict() {
    let json = json(Config::default());
    for content in ["[1, 2]".to_owned(), large("1")] {
        let mut broken = Memory::new(content.clone());
        broken.breaks_at = Some(content.len() as u64 - 1);
        let error = json.validate(&broken).await.unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Read, true), "{error}");

        let mut short = Memory::new(content.clone());
        short.metadata.size += 1;
        let error = json.validate(&short).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Read, "{error}");
    }
}

#[tokio::test]
async fn where_it_is_asked_to_it_refuses_a_key_that_stands_twice() {
    let strict = json(Config { duplicate_keys: DuplicateKeys::Reject, ..Config::default() });
    let large = format!("[{}{{\"solde\": 1, \"sold\\u0065\": 2}}]", "{\"compte\": \"é\"},\n".repeat(20_000));
    for (text, path) in [(r#"{"a": 1, "a": 2}"#.to_owned(), "1:10"), (large, "20001:14")] {
        let file = MemoryFile::new("comptes.json", text.clone());
        let Verdict::Reject(issues) = strict.validate(&file).await.unwrap() else { panic!("accepted") };
        assert_eq!((&*issues[0].path, &*issues[0].code), (path, "json-duplicate-key"), "{issues:?}");
        let lenient = json(Config::default());
        assert_eq!(lenient.validate(&file).await.unwrap(), Verdict::Accept);
    }
    let few = json(Config { duplicate_keys: DuplicateKeys::Reject, max_keys: 2, ..Config::default() });
    let error = few.validate(&MemoryFile::new("a.json", r#"{"a": 1, "b": 2, "c": 3}"#)).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, false));
}
