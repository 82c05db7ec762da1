//! `tidegate check` and `tidegate config` as people see them. Each `tests/fixtures/config/NAME.toml` is checked; what is printed
//! stands beside it in `NAME.out`. `UPDATE_GOLDEN=1` writes these anew: read the difference before it is committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config")
}

/// Runs the binary in a folder, with an empty environment.
fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).current_dir(folder).env_clear().output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn check_prints_what_stands_beside_each_file() {
    let folder = fixtures();
    let mut cases: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    assert!(cases.len() >= 6, "{cases:?}");
    let mut different = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        let output = tidegate(&folder, &["-c", name, "check"]);
        let printed = stdout(&output).replace(folder.to_str().unwrap(), "[FOLDER]");
        let is_good = name.starts_with("good");
        assert_eq!(output.status.code(), Some(if is_good { 0 } else { 78 }), "{name}: {printed}");
        assert!(output.stderr.is_empty(), "{name}");
        let golden = case.with_extension("out");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &printed).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != printed {
            different.push(format!("{name}:\n{printed}"));
        }
    }
    assert!(different.is_empty(), "not as in the .out file:\n{}", different.join("\n"));
}

#[test]
fn check_as_json_says_the_same_to_programs() {
    let output = tidegate(&fixtures(), &["-c", "many-errors.toml", "check", "--format", "json"]);
    assert_eq!(output.status.code(), Some(78));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], false);
    let diagnostics = answer["diagnostics"].as_array().unwrap();
    let human = fs::read_to_string(fixtures().join("many-errors.out")).unwrap();
    for diagnostic in diagnostics {
        assert!(human.contains(diagnostic["message"].as_str().unwrap()), "{diagnostic}");
        let place = format!("{}:{}:{}", diagnostic["file"].as_str().unwrap(), diagnostic["line"], diagnostic["column"]);
        assert!(human.contains(&place), "{place}");
    }
    assert!(human.ends_with(&format!("{} errors\n", diagnostics.len())), "{human}");
}

#[test]
fn check_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = tidegate(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("compiled-in config.toml"), "{}", stdout(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = tidegate(folder.path(), &["check", "-c", "none.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stdout(&output).contains("could not read the configuration `none.toml`"), "{}", stdout(&output));
}

#[test]
fn show_prints_no_secret_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(fixtures().join("good-s3.toml")).unwrap();
    fs::write(folder.path().join("config.toml"), config).unwrap();
    fs::write(folder.path().join("token"), "sw0rdfish\n").unwrap();
    let output = tidegate(folder.path(), &["--set", "events.keep=7d", "config", "show"]);
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!shown.contains("hunter2") && !shown.contains("sw0rdfish"), "{shown}");
    let keep = shown.lines().find(|line| line.starts_with("keep = ")).unwrap();
    assert!(keep.starts_with("keep = \"7d\"") && keep.ends_with("# flag --set events.keep"), "{keep}");
    assert!(toml::from_str::<toml::Table>(&shown).is_ok(), "{shown}");
}

#[test]
fn show_refuses_what_check_refuses_in_the_same_words() {
    let said = tidegate(&fixtures(), &["-c", "many-errors.toml", "config", "show"]);
    let checked = tidegate(&fixtures(), &["-c", "many-errors.toml", "check"]);
    assert_eq!(said.status.code(), Some(78));
    assert!(said.stdout.is_empty());
    assert_eq!(String::from_utf8(said.stderr).unwrap(), stdout(&checked));
}

/// Every property of every table has a description, and every key of the file at the root stands in the schema.
#[test]
fn the_schema_describes_every_key() {
    let output = tidegate(&fixtures(), &["config", "schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut keys = BTreeSet::new();
    let mut undescribed = Vec::new();
    walk(&schema, &mut keys, &mut undescribed);
    assert!(undescribed.is_empty(), "{undescribed:?}");
    for key in
        ["listen", "headers", "anonymous", "durability", "expire_after", "keep", "service", "validate", "timeout"]
    {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
}

fn walk(schema: &Value, keys: &mut BTreeSet<String>, undescribed: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                for (key, property) in properties {
                    keys.insert(key.clone());
                    if property.get("description").is_none() {
                        undescribed.push(key.clone());
                    }
                }
            }
            object.values().for_each(|value| walk(value, keys, undescribed));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, keys, undescribed)),
        _ => {}
    }
}
