//! The options of `command`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_plugin_sdk::OptionIssue;
use tidegate_plugin_sdk::schemars::{self, JsonSchema};
use tidegate_plugin_sdk::units::ByteSize;

use crate::program::{PATH, Program, absolute};
use crate::stragglers::MARK;

/// The gateway's own is another in a terminal than in a service, and what `tidegate check` finds has to be what runs.
pub const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MOST_AT_ONCE: usize = 1_000;
/// Answers are held in memory.
const MOST_OUTPUT: ByteSize = ByteSize::mib(16);
/// With less, no interpreter starts.
const LEAST_MEMORY: ByteSize = ByteSize::mib(16);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The program and its arguments, without a shell. The program is a path (a relative one counts from the folder of the
    /// configuration), or a name that is looked up in `PATH`. In arguments `{path}` stands for the content and `{base}` for the folder of
    /// the configuration. There is no plugin without it.
    pub command: Vec<String>,
    /// Whether the command gets the content. Without it there is no `path`, and after a publication the file is not even opened.
    pub content: bool,
    /// Whether the command always gets a copy of the content, and never a link to the file: for one in a sandbox, or with fewer privileges
    /// than the gateway, which cannot follow the link. It takes as long and as much room as the file is large.
    pub copy_content: bool,
    /// Environment variables of the command. It gets none of the gateway's own.
    pub environment: Environment,
    /// Exit codes from 1 to 255 that say no.
    pub reject_exit_codes: Vec<u8>,
    /// Exit codes from 1 to 255 that say "not now, try again later".
    pub retry_exit_codes: Vec<u8>,
    /// So many commands run at the same time for each use of this instance (a collection's, at one stage), from 1 to 1000. Others wait for
    /// their turn: a follow-up in the list of what is owed; a file that is checked as long as the use's `timeout`, which begins anew then.
    pub at_once: usize,
    /// So much memory of its own (data, heap, stacks of threads) each process of the command may have. Linux.
    pub max_memory: ByteSize,
    /// So much the command may write to each of standard output and standard error, at most 16 MiB.
    pub max_output: ByteSize,
    /// The largest file that the command may write; one as large as the content it may always. Linux.
    pub max_file: ByteSize,
    /// Where each run has its private folder, with the copy of the content if there is one. Without it, it is the system's folder for
    /// temporary files.
    pub temp_dir: Option<PathBuf>,
}

/// Variables by name. Their values may be secrets, and stay out of logs and panics.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            content: true,
            copy_content: false,
            environment: Environment::default(),
            reject_exit_codes: vec![65],
            retry_exit_codes: vec![75],
            at_once: 4,
            max_memory: ByteSize::gib(1),
            max_output: ByteSize::bytes(64 << 10),
            max_file: ByteSize::gib(1),
            temp_dir: None,
        }
    }
}

impl Config {
    /// The `PATH` of the command, in which its program is looked for, too.
    pub(crate) fn search(&self) -> &str {
        self.environment.0.get("PATH").map_or(SEARCH, String::as_str)
    }

    /// Where the private folders are, with all links followed: processes are known by it.
    pub(crate) fn temp_dir(&self, base: &Path) -> std::io::Result<PathBuf> {
        match &self.temp_dir {
            Some(folder) => absolute(base)?.join(folder).canonicalize(),
            None => std::env::temp_dir().canonicalize(),
        }
    }

