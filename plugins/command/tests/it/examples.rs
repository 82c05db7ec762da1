//! The examples, and what the README shows, do what they say.

use std::fs;

use tempfile::TempDir;
use tidegate_plugin_command::Config;
use tidegate_plugin_sdk::testing::{MemoryFile, publication};
use tidegate_plugin_sdk::{FollowUp, Issue, PostAssembly, Verdict};

use crate::support::{Instance, instance};

const README: &str = include_str!("../../README.md");

/// The blocks of code in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    README
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

async fn issues(instance: &Instance, content: &str) -> Vec<Issue> {
    match instance.validate(&MemoryFile::new("comptes.json", content.to_owned())).await.unwrap() {
        Verdict::Accept => Vec::new(),
        Verdict::Reject(issues) => issues,
    }
}

fn places(issues: &[Issue]) -> Vec<(&str, &str)> {
    issues.iter().map(|issue| (issue.path.as_str(), issue.code.as_str())).collect()
}

#[test]
fn the_configurations_of_the_readme_are_ones() {
    let mut seen = 0;
    for block in blocks("toml") {
        let document: toml::Table = block.parse().unwrap();
        for (name, plugin) in document["plugin"].as_table().unwrap() {
            let mut options = plugin.as_table().unwrap().clone();
            assert_eq!(options.remove("kind").unwrap().as_str(), Some("command"), "{name}");
            options.try_into::<Config>().unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

#[tokio::test]
async fn the_check_of_the_readme_checks() {
    let program = blocks("python")[0];
    let instance = instance(&["python3", "-c", program], |_| {});
    assert_eq!(issues(&instance, "a;b;c;d;e\n1;2;3;4;5\n").await, []);
    let found = issues(&instance, "a;b;c;d;e\n1;2;3\n").await;
    assert_eq!(places(&found), [("2:1", "csv-columns")]);
}

#[tokio::test]
async fn accounts_have_to_balance() {
    let check = instance(&["python3", "{base}/examples/balance.py"], |_| {});
    let entries = |amounts: &str| {
        format!(r#"{{"societe": "Œuvre", "exercice": 2025, "devise": "EUR", "ecritures": [{amounts}]}}"#)
    };

    // As floats these are not equal.
    let good = entries(r#"{"numero": 0, "debit": 0.1, "credit": 0}, {"debit": 0.2}, {"credit": 0.30}"#);
    assert_eq!(issues(&check, &good).await, []);

    let apart = issues(&check, &entries(r#"{"debit": 100.01, "credit": 0}, {"debit": 0, "credit": 100}"#)).await;
    assert_eq!(places(&apart), [("/ecritures", "unbalanced")]);
    assert_eq!(apart[0].message, "debits are 100.01 and credits 100.00: 0.01 apart");

    let odd =
        entries(r#"{"debit": "12"}, {"debit": 1.005}, 7, {"credit": 1e999999999}, {"credit": NaN}, {"debit": true}"#);
    assert_eq!(
        places(&issues(&check, &odd).await),
        [
            ("/ecritures/0/debit", "no-amount"),
            ("/ecritures/1/debit", "part-of-a-cent"),
            ("/ecritures/2", "no-entry"),
            ("/ecritures/3/credit", "no-amount"),
            ("/ecritures/4/credit", "no-amount"),
            ("/ecritures/5/debit", "no-amount"),
        ]
    );
    let many = entries(&vec![r#"{"debit": null}"#; 500].join(", "));
    assert_eq!(issues(&check, &many).await.len(), 100);

    let balances = r#"{"annee": 2024, "comptes": [{"debit": 9800, "credit": 7300.5, "solde": 2499.5},
        {"solde": -310}, {"debit": 1, "credit": 2, "solde": 1}]}"#;
    assert_eq!(places(&issues(&check, balances).await), [("/comptes/2/solde", "unbalanced")]);

    for (content, code) in [("{", "not-json"), ("[]", "no-accounts"), (r#"{"ecritures": 1}"#, "no-accounts")] {
        assert_eq!(places(&issues(&check, content).await), [("", code)], "{content}");
    }
    let deep = "[".repeat(1_000_000);
    assert_eq!(places(&issues(&check, &deep).await), [("", "not-json")]);
}

#[tokio::test]
async fn accounts_of_the_other_plugin_are_what_they_are_called() {
    let check = instance(&["python3", "{base}/examples/balance.py"], |_| {});
    let accounts = concat!(env!("CARGO_MANIFEST_DIR"), "/../json-schema/examples/comptes_bons.json");
    assert_eq!(issues(&check, &fs::read_to_string(accounts).unwrap()).await, []);
}

#[tokio::test]
async fn an_archive_has_each_version_once() {
    let archive = TempDir::new().unwrap();
    let names = || {
        let mut names: Vec<_> = fs::read_dir(archive.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let command = ["/bin/sh", "{base}/examples/archive.sh", archive.path().to_str().unwrap(), "{path}"];
    let instance = instance(&command, |_| {});
    let name = "Société \"id\":\"no\" (1).json";
    let publish = async |content: &str| {
        let file = MemoryFile::new(name, content.to_owned());
        instance.command.follow_up(&file, &publication("question-1")).await.unwrap()
    };
    assert_eq!(publish("one").await, FollowUp::Done);
    assert_eq!(names(), [format!("question-1-{name}")]);
    assert_eq!(publish("one").await, FollowUp::Done, "a second time, after a crash");
    assert_eq!(names(), [format!("question-1-{name}")]);
    let kept = archive.path().join(&names()[0]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "one");

    // What a try left that was cut off is no obstacle.
    fs::write(archive.path().join(".question-1.123.part"), "half").unwrap();
    fs::remove_file(&kept).unwrap();
    assert_eq!(publish("one").await, FollowUp::Done);
    assert_eq!(names(), [format!("question-1-{name}")]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "one");

    let long = MemoryFile::new(&format!("{}.json", "é".repeat(125)), "two");
    fs::remove_file(&kept).unwrap();
    assert_eq!(instance.command.follow_up(&long, &publication("question-1")).await.unwrap(), FollowUp::Done);
    assert_eq!(names(), ["question-1"]);

    fs::remove_dir_all(archive.path()).unwrap();
    let waits = publish("one").await;
    assert!(matches!(&waits, FollowUp::Retry { reason, .. } if reason.contains("no folder")), "{waits:?}");
    fs::create_dir(archive.path()).unwrap();
}
