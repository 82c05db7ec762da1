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
}

impl Default for Config {
    fn default() -> Self {
        Self { max_depth: 512 }
    }
}

impl Config {
    pub(crate) fn issues(&self) -> Vec<OptionIssue> {
        if (1..=DEEPEST).contains(&self.max_depth) {
            return Vec::new();
        }
        vec![OptionIssue::new("max_depth", format!("must be from 1 to {DEEPEST}; without it, it is 512"))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_there_and_unknown_options_are_refused() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config { max_depth: 512 });
        assert_eq!(toml::from_str::<Config>("max_depth = 3").unwrap(), Config { max_depth: 3 });
        let error = toml::from_str::<Config>("depth = 3").unwrap_err().to_string();
        assert!(error.contains("unknown field `depth`") && error.contains("max_depth"), "{error}");
    }

    #[test]
    fn the_readme_has_the_options_as_they_are() {
        tidegate_plugin_sdk::assert_documented::<Config>(include_str!("../README.md"));
    }

    #[test]
    fn a_depth_out_of_bounds_is_an_issue() {
        assert!(Config { max_depth: 1 }.issues().is_empty());
        assert!(Config { max_depth: DEEPEST }.issues().is_empty());
        for bad in [0, DEEPEST + 1] {
            assert_eq!(Config { max_depth: bad }.issues()[0].option, "max_depth");
        }
    }
}
