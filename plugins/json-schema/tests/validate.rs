//! The check through the contract: documents, lines, drafts, bounds.

mod support;

use std::fs;

use support::{accounts, examples, issues, many_accounts, try_issues, with_schema};
use tidegate_plugin_json::{self as json, Json};
use tidegate_plugin_json_schema::{Config, Format, JsonSchema};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::units::ByteSize;
use tidegate_plugin_sdk::{Build, ErrorKind, Plugin, Validate, Verdict};

fn config(schema: &str) -> Config {
    Config { schema: Some(schema.into()), ..Config::default() }
}

fn expected(issues: &[(&str, &str)]) -> Vec<(String, String)> {
    issues.iter().map(|(path, code)| ((*path).to_owned(), (*code).to_owned())).collect()
}

#[tokio::test]
async fn accepts_what_the_schema_allows() {
    let check = accounts(Config::default());
    assert_eq!(issues(&check, fs::read(examples().join("comptes_bons.json")).unwrap()).await, []);
    assert_eq!(issues(&check, many_accounts(5000)).await, []);
    check.close().await;
}

#[tokio::test]
async fn rejects_with_each_issue_and_where_it_is() {
    let check = accounts(Config::default());
    let mut found = issues(&check, fs::read(examples().join("comptes_mauvais.json")).unwrap()).await;
    found.sort();
    let places = [
        ("/annee", "schema-type"),
        ("/comptes/0/solde", "schema-type"),
        ("/comptes/1/numero", "schema-pattern"),
        ("/comptes/2", "schema-additional-properties"),
        ("/comptes/2", "schema-required"),
    ];
    assert_eq!(found, expected(&places));

    let issues = try_issues(&check, r#"{"annee": 1850, "comptes": []}"#).await.unwrap();
    assert_eq!(issues[0].message, "the number must be at least 1900");
    let issues = try_issues(&check, r#"{"comptes": []}"#).await.unwrap();
    assert_eq!((issues[0].path.as_str(), issues[0].message.as_str()), ("", "the property `annee` is missing"));
}

#[tokio::test]
async fn every_draft_compiles_and_rejects() {
    for draft in [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        let schema = format!(
            r##"{{"$schema": "{draft}", "required": ["annee"], "properties": {{"annee": {{"$ref": "#/definitions/annee"}}}},
                "definitions": {{"annee": {{"type": "integer"}}}}}}"##
        );
        let check = with_schema(&schema, Config::default());
        assert_eq!(issues(&check, r#"{"annee": 2024}"#).await, [], "{draft}");
        assert_eq!(issues(&check, r#"{"annee": "x"}"#).await, expected(&[("/annee", "schema-type")]), "{draft}");
        assert_eq!(issues(&check, "{}").await, expected(&[("", "schema-required")]), "{draft}");
    }
}

/// The representation of documents is our own, so what depends on it is asked of each keyword here.
#[tokio::test]
async fn keywords_mean_what_they_mean() {
    for (schema, good, bad, code) in [
        (r#"{"const": {"a": [1, null]}}"#, r#"{"a": [1.0, null]}"#, r#"{"a": [2, null]}"#, "schema-const"),
        (r#"{"enum": ["a", 1]}"#, "1.0", r#""b""#, "schema-enum"),
        (r#"{"uniqueItems": true}"#, "[1, 2, true]", "[1, 2, 1.0]", "schema-unique-items"),
        (r#"{"propertyNames": {"maxLength": 2}}"#, r#"{"ab": 1}"#, r#"{"abc": 1}"#, "schema-property-names"),
        (r#"{"contains": {"type": "string"}}"#, r#"[1, "a"]"#, "[1]", "schema-contains"),
        (r#"{"type": "integer"}"#, "1.0", "1.5", "schema-type"),
        (r#"{"type": ["string", "null"]}"#, "null", "1", "schema-type"),
        (r#"{"maxLength": 3}"#, r#""été""#, r#""étés""#, "schema-max-length"),
        (r#"{"multipleOf": 0.01}"#, "1250.40", "1250.405", "schema-multiple-of"),
        (r#"{"minItems": 1}"#, "[0]", "[]", "schema-min-items"),
        (r#"{"maxProperties": 1}"#, r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#, "schema-max-properties"),
        (r#"{"not": {"type": "string"}}"#, "1", r#""a""#, "schema-not"),
        (r#"{"anyOf": [{"type": "string"}, {"minimum": 3}]}"#, "3", "2", "schema-any-of"),
        (r#"{"oneOf": [{"type": "number"}, {"minimum": 3}]}"#, "2", "3", "schema-one-of"),
        (r#"{"if": {"required": ["a"]}, "then": {"required": ["b"]}}"#, "{}", r#"{"a": 1}"#, "schema-required"),
        (r#"{"dependentRequired": {"a": ["b"]}}"#, "{}", r#"{"a": 1}"#, "schema-required"),
        (r#"{"prefixItems": [true], "items": false}"#, "[1]", "[1, 2]", "schema-false-schema"),
        (
            r#"{"properties": {"a": true}, "unevaluatedProperties": false}"#,
            r#"{"a": 1}"#,
            r#"{"b": 1}"#,
            "schema-unevaluated-properties",
        ),
        (r#"{"pattern": "^(?!old)[a-z]+$"}"#, r#""new""#, r#""older""#, "schema-pattern"),
        (r#"{"pattern": "^(.)\\1$"}"#, r#""aa""#, r#""ab""#, "schema-pattern"),
        (r#"{"patternProperties": {"^a": {"type": "string"}}}"#, r#"{"b": 1}"#, r#"{"ab": 1}"#, "schema-type"),
        (
            r#"{"$schema": "http://json-schema.org/draft-07/schema#", "format": "date"}"#,
            r#""2024-02-29""#,
            r#""2023-02-29""#,
            "schema-format",
        ),
        (
            r##"{"properties": {"next": {"$ref": "#"}}, "additionalProperties": false}"##,
            r#"{"next": {"next": {}}}"#,
            r#"{"next": {"next": {"a": 1}}}"#,
            "schema-additional-properties",
        ),
    ] {
        let check = with_schema(schema, Config::default());
        assert_eq!(issues(&check, good).await, [], "{schema} of {good}");
        let found = issues(&check, bad).await;
        assert!(found.iter().any(|(_, found)| found == code), "{schema} of {bad}: {found:?}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_rejected_with_line_and_column() {
    let check = accounts(Config { max_depth: 3, ..Config::default() });
    for (content, path, code) in [
        (&b"{\"annee\":\n 20 24}"[..], "2:5", "json-syntax"),
        (b"", "1:1", "json-syntax"),
        (b"[[[[]]]]", "1:4", "json-depth"),
        (b"{\n\"\xc3\xa9\xff\"}", "2:3", "json-utf8"),
    ] {
        assert_eq!(issues(&check, content).await, expected(&[(path, code)]), "{}", content.escape_ascii());
    }
    let issues = try_issues(&check, "{} x").await.unwrap();
    assert!(issues[0].message.starts_with("this is not JSON: trailing characters"), "{issues:?}");
}

#[tokio::test]
async fn what_the_check_of_json_refuses_is_refused_without_it() {
    let schema = with_schema("true", Config::default());
    let json = Json::build(json::Config::default(), examples()).unwrap();
    let too_deep = "[".repeat(513) + &"]".repeat(513);
    for bad in [
        &b""[..],
        b" ",
        b"{",
        b"[1, ]",
        b"{\"a\" 1}",
        b"{'a': 1}",
        b"[01]",
        b"[NaN]",
        b"[-Infinity]",
        b"1 2",
        b"\"a\nb\"",
        b"\"\\x\"",
        b"\"\\ud800\\u\"",
        b"\"\xff\"",
        b"\xef\xbb\xbf{}",
        b"// a comment\n{}",
        too_deep.as_bytes(),
    ] {
        let verdict = json.validate(&MemoryFile::new("a.json", bad.to_vec())).await.unwrap();
        assert!(matches!(verdict, Verdict::Reject(_)), "{}", bad.escape_ascii());
        assert_eq!(issues(&schema, bad).await.len(), 1, "{}", bad.escape_ascii());
    }
    assert_eq!(issues(&schema, r#"{"a": 1, "a": 2}"#).await, [], "duplicate keys are not for a schema");
}

#[tokio::test]
async fn the_deepest_document_that_may_be_allowed_fits_into_a_stack() {
    let schema = r##"{"anyOf": [{"type": "number"}, {"items": {"$ref": "#"}, "properties": {"a": {"$ref": "#"}}, "type": ["array", "object"]}]}"##;
    let check = with_schema(schema, Config::default());
    let nested = |inner: &str| format!("{}{inner}{}", "[{\"a\":".repeat(64), "}]".repeat(64));
    assert_eq!(issues(&check, nested("1")).await, []);
    assert_eq!(issues(&check, nested("\"a\"")).await, expected(&[("", "schema-any-of")]));
    assert_eq!(issues(&check, nested("[]")).await[0].1, "json-depth");
}

#[tokio::test]
async fn lines_are_checked_each_for_itself() {
    let check = accounts(Config { format: Format::Ndjson, ..Config::default() });
    let good = r#"{"annee": 2024, "comptes": []}"#;
    let bad = r#"{"annee": 2024, "comptes": [{"numero": "1", "solde": "x"}]}"#;
    assert_eq!(issues(&check, "").await, []);
    assert_eq!(issues(&check, good).await, []);
    let content = format!("{good}\n{bad}\r\n\n{{\"annee\": 20 24}}\n{good}\n{bad}");
    let places =
        [("2:/comptes/0/solde", "schema-type"), ("4:14", "json-syntax"), ("6:/comptes/0/solde", "schema-type")];
    assert_eq!(issues(&check, content).await, expected(&places));
    assert_eq!(issues(&check, "1\n").await, expected(&[("1:", "schema-type")]));
}

#[tokio::test]
async fn lines_are_the_same_whatever_the_pieces_are() {
    let check = accounts(Config { format: Format::Ndjson, ..Config::default() });
    let long = many_accounts(300).replace('\n', "");
    let content = format!("{long}\n\n1\n{long}\n{}\n2", long.replace("2024", "\"été\""));
    let places = [("3:", "schema-type"), ("5:/annee", "schema-type"), ("6:", "schema-type")];
    for length in [1, 7, 1000, 30_000, 1 << 20] {
        let file = MemoryFile::new("a.ndjson", content.clone()).in_pieces_of(length);
        let Verdict::Reject(issues) = check.validate(&file).await.unwrap() else { panic!("accepted") };
        let found: Vec<_> = issues.into_iter().map(|issue| (issue.path, issue.code)).collect();
        assert_eq!(found, expected(&places), "in pieces of {length}");
    }
}

#[tokio::test]
async fn what_was_found_counts_whatever_cannot_be_checked_after_it() {
    let config = Config { format: Format::Ndjson, max_document: ByteSize::bytes(100), ..Config::default() };
    let check = with_schema(r#"{"type": "integer"}"#, config);
    let long = format!("1{}", " ".repeat(100));
    for length in [1, 7, 1000] {
        for (after, rest) in [("", ""), ("\n", ""), ("\n", "\"b\"\n")] {
            let content = format!("\"a\"\n{long}{after}{rest}");
            let file = MemoryFile::new("a.ndjson", content).in_pieces_of(length);
            let Verdict::Reject(issues) = check.validate(&file).await.unwrap() else { panic!("accepted") };
            let found: Vec<_> = issues.into_iter().map(|issue| (issue.path, issue.code)).collect();
            assert_eq!(found, expected(&[("1:", "schema-type"), ("", "schema-more")]), "in pieces of {length}");
        }
        let file = MemoryFile::new("a.ndjson", format!("1\n{long}")).in_pieces_of(length);
        assert_eq!(check.validate(&file).await.unwrap_err().kind, ErrorKind::Limit);
    }
    let broken = MemoryFile::new("a.ndjson", "\"a\"\n1\n").in_pieces_of(4).breaking_at(5);
    assert!(matches!(check.validate(&broken).await.unwrap(), Verdict::Reject(_)));
}

#[tokio::test]
async fn what_ends_a_line_is_no_part_of_it() {
    let config = Config { format: Format::Ndjson, max_document: ByteSize::bytes(100), ..Config::default() };
    let check = with_schema(r#"{"type": "integer"}"#, config);
    let line = |length: usize| format!("1{}", " ".repeat(length - 1));
    for length in [1, 7, 101, 102, 1000] {
        for end in ["", "\n", "\r\n"] {
            for before in ["", "1\r\n"] {
                let file =
                    |line: String| MemoryFile::new("a.ndjson", format!("{before}{line}{end}")).in_pieces_of(length);
                assert_eq!(check.validate(&file(line(100))).await.unwrap(), Verdict::Accept, "{length} {end:?}");
                check.validate(&file(line(101))).await.unwrap_err();
            }
        }
    }
}

#[tokio::test]
async fn a_list_of_issues_that_is_cut_says_so() {
    let wrong = |count: usize| format!("[{}]", vec!["\"a\""; count].join(","));
    for format in [Format::Json, Format::Ndjson] {
        let check =
            with_schema(r#"{"items": {"type": "number"}}"#, Config { max_issues: 3, format, ..Config::default() });
        let found = issues(&check, wrong(3)).await;
        assert_eq!(found.len(), 3);
        assert!(found[2].0.ends_with("/2") && found[2].1 == "schema-type", "{found:?}");
        let found = issues(&check, wrong(4)).await;
        assert_eq!((found.len(), found[3].1.as_str()), (4, "schema-more"));
    }
}

/// Such a document has millions of errors, which the validator would all collect before it gives out one.
#[tokio::test]
async fn a_document_in_which_everything_is_wrong_takes_no_more_memory_and_time() {
    let schema = r#"{"type": "array", "maxItems": 5, "items": {"type": "string", "enum": ["a"], "minimum": 5}}"#;
    let check = with_schema(schema, Config { max_issues: 10_000, ..Config::default() });
    let found = issues(&check, format!("[{}1]", "1,".repeat(2_000_000))).await;
    assert!((5_000..10_000).contains(&found.len()), "{}", found.len());
    assert_eq!(found.last().unwrap().1, "schema-more");
    let invented = found.iter().filter(|(_, code)| code == "schema-max-items").count();
    assert_eq!(invented, 1, "an array that looks empty past the bound is not too short, nor one too long not so");
}

#[tokio::test]
async fn long_names_make_no_long_issues() {
    let check = with_schema(r#"{"additionalProperties": {"items": {"type": "string"}}}"#, Config::default());
    let name = "n".repeat(1_000_000);
    let found = try_issues(&check, format!("{{\"{name}\": [{}1]}}", "1,".repeat(100_000))).await.unwrap();
    assert!(found.len() < 10 && found.iter().all(|issue| issue.path.len() < 2000), "{}", found.len());
    assert_eq!(found.last().unwrap().code, "schema-more");
}

/// A content that is cut must never pass for the shorter document that it then is.
#[tokio::test]
async fn a_content_that_cannot_be_read_is_an_error_and_no_verdict() {
    for format in [Format::Json, Format::Ndjson] {
        let check = accounts(Config { format, ..Config::default() });
        let content = many_accounts(1);
        let broken = MemoryFile::new("a.json", content.clone()).breaking_at(content.len() - 1);
        let error = check.validate(&broken).await.unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Read, true), "{error}");
    }
}

#[test]
fn options_that_are_wrong_are_told_at_once_with_what_to_write() {
    let wrong = Config { max_depth: 0, memory: ByteSize::bytes(1), ..config("none.json") };
    let issues = JsonSchema::check(&wrong, examples());
    let options: Vec<_> = issues.iter().map(|issue| issue.option.as_str()).collect();
    assert_eq!(options, ["schema", "memory", "max_depth"]);
    assert!(issues[0].message.contains("none.json"), "{issues:?}");
    assert_eq!(JsonSchema::check(&Config::default(), examples())[0].option, "schema");
    assert!(JsonSchema::build(Config::default(), examples()).is_err());
}
