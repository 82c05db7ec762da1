//! Nicolas Seriot's JSONTestSuite: 95 documents that every parser must take, 188 that none may take, and 35 that are
//! left to it, of which each answer is written down here.
//!
//! The cases are not in this repository: `tests/install-json-test-suite` beside this file gets them from crates.io.
//! So the test is ignored by a plain `cargo test` and fails when it is asked for and they are not there:
//! `cargo test -p tidegate-plugin-json --test json_test_suite -- --ignored`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tidegate_plugin_json::Config;
use tidegate_plugin_json::scanner::{Scanner, SyntaxError};

/// Left to the parser, and taken: the grammar has nothing against them.
const TAKEN: [&str; 21] = [
    "i_number_double_huge_neg_exp.json",
    "i_number_huge_exp.json",
    "i_number_neg_int_huge_exp.json",
    "i_number_pos_double_huge_exp.json",
    "i_number_real_neg_overflow.json",
    "i_number_real_pos_overflow.json",
    "i_number_real_underflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
    "i_object_key_lone_2nd_surrogate.json",
    "i_string_1st_surrogate_but_2nd_missing.json",
    "i_string_1st_valid_surrogate_2nd_invalid.json",
    "i_string_incomplete_surrogate_and_escape_valid.json",
    "i_string_incomplete_surrogate_pair.json",
    "i_string_incomplete_surrogates_escape_valid.json",
    "i_string_invalid_lonely_surrogate.json",
    "i_string_invalid_surrogate.json",
    "i_string_inverted_surrogates_U+1D11E.json",
    "i_string_lone_second_surrogate.json",
    "i_structure_500_nested_arrays.json",
];

fn folder() -> PathBuf {
    match std::env::var_os("JSON_TEST_SUITE") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/.cache/json-test-suite/cases"),
    }
}

fn scan(document: &[u8], piece: usize) -> Result<(), SyntaxError> {
    let mut scanner = Scanner::new(Config::default().max_depth);
    document.chunks(piece).try_for_each(|piece| scanner.push(piece))?;
    scanner.finish()
}

#[test]
#[ignore = "needs the cases, which tests/run installs"]
fn every_case_of_the_suite() {
    let folder = folder();
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("no cases in {} ({error}): run plugins/json/tests/install-json-test-suite", folder.display())
    });
    let mut counts = BTreeMap::new();
    let mut wrong = Vec::new();
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let document = fs::read(entry.path()).unwrap();
        let answer = scan(&document, usize::MAX);
        assert_eq!(scan(&document, 1), answer, "{name} byte by byte");
        let expected = match name.as_bytes()[0] {
            b'y' => true,
            b'n' => false,
            b'i' => TAKEN.contains(&name.as_str()),
            _ => continue,
        };
        *counts.entry(char::from(name.as_bytes()[0])).or_insert(0) += 1;
        if answer.is_ok() != expected {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(counts, BTreeMap::from([('y', 95), ('n', 188), ('i', 35)]), "cases in {}", folder.display());
}
