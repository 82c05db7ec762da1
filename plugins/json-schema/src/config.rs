//! The options of the `json-schema` check.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_plugin_sdk::OptionIssue;
use tidegate_plugin_sdk::schemars::{self, JsonSchema};
use tidegate_plugin_sdk::units::ByteSize;

use crate::memory::TIMES_ITS_SIZE;
use crate::schema::{Hosts, Source};

/// Parsing is recursive, and has to fit into a thread's stack; what checking takes depends on the schema, too.
pub const DEEPEST: usize = 128;
const MOST_ISSUES: usize = 10_000;
/// More than this in one piece is no document but a data set, for which there is `ndjson`.
const LARGEST_DOCUMENT: ByteSize = ByteSize::gib(1);
const MOST_MEMORY: ByteSize = ByteSize::gib(1024);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Ndjson,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file with the JSON Schema; a relative path counts from the folder of the configuration. There is no check without it.
    pub schema: Option<PathBuf>,
    /// The hosts that `$ref` may reach beside files, by their exact names: `example.org` or `example.org:8443` over https,
    /// `http://example.org` over http.
    pub allowed_hosts: Vec<String>,
    /// What a file holds: one JSON text, or one on each line (a file of any length).
    pub format: Format,
    /// The largest document that is checked; with `ndjson`, the longest line. At most 1 GiB.
    pub max_document: ByteSize,
    /// How much memory all documents that are being checked, by this instance and any other, may take at once for this instance to take
    /// in one more. A document counts ten times its size, or what it takes if that is more; so at least ten times `max_document`.
    pub memory: ByteSize,
    /// How many issues a rejected file lists at most, from 1 to 10,000; one more says that there are more.
    pub max_issues: usize,
    /// How deep arrays and objects may be nested in each other, from 1 to 128.
    pub max_depth: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            schema: None,
            allowed_hosts: Vec::new(),
            format: Format::Json,
            max_document: ByteSize::mib(32),
            memory: ByteSize::mib(384),
            max_issues: 100,
            max_depth: 128,
        }
    }
}

impl Config {
    pub(crate) fn issues(&self, base: &Path) -> Vec<OptionIssue> {
        let (hosts, wrong) = Hosts::parse(&self.allowed_hosts);
        let mut issues: Vec<_> = wrong.into_iter().map(|message| OptionIssue::new("allowed_hosts", message)).collect();
        match &self.schema {
            None => issues.push(OptionIssue::new("schema", "is missing; name a file with a JSON Schema")),
            Some(path) => {
                // One that is too deep is told of below.
                let compiled = Source::read(path, base, hosts)
                    .and_then(|source| source.compile(Arc::default(), self.max_depth.min(DEEPEST)));
                if let Err(message) = compiled {
                    issues.push(OptionIssue::new("schema", message));
                }
            }
        }
        if !(ByteSize::bytes(1)..=LARGEST_DOCUMENT).contains(&self.max_document) {
            issues.push(OptionIssue::new("max_document", format!("must be from 1 B to {LARGEST_DOCUMENT}")));
        }
        let needed = ByteSize::bytes(self.max_document.get().saturating_mul(TIMES_ITS_SIZE)).min(MOST_MEMORY);
        if !(needed..=MOST_MEMORY).contains(&self.memory) {
            let message = format!(
                "must be from {needed}, which is what one document of `max_document` takes, to {MOST_MEMORY}; \
                 or make `max_document` smaller"
            );
            issues.push(OptionIssue::new("memory", message));
        }
        if !(1..=MOST_ISSUES).contains(&self.max_issues) {
            issues.push(OptionIssue::new("max_issues", format!("must be from 1 to {MOST_ISSUES}")));
        }
        if !(1..=DEEPEST).contains(&self.max_depth) {
            issues.push(OptionIssue::new("max_depth", format!("must be from 1 to {DEEPEST}")));
        }
        issues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_there_and_unknown_options_are_refused() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        let config: Config = toml::from_str("schema = 'a.json'\nformat = 'ndjson'").unwrap();
        assert_eq!((config.schema, config.format), (Some("a.json".into()), Format::Ndjson));
        let error = toml::from_str::<Config>("depth = 3").unwrap_err().to_string();
        assert!(error.contains("unknown field `depth`") && error.contains("max_depth"), "{error}");
    }

    #[test]
    fn the_readme_has_the_options_as_they_are() {
        tidegate_plugin_sdk::assert_documented::<Config>(include_str!("../README.md"));
    }

    #[test]
    fn sizes_have_a_unit() {
        let config: Config = toml::from_str("max_document = '8 MiB'\nmemory = '1.5 GiB'").unwrap();
        assert_eq!((config.max_document, config.memory), (ByteSize::mib(8), ByteSize::mib(1536)));
        let error = toml::from_str::<Config>("memory = 402653184").unwrap_err().to_string();
        assert!(error.contains("write `402653184 B`"), "{error}");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let nothing = ByteSize::bytes(0);
        let config =
            Config { max_document: nothing, memory: nothing, max_issues: 0, max_depth: 129, ..Config::default() };
        let options: Vec<_> = config.issues(Path::new(".")).into_iter().map(|issue| issue.option).collect();
        // Ten times nothing is nothing, so `memory` is right.
        assert_eq!(options, ["schema", "max_document", "max_issues", "max_depth"]);
    }

    #[test]
    fn the_memory_must_hold_the_largest_document() {
        let config = Config { max_document: ByteSize::mib(1), memory: ByteSize::mib(9), ..Config::default() };
        let issues = config.issues(Path::new("."));
        assert!(issues.iter().any(|issue| issue.option == "memory" && issue.message.contains("10 MiB")), "{issues:?}");
    }
}
