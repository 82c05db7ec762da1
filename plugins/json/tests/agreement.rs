//! Random documents, and documents with random damage: the scanner and `serde_json` must agree on each.
//!
//! `IgnoredAny` checks the same grammar and, like the scanner, looks neither into numbers nor at surrogates. It passes
//! invalid UTF-8 and any depth: those two are asked of `std` and of a count of our own.

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use tidegate_plugin_json::scanner::{Scanner, SyntaxError};

const MAX_DEPTH: usize = 6;

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), SyntaxError> {
    let mut scanner = Scanner::new(MAX_DEPTH);
    pieces.into_iter().try_for_each(|piece| scanner.push(piece))?;
    scanner.finish()
}

fn reference(document: &[u8]) -> Result<(), Category> {
    serde_json::from_slice::<IgnoredAny>(document).map(drop).map_err(|error| error.classify())
}

/// Whether `serde_json` misses nothing but the rest. Where a number lacks its next digit, it calls that an error.
fn can_go_on(document: &[u8]) -> bool {
    let goes_on = |document: &[u8]| !matches!(reference(document), Err(Category::Syntax | Category::Data));
    goes_on(document) || goes_on(&[document, b"0"].concat())
}

/// How deep a well-formed document is.
fn depth(document: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in document.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

fn is_good(document: &[u8]) -> bool {
    reference(document).is_ok() && std::str::from_utf8(document).is_ok_and(|text| depth(text) <= MAX_DEPTH)
}

/// The answer on `document`, and the place of an error, hold what they promise.
fn check(document: &[u8]) -> Result<(), TestCaseError> {
    let shown = document.escape_ascii().to_string();
    let answer = scan([document]);
    prop_assert_eq!(answer.is_ok(), is_good(document), "{:?} of {}", answer, shown);
    let Err(error) = answer else { return Ok(()) };

    let place = error.position;
    let offset = place.offset as usize;
    prop_assert!(offset <= document.len());
    let before = &document[..offset];
    if !matches!(error.code(), "json-bom" | "json-encoding") {
        // All was well up to there: it could have gone on to a good end.
        prop_assert!(can_go_on(before), "{} of {}", error, shown);
        let text = std::str::from_utf8(before);
        prop_assert!(text.is_ok(), "{} of {}", error, shown);
    }
    let text = String::from_utf8_lossy(before);
    prop_assert_eq!(place.line as usize, text.matches('\n').count() + 1);
    prop_assert_eq!(place.column as usize, text.rsplit('\n').next().unwrap_or("").chars().count() + 1);
    Ok(())
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,20}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,9}", inner, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn document() -> impl Strategy<Value = Vec<u8>> {
    (json(), any::<bool>()).prop_map(|(value, pretty)| {
        let bytes = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        bytes.expect("a value of ours can be written")
    })
}

/// Bytes that matter to the grammar, more often than others.
fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        6 => prop::sample::select(b"[]{}\",:\\ \n\t0123456789eE+-.truefalsnNI/b'".to_vec()),
        1 => any::<u8>(),
    ]
}

/// Damage: bytes replaced, put in, taken out, and the end cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damage = (any::<prop::sample::Index>(), 0..3u8, telling_byte());
    (document(), prop::collection::vec(damage, 1..4), prop::option::weighted(0.2, any::<prop::sample::Index>()))
        .prop_map(|(mut document, damages, cut)| {
            for (index, kind, byte) in damages {
                match kind {
                    _ if document.is_empty() => document.push(byte),
                    0 => *index.get_mut(&mut document) = byte,
                    1 => document.insert(index.index(document.len()), byte),
                    _ => drop(document.remove(index.index(document.len()))),
                }
            }
            if let Some(cut) = cut
                && !document.is_empty()
            {
                document.truncate(cut.index(document.len()));
            }
            document
        })
}

/// Tokens in no order.
fn token_soup() -> impl Strategy<Value = Vec<u8>> {
    let tokens: Vec<&'static [u8]> = vec![
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"\"",
        b"\"a\"",
        b"\"\\u00e9",
        b"\\",
        b"\\u",
        b"0",
        b"-",
        b"1",
        b".",
        b"e",
        b"+",
        b"true",
        b"null",
        b"fal",
        b"NaN",
        b"Infinity",
        b"-I",
        b" ",
        b"\n",
        b"\xc3\xa9",
        b"\xff",
        b"\xe2\x82",
        b"\0",
        b"\xef\xbb\xbf",
        b"\x1f",
    ];
    prop::collection::vec(prop::sample::select(tokens), 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_good_documents(document in document()) {
        check(&document)?;
        prop_assert!(reference(&document).is_ok());
    }

    #[test]
    fn on_damaged_documents(document in damaged()) {
        check(&document)?;
    }

    #[test]
    fn on_token_soup(document in token_soup()) {
        check(&document)?;
    }

    #[test]
    fn however_it_is_cut(
        document in prop_oneof![document(), damaged(), token_soup()],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(document.len() + 1)).collect();
        cuts.sort_unstable();
        let mut rest = &document[..];
        let mut pieces = Vec::new();
        let mut done = 0;
        for cut in cuts {
            let (piece, after) = rest.split_at(cut - done);
            pieces.push(piece);
            (rest, done) = (after, cut);
        }
        pieces.push(rest);
        let whole = scan([&document[..]]);
        prop_assert_eq!(scan(pieces), whole.clone());
        prop_assert_eq!(scan(document.chunks(1)), whole);
    }
}
