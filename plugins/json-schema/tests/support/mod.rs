//! Instances and what they say of a content.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tidegate_plugin_json_schema::{Config, JsonSchema};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, Issue, PluginError, Validate, Verdict};

pub fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
}

pub fn build(config: Config, base: &Path) -> JsonSchema {
    assert_eq!(JsonSchema::check(&config, base), []);
    JsonSchema::build(config, base).unwrap()
}

pub fn accounts(config: Config) -> JsonSchema {
    build(Config { schema: Some("comptes.schema.json".into()), ..config }, examples())
}

/// A check of documents against the schema in `text`.
pub fn with_schema(text: &str, config: Config) -> JsonSchema {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("schema.json"), text).unwrap();
    build(Config { schema: Some("schema.json".into()), ..config }, folder.path())
}

pub async fn try_issues(check: &JsonSchema, content: impl Into<Vec<u8>>) -> Result<Vec<Issue>, PluginError> {
    let file = MemoryFile::new("comptes_2024.json", content.into()).in_pieces_of(10_000);
    Ok(match check.validate(&file).await? {
        Verdict::Accept => Vec::new(),
        Verdict::Reject(issues) => {
            assert!(!issues.is_empty());
            issues
        }
    })
}

/// Path and code of each issue.
pub async fn issues(check: &JsonSchema, content: impl Into<Vec<u8>>) -> Vec<(String, String)> {
    let issues = try_issues(check, content).await.unwrap();
    issues.into_iter().map(|issue| (issue.path, issue.code)).collect()
}

pub fn many_accounts(count: usize) -> String {
    let account = r#"{"numero": "512000", "libelle": "Crédit agricole", "solde": 1250.40, "debit": 0}"#;
    format!(r#"{{"annee": 2024, "comptes": [{}]}}"#, vec![account; count].join(",\n"))
}
