//! What one document can ask of the check: it takes a bounded time where others wait, ends when nobody waits for it any more, and has an
//! answer whatever the schema is.

#[expect(dead_code, reason = "the schema of accounts is for others")]
mod support;

use std::time::{Duration, Instant};

use support::{issues, with_schema};
use tidegate_plugin_json_schema::{Config, Format, JsonSchema};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::units::ByteSize;
use tidegate_plugin_sdk::{Validate, Verdict};
use tokio::sync::Mutex;

/// Held by the test whose turn it is: the memory is the process's.
static TURN: Mutex<()> = Mutex::const_new(());

/// What would never end has not ended by then; what ends has, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

const LOOK_AROUND: &str = r#"{"items": {"type": "string", "pattern": "^((?!--)[a-z-]+)+$"}}"#;

/// So many subschemas for the same value before its members; with `unevaluatedProperties` each doubles what the next ones take.
fn doubling(hops: usize) -> String {
    let hop = |number: usize| {
        format!(
            r##""a{number}": {{"allOf": [{{"$ref": "#/$defs/a{}"}}], "unevaluatedProperties": false}}"##,
            number + 1
        )
    };
    let hops: Vec<_> = (0..hops).map(hop).chain([last(hops)]).collect();
    format!(r##"{{"$defs": {{{}}}, "$ref": "#/$defs/a0"}}"##, hops.join(","))
}

fn last(number: usize) -> String {
    format!(r##""a{number}": {{"properties": {{"x": {{"$ref": "#/$defs/a0"}}}}, "type": "object"}}"##)
}

fn nested(depth: usize, inner: &str) -> String {
    format!("{}{inner}{}", r#"{"x":"#.repeat(depth), "}".repeat(depth))
}

/// Texts that take long to match each.
fn complex(count: usize) -> String {
    let texts: Vec<_> = (0..count).map(|number| format!("\"{}!{number}\"", "a".repeat(34))).collect();
    format!("[{}]", texts.join(","))
}

/// Whether the check goes on for long, and keeps nobody waiting meanwhile.
async fn goes_on(check: &JsonSchema, content: String) -> bool {
    let file = MemoryFile::new("a.json", content);
    let begun = Instant::now();
    let ended = tokio::time::timeout(Duration::from_millis(300), check.validate(&file)).await;
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    ended.is_err()
}

fn of_size(max_document: u64, format: Format) -> Config {
    let memory = ByteSize::bytes(10 * max_document);
    Config { max_document: ByteSize::bytes(max_document), memory, format, ..Config::default() }
}

/// Waits for the memory of a check that was dropped.
async fn is_free_again(max_document: u64) {
    let begun = Instant::now();
    let other = with_schema("true", of_size(max_document, Format::Json));
    // It takes all that is allowed.
    let file = MemoryFile::new("a.json", format!("\"{}\"", "a".repeat(max_document as usize - 2)));
    while other.validate(&file).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the memory is not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_check_without_end_holds_nobody_up_and_halts_when_it_is_dropped() {
    let _turn = TURN.lock().await;
    for format in [Format::Json, Format::Ndjson] {
        let check = with_schema(&doubling(16), of_size(10_000, format));
        assert!(goes_on(&check, nested(20, "{}")).await);
        is_free_again(10_000).await;
        // Not even one level of it comes to an end.
        let check = with_schema(&doubling(40), of_size(10_000, format));
        assert!(goes_on(&check, "{}".to_owned()).await);
        is_free_again(10_000).await;
        let check = with_schema(&format!(r#"{{"propertyNames": {}}}"#, either(40)), of_size(10_000, format));
        assert!(goes_on(&check, r#"{"a": 1}"#.to_owned()).await);
        is_free_again(10_000).await;
    }
}

/// Two ways for the same value, again and again, and all of them wrong.
fn either(hops: usize) -> String {
    let mut schema = r#"{"type": "number"}"#.to_owned();
    let mut definitions = Vec::new();
    for number in 0..hops {
        definitions.push(format!(r#""e{number}": {schema}"#));
        schema = format!(r##"{{"anyOf": [{{"$ref": "#/$defs/e{number}"}}, {{"$ref": "#/$defs/e{number}"}}]}}"##);
    }
    format!(r##"{{"$id": "either", "$defs": {{{}}}, {}"##, definitions.join(","), &schema[1..])
}

#[tokio::test]
async fn patterns_that_go_back_are_bounded_each_and_hold_nobody_up() {
    let _turn = TURN.lock().await;
    let check = with_schema(LOOK_AROUND, of_size(60_000, Format::Json));
    assert_eq!(issues(&check, r#"["a-b", "c"]"#).await, []);
    assert_eq!(issues(&check, r#"["a-b", "1"]"#).await, [("/1".to_owned(), "schema-pattern".to_owned())]);
    let begun = Instant::now();
    assert_eq!(issues(&check, complex(3)).await[0].1, "schema-pattern");
    assert!(begun.elapsed() < PATIENCE);
    assert!(goes_on(&check, complex(1_400)).await);
    is_free_again(60_000).await;
}

#[tokio::test]
async fn a_large_document_gives_its_memory_back_when_its_check_is_dropped() {
    let _turn = TURN.lock().await;
    let schema = format!(r#"{{"items": {{"not": {}}}}}"#, either(8));
    let check = with_schema(&schema, of_size(4_000_000, Format::Json));
    assert!(goes_on(&check, format!("[{}\"\"]", "\"aaaaaaaa\",".repeat(360_000))).await);
    is_free_again(4_000_000).await;
}

#[tokio::test]
async fn what_takes_more_steps_than_others_wait_for_is_checked_to_its_end_elsewhere() {
    let _turn = TURN.lock().await;
    // 2^8 ways for each item.
    let schema = format!(r#"{{"items": {}}}"#, either(8));
    for (format, content, path) in [
        (Format::Json, format!("[{}\"a\"]", "1,".repeat(1000)), "/1000"),
        (Format::Ndjson, format!("[1]\n[\"a\"]\n{}", "[2]\n".repeat(1000)), "2:/0"),
    ] {
        let check = with_schema(&schema, Config { format, ..Config::default() });
        let Verdict::Reject(found) = check.validate(&MemoryFile::new("a.json", content)).await.unwrap() else {
            panic!("accepted")
        };
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].code.as_str()), (path, "schema-any-of"));
    }
}

#[tokio::test]
async fn a_text_too_complex_for_its_pattern_is_an_issue_wherever_it_stands() {
    let _turn = TURN.lock().await;
    let pattern = r#"{"type": "string", "pattern": "^(?=a)(a|aa)+\\1$"}"#;
    let text = format!("\"{}!\"", "a".repeat(40));
    for (schema, document, path) in [
        (pattern.to_owned(), text.clone(), ""),
        (format!(r#"{{"properties": {{"a/b": {pattern}}}}}"#), format!(r#"{{"a/b": {text}, "c": 1}}"#), "/a~1b"),
        (format!(r#"{{"items": {pattern}}}"#), format!(r#"["aa", {text}]"#), "/1"),
        (format!(r#"{{"items": {{"properties": {{"a": {pattern}}}}}}}"#), format!(r#"[1, {{"a": {text}}}]"#), "/1/a"),
        (
            format!(r#"{{"anyOf": [{{"required": ["b"]}}, {{"properties": {{"a": {pattern}}}}}]}}"#),
            format!(r#"{{"a": {text}}}"#),
            "/a",
        ),
        (r#"{"propertyNames": {"pattern": "^(?=a)(a|aa)+\\1$"}}"#.to_owned(), format!(r#"{{{text}: 1}}"#), ""),
    ] {
        let check = with_schema(&schema, Config::default());
        let found = issues(&check, document.clone()).await;
        assert_eq!(found.len(), 1, "{schema}: {found:?}");
        assert_eq!((found[0].0.as_str(), found[0].1.as_str()), (path, "schema-pattern"), "{schema}");
        // As large as one that is checked elsewhere.
        let large = format!("{document}{}", " ".repeat(100_000));
        assert_eq!(issues(&check, large).await, found);
    }
}

#[tokio::test]
async fn in_a_document_too_large_to_have_its_shape_a_complex_text_is_an_issue_of_the_whole() {
    let _turn = TURN.lock().await;
    let check = with_schema(r#"{"items": {"pattern": "^(?=a)(a|aa)+\\1$"}}"#, Config::default());
    let content = format!("[{}\"{}!\"]", "1,".repeat(200_000), "a".repeat(40));
    assert_eq!(issues(&check, content).await, [(String::new(), "schema-pattern".to_owned())]);
}

/// So many subschemas of a kind for the same value before its members.
fn hops(count: usize, kind: &str) -> String {
    let reference = |number: usize| format!(r##"{{"$ref": "#/$defs/a{number}"}}"##);
    let hop = |number: usize| format!(r#""a{number}": {}"#, kind.replace("NEXT", &reference(number + 1)));
    let hops: Vec<_> = (0..count).map(hop).chain([last(count)]).collect();
    format!(r##"{{"$defs": {{{}}}, "$ref": "#/$defs/a0"}}"##, hops.join(","))
}

#[tokio::test]
async fn a_schema_with_long_ways_for_a_value_has_stack_enough_for_the_deepest_document() {
    let _turn = TURN.lock().await;
    for (count, kind) in [
        (480, r#"{"allOf": [NEXT]}"#),
        (32, r#"{"anyOf": [{"type": "null"}, NEXT]}"#),
        (24, r#"{"anyOf": [{"allOf": [NEXT]}]}"#),
        (32, r#"{"not": {"not": NEXT}}"#),
        (32, r#"{"allOf": [NEXT]}"#),
        (32, r#"{"if": true, "then": NEXT}"#),
    ] {
        let check = with_schema(&hops(count, kind), Config::default());
        assert_eq!(issues(&check, nested(127, "{}")).await, [], "{kind}");
        assert!(!issues(&check, nested(127, "1")).await.is_empty(), "{kind}");
    }
}

/// The anchor of `strict`, by whose way the reference is come to, and not that of `tree`.
#[tokio::test]
async fn a_dynamic_reference_counts_as_long_as_the_longest_that_it_may_lead_to() {
    let _turn = TURN.lock().await;
    let reference = |number: usize| format!(r##"{{"$ref": "#/$defs/a{number}"}}"##);
    let hop =
        |number: usize| format!(r#""a{number}": {{"allOf": [{}, {{"minProperties": 0}}]}}"#, reference(number + 1));
    let hops: Vec<_> = (0..80).map(hop).collect();
    let strict = format!(
        r##"{{"$id": "strict", "$dynamicAnchor": "n", "$ref": "#/$defs/a0", "$defs": {{{}, "a80": {{"$ref": "tree"}}}}}}"##,
        hops.join(",")
    );
    let tree =
        r##"{"$id": "tree", "$dynamicAnchor": "n", "type": "object", "properties": {"x": {"$dynamicRef": "#n"}}}"##;
    let schema =
        format!(r#"{{"properties": {{"x": {{"$ref": "strict"}}}}, "$defs": {{"tree": {tree}, "strict": {strict}}}}}"#);
    let check = with_schema(&schema, Config::default());
    assert_eq!(issues(&check, nested(127, "{}")).await, []);
    assert!(!issues(&check, nested(127, "1")).await.is_empty());
}

#[tokio::test]
async fn a_long_chain_of_references_is_followed_and_let_go_of() {
    let _turn = TURN.lock().await;
    let hop = |number: usize| format!(r##""a{number}": {{"$ref": "#/$defs/a{}"}}"##, number + 1);
    let chain: Vec<_> = (0..900).map(hop).chain([r#""a900": {"type": "string"}"#.to_owned()]).collect();
    let schema = format!(r##"{{"$defs": {{{}}}, "$ref": "#/$defs/a0"}}"##, chain.join(","));
    let check = with_schema(&schema, Config::default());
    assert_eq!(issues(&check, r#""a""#).await, []);
    assert_eq!(issues(&check, "1").await, [(String::new(), "schema-type".to_owned())]);
}

#[tokio::test]
async fn a_long_chain_of_values_in_each_other_is_let_go_of() {
    let _turn = TURN.lock().await;
    let hop = |number: usize| format!(r##""a{number}": {{"items": {{"$ref": "#/$defs/a{}"}}}}"##, number + 1);
    let chain: Vec<_> = (0..9_000).map(hop).chain([r#""a9000": {"type": "string"}"#.to_owned()]).collect();
    let schema = format!(r##"{{"$defs": {{{}}}, "$ref": "#/$defs/a0"}}"##, chain.join(","));
    let check = with_schema(&schema, Config::default());
    assert_eq!(issues(&check, format!("{}1{}", "[".repeat(128), "]".repeat(128))).await, []);
}
