//! The options of the `json` check.

use serde::{Deserialize, Serialize};
use tidegate_plugin_sdk::OptionIssue;
use tidegate_plugin_sdk::schemars::{self, JsonSchema};

/// Deeper than anybody's documents, and a bit for each level is nothing.
const DEEPEST: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How deep arrays and objects may be nested in each other, from 1 to 100,000. The next reader is often recursive, and its stack
    /// ends somewhere: that is what the bound is for.
    pub max_depth: usize,
    /// What of a key that stands twice in one object. Readers differ on which one counts. To look for them takes about five times as long as the rest of the check.
    pub duplicate_keys: DuplicateKeys,
    /// Of how many keys of open objects a hash is kept while looking for duplicates, 16 bytes or so each. A document with more cannot be
    /// checked, and the use's `on_failure` decides.
    pub max_keys: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DuplicateKeys {
    #[default]
    Allow,
    Reject,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_depth: 512, duplicate_keys: DuplicateKeys::Allow, max_keys: 1_000_000 }
    }
}

impl Config {
    pub(crate) fn issues(&self) -> Vec<OptionIssue> {
        let mut issues = Vec::new();
        if !(1..=DEEPEST).contains(&self.max_depth) {
            issues.push(OptionIssue::new("max_depth", format!("must be from 1 to {DEEPEST}; without it, it is 512")));
        }
        if self.max_keys == 0 {
            issues.push(OptionIssue::new("max_keys", "must be at least 1; without it, it is 1000000"));
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
        assert_eq!((Config::default().max_depth, Config::default().duplicate_keys), (512, DuplicateKeys::Allow));
        assert_eq!(toml::from_str::<Config>("max_depth = 3").unwrap(), Config { max_depth: 3, ..Config::default() });
        let error = toml::from_str::<Config>("depth = 3").unwrap_err().to_string();
        assert!(error.contains("unknown field `depth`") && error.contains("max_depth"), "{error}");
    }

    #[test]
    fn the_readme_has_the_options_as_they_are() {
        tidegate_plugin_sdk::assert_documented::<Config>(include_str!("../README.md"));
    }

    #[test]
    fn a_depth_out_of_bounds_is_an_issue() {
        assert!(Config { max_depth: 1, ..Config::default() }.issues().is_empty());
        assert!(Config { max_depth: DEEPEST, ..Config::default() }.issues().is_empty());
        for bad in [0, DEEPEST + 1] {
            assert_eq!(Config { max_depth: bad, ..Config::default() }.issues()[0].option, "max_depth");
        }
    }
}