    pub(crate) fn issues(&self, base: &Path) -> Vec<OptionIssue> {
        let mut issues = self.issues_of_the_command(base);
        if self.copy_content && !self.content {
            issues.push(OptionIssue::new("copy_content", "has nothing to copy, as `content = false` says"));
        }
        issues.extend(self.environment.0.iter().filter_map(|(name, value)| {
            let message = why_not_a_variable(name, value)?;
            Some(OptionIssue::new(format!("environment.{name}"), message))
        }));
        for (option, codes) in
            [("reject_exit_codes", &self.reject_exit_codes), ("retry_exit_codes", &self.retry_exit_codes)]
        {
            if codes.contains(&0) {
                issues.push(OptionIssue::new(
                    option,
                    "has a 0 in it, which always says yes; codes from 1 to 255 are expected",
                ));
            }
        }
        if let Some(both) = self.reject_exit_codes.iter().find(|code| self.retry_exit_codes.contains(code)) {
            issues.push(OptionIssue::new(
                "retry_exit_codes",
                format!("has {both} in it, and so has `reject_exit_codes`"),
            ));
        }
        if !(1..=MOST_AT_ONCE).contains(&self.at_once) {
            issues.push(OptionIssue::new("at_once", format!("must be from 1 to {MOST_AT_ONCE}; without it, it is 4")));
        }
        if self.max_memory < LEAST_MEMORY {
            issues.push(OptionIssue::new(
                "max_memory",
                format!("must be at least {LEAST_MEMORY}; without it, it is 1 GiB"),
            ));
        }
        if self.max_output > MOST_OUTPUT {
            issues.push(OptionIssue::new(
                "max_output",
                format!("must be at most {MOST_OUTPUT}; without it, it is 64 KiB"),
            ));
        }
        if !self.temp_dir(base).is_ok_and(|folder| folder.is_dir()) {
            issues.push(OptionIssue::new("temp_dir", "must be a folder that exists"));
        }
        issues
    }

    fn issues_of_the_command(&self, base: &Path) -> Vec<OptionIssue> {
        let program = match Program::find(&self.command, base, self.search()) {
            Ok(program) => program,
            Err(message) => return vec![OptionIssue::new("command", message)],
        };
        let mut issues: Vec<_> =
            program.issues().into_iter().map(|message| OptionIssue::new("command", message)).collect();
        if program.wants_path() && !self.content {
            issues.push(OptionIssue::new(
                "command",
                format!("has a {PATH} in it, and `content = false` says that there is none"),
            ));
        }
        issues
    }
}

fn why_not_a_variable(name: &str, value: &str) -> Option<&'static str> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Some("is no name of a variable: it is empty, or has `=` or a null character in it");
    }
    if value.contains('\0') {
        return Some("has a null character in its value");
    }
    (name == MARK).then_some("is what the processes of a run are found by")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options_of(text: &str) -> Vec<String> {
        let config: Config = toml::from_str(text).unwrap();
        config.issues(Path::new(".")).into_iter().map(|issue| issue.option).collect()
    }

    #[test]
    fn defaults_are_there_and_unknown_options_are_refused() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        let config: Config = toml::from_str("command = ['sh']\nmax_memory = '2 GiB'").unwrap();
        assert_eq!((config.command, config.max_memory), (vec!["sh".to_owned()], ByteSize::gib(2)));
        let error = toml::from_str::<Config>("comand = ['sh']").unwrap_err().to_string();
        assert!(error.contains("unknown field `comand`") && error.contains("max_memory"), "{error}");
        assert!(toml::from_str::<Config>("retry_exit_codes = [256]").is_err());
    }

    #[test]
    fn the_readme_has_the_options_as_they_are() {
        tidegate_plugin_sdk::assert_documented::<Config>(include_str!("../README.md"));
    }

    #[test]
    fn a_command_is_all_that_is_needed() {
        assert_eq!(options_of("command = ['sh']"), Vec::<String>::new());
        assert_eq!(options_of(""), ["command"]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let wrong = "command = ['sh', '{path}']\ncontent = false\ncopy_content = true\nreject_exit_codes = [0, 1]\nretry_exit_codes = [1]\nat_once = 0\n\
            max_memory = '1 MiB'\nmax_output = '1 GiB'\ntemp_dir = '/no/such/folder'\n\
            [environment]\n'A=B' = ''\nNULL = \"a\\u0000b\"\nTIDEGATE_RUN = 'x'";
        assert_eq!(
            options_of(wrong),
            [
                "command",
                "copy_content",
                "environment.A=B",
                "environment.NULL",
                "environment.TIDEGATE_RUN",
                "reject_exit_codes",
                "retry_exit_codes",
                "at_once",
                "max_memory",
                "max_output",
                "temp_dir",
            ]
        );
    }

    #[test]
    fn a_program_is_looked_for_in_the_path_that_it_gets() {
        assert_eq!(options_of("command = ['sh']\nenvironment = { PATH = '/nowhere' }"), ["command"]);
    }

    #[test]
    fn values_of_variables_are_not_in_logs() {
        let config: Config = toml::from_str("environment = { DSN = 'hunter2' }").unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("DSN") && !shown.contains("hunter2"), "{shown}");
    }
}
