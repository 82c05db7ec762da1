//! The options of the `media-type` check.

use serde::{Deserialize, Serialize};
use tidegate_plugin_sdk::OptionIssue;
use tidegate_plugin_sdk::schemars::{self, JsonSchema};

use crate::agreement::can_be_seen;
use crate::extension;
use crate::name::{Pattern, UNKNOWN};
use crate::table::TOLD;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The media types that files may have, as `"application/pdf"`, or `"image/*"` for all of a kind; empty for any.
    pub allow: Vec<String>,
    /// The media types that files may not have, in the same words. It goes before `allow`.
    pub deny: Vec<String>,
    /// Whether the media type that the client declared must agree with the content. Where none was declared, or
    /// `application/octet-stream`, there is nothing to agree.
    pub match_declared: bool,
    /// Whether the extension of the file's name must be one that such contents have. A name without an extension is taken.
    pub match_extension: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { allow: Vec::new(), deny: Vec::new(), match_declared: true, match_extension: true }
    }
}

impl Config {
    pub(crate) fn issues(&self) -> Vec<OptionIssue> {
        let mut issues = Vec::new();
        let allow = patterns("allow", &self.allow, &mut issues);
        let deny = patterns("deny", &self.deny, &mut issues);
        for (denied, _) in deny.iter().filter(|(_, pattern)| is_only_declared(pattern)) {
            let message = format!(
                "`{denied}` is denied to nobody who declares something else, as no extension that is known here stands for it: deny what \
                 such files are seen to be, as `text/plain` or `application/zip`, or leave it out"
            );
            issues.push(OptionIssue::new("deny", message));
        }
        for (allowed, pattern) in &allow {
            if let Some((denied, _)) = deny.iter().find(|(_, denying)| denying.covers(pattern)) {
                let message = format!("`{allowed}` is never allowed, as `deny` has `{denied}`: take one of them out");
                issues.push(OptionIssue::new("allow", message));
            }
        }
        issues
    }
}

/// The entries of a list that are right, each as it stands there and as it is read.
fn patterns<'a>(option: &str, entries: &'a [String], issues: &mut Vec<OptionIssue>) -> Vec<(&'a str, Pattern)> {
    let mut patterns = Vec::new();
    for entry in entries {
        let problem = match Pattern::parse(entry) {
            Some(pattern) if can_match(&pattern) => {
                patterns.push((entry.as_str(), pattern));
                continue;
            }
            Some(_) => "is never found by looking at a file's first bytes, so it would match nothing: leave it out",
            None => "is no media type: write it as `image/png`, or `image/*` for all of a kind, without parameters",
        };
        issues.push(OptionIssue::new(option, format!("`{entry}` {problem}")));
    }
    patterns
}

fn can_match(pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Exact(name) => can_be_seen(name),
        Pattern::Beginning(_) => TOLD.iter().map(|told| told.name).chain([UNKNOWN]).any(|name| pattern.matches(name)),
    }
}

/// Whether nothing about a file says this but what its client declares.
fn is_only_declared(pattern: &Pattern) -> bool {
    matches!(pattern, Pattern::Exact(name) if name != UNKNOWN && !extension::stands_for(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(allow: &[&str], deny: &[&str]) -> Config {
        let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        Config { allow: owned(allow), deny: owned(deny), ..Config::default() }
    }

    fn problems(allow: &[&str], deny: &[&str]) -> Vec<(String, String)> {
        config(allow, deny).issues().into_iter().map(|issue| (issue.option, issue.message)).collect()
    }

    #[test]
    fn defaults_are_there_and_unknown_options_are_refused() {
        let Config { allow, deny, match_declared, match_extension } = toml::from_str("").unwrap();
        assert!(allow.is_empty() && deny.is_empty() && match_declared && match_extension);
        assert_eq!(toml::from_str::<Config>("allow = [\"image/*\"]").unwrap(), config(&["image/*"], &[]));
        let error = toml::from_str::<Config>("allowed = []").unwrap_err().to_string();
        assert!(error.contains("unknown field `allowed`"), "{error}");
    }

    #[test]
    fn the_readme_has_the_options_as_they_are() {
        tidegate_plugin_sdk::assert_documented::<Config>(include_str!("../README.md"));
    }

    #[test]
    fn good_lists_have_no_issues() {
        let allow = ["image/*", "application/pdf", "text/csv", "application/json", "application/java-archive", "*/*"];
        assert_eq!(problems(&allow, &["image/svg+xml", "text/x-shellscript"]), []);
        assert_eq!(problems(&["application/octet-stream", "Image/JPG"], &[]), []);
    }

    #[test]
    fn an_entry_that_is_no_media_type_is_an_issue() {
        for bad in ["pdf", "image/", "*", ".png", "text/plain; charset=utf-8", ""] {
            for (option, found) in [("allow", problems(&[bad], &[])), ("deny", problems(&[], &[bad]))] {
                assert!(matches!(&found[..], [(at, message)] if at == option && message.contains("is no media type")));
            }
        }
    }

    #[test]
    fn an_entry_that_no_file_can_match_is_an_issue() {
        for bad in ["image/x-made-up", "application/vnd.example", "chemical/*"] {
            for found in [problems(&[bad], &[]), problems(&[], &[bad])] {
                assert!(matches!(&found[..], [(_, message)] if message.contains("would match nothing")), "{found:?}");
            }
        }
    }

    /// Who leaves the declaration out would pass.
    #[test]
    fn a_denied_type_that_only_a_client_can_tell_is_an_issue() {
        for bad in ["text/x-made-up", "application/vnd.example+json", "application/vnd.example+zip"] {
            let found = problems(&[], &[bad]);
            assert!(matches!(&found[..], [(_, message)] if message.contains("no extension")), "{found:?}");
            assert_eq!(problems(&[bad], &[]), [], "a file without an extension can be declared so");
        }
        let good = ["text/css", "application/rss+xml", "application/vnd.oasis.opendocument.graphics"];
        assert_eq!(problems(&[], &good), []);
    }

    #[test]
    fn what_is_allowed_and_denied_is_an_issue() {
        let found = problems(&["image/jpg", "image/png", "video/*"], &["image/jpeg", "video/*", "text/html"]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].1.contains("`image/jpg` is never allowed, as `deny` has `image/jpeg`"));
        assert_eq!(problems(&["image/png"], &["image/*"]).len(), 1);
        assert!(problems(&["image/*"], &["image/png"]).is_empty());
    }

    #[test]
    fn all_issues_are_said_at_once() {
        assert_eq!(problems(&["pdf", "image/png", "chemical/*"], &["image/png", "exe"]).len(), 4);
    }
}
