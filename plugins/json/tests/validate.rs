//! The check through the contract: life cycle, small and large files, contents that cannot be read.

use std::path::Path;

use tidegate_plugin_json::{Config, DuplicateKeys, Json};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, ErrorKind, Plugin, Validate, Verdict};

fn file(content: &str) -> MemoryFile {
    MemoryFile::new("comptes_2024.json", content.to_owned()).in_pieces_of(10_000)
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
        assert_eq!(json.validate(&file(&good)).await.unwrap(), Verdict::Accept);
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
        let Verdict::Reject(issues) = json.validate(&file(&bad)).await.unwrap() else { panic!("accepted") };
        assert_eq!(issues.len(), 1);
        assert_eq!((issues[0].path.as_str(), issues[0].code.as_str()), (path, code), "{issues:?}");
        assert!(issues[0].message.contains(message), "{issues:?}");
    }
}

#[tokio::test]
async fn the_depth_is_the_configured_one() {
    let json = json(Config { max_depth: 2, ..Config::default() });
    assert_eq!(json.validate(&file("[[1]]")).await.unwrap(), Verdict::Accept);
    let Verdict::Reject(issues) = json.validate(&file("[[[1]]]")).await.unwrap() else { panic!("accepted") };
    assert_eq!((issues[0].path.as_str(), issues[0].code.as_str()), ("1:3", "json-depth"));
}

/// A content that is cut must never pass for the shorter document that it then is.
#[tokio::test]
async fn a_content_that_cannot_be_read_is_an_error_and_no_verdict() {
    let json = json(Config::default());
    for content in ["[1, 2]".to_owned(), large("1")] {
        let broken = file(&content).breaking_at(content.len() - 1);
        let error = json.validate(&broken).await.unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Read, true), "{error}");

        let short = file(&content).announced_as(content.len() as u64 + 1);
        let error = json.validate(&short).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Read, "{error}");
    }
}

#[tokio::test]
async fn where_it_is_asked_to_it_refuses_a_key_that_stands_twice() {
    let strict = json(Config { duplicate_keys: DuplicateKeys::Reject, ..Config::default() });
    let large = format!("[{}{{\"solde\": 1, \"sold\\u0065\": 2}}]", "{\"compte\": \"é\"},\n".repeat(20_000));
    for (text, path) in [(r#"{"a": 1, "a": 2}"#.to_owned(), "1:10"), (large, "20001:14")] {
        let twice = file(&text);
        let Verdict::Reject(issues) = strict.validate(&twice).await.unwrap() else { panic!("accepted") };
        assert_eq!((&*issues[0].path, &*issues[0].code), (path, "json-duplicate-key"), "{issues:?}");
        let lenient = json(Config::default());
        assert_eq!(lenient.validate(&twice).await.unwrap(), Verdict::Accept);
    }
    let few = json(Config { duplicate_keys: DuplicateKeys::Reject, max_keys: 2, ..Config::default() });
    let error = few.validate(&file(r#"{"a": 1, "b": 2, "c": 3}"#)).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, false));
}
