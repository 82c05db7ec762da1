//! What a command says by its exit code and its standard output, as the answer of each stage.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use tidegate_plugin_sdk::{Admission, ErrorKind, FollowUp, Issue, PluginError, Verdict, shown, wire};

use crate::config::Config;

/// Of a line out of the output that is shown to people, in characters.
const LONGEST_LINE: usize = 500;
/// Of what is written to the log, in bytes.
const LONGEST_LOG: usize = 2 * 1024;

#[derive(Debug)]
pub struct Answer {
    meaning: Meaning,
    output: Vec<u8>,
    /// Where the content lay.
    folder: PathBuf,
}

/// What an exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Yes, unless the output says otherwise.
    Yes,
    No,
    Later,
}

impl Answer {
    /// An error where the command failed.
    pub fn of(status: ExitStatus, output: Vec<u8>, folder: PathBuf, config: &Config) -> Result<Self, PluginError> {
        let has = |codes: &[u8]| status.code().is_some_and(|code| codes.iter().any(|one| i32::from(*one) == code));
        let meaning = match status {
            _ if status.success() => Meaning::Yes,
            _ if has(&config.reject_exit_codes) => Meaning::No,
            _ if has(&config.retry_exit_codes) => Meaning::Later,
            _ => return Err(failed(status)),
        };
        Ok(Self { meaning, output, folder })
    }

    pub fn admission(&self) -> Result<Admission, PluginError> {
        match (self.meaning, wire::admission(&self.output)) {
            (Meaning::Yes, answer) => answer,
            (Meaning::No, Ok(denial @ Admission::Deny(_))) => Ok(denial),
            (Meaning::No, _) => Ok(Admission::deny(403, self.line().unwrap_or_else(refused))),
            (Meaning::Later, _) => Err(self.later()),
        }
    }

    pub fn verdict(&self) -> Result<Verdict, PluginError> {
        match (self.meaning, wire::verdict(&self.output)) {
            (Meaning::Yes, answer) => answer,
            (Meaning::No, Ok(rejection @ Verdict::Reject(_))) => Ok(rejection),
            (Meaning::No, _) => Ok(rejection("rejected", self.line().unwrap_or_else(refused))),
            (Meaning::Later, _) => Err(self.later()),
        }
    }

    pub fn follow_up(&self) -> Result<FollowUp, PluginError> {
        match (self.meaning, wire::follow_up(&self.output)) {
            (Meaning::Yes, answer) => answer,
            (Meaning::No, Ok(end @ FollowUp::GiveUp { .. })) => Ok(end),
            (Meaning::No, _) => Ok(FollowUp::give_up(self.line().unwrap_or_else(refused))),
            (Meaning::Later, Ok(wait @ FollowUp::Retry { .. })) => Ok(wait),
            (Meaning::Later, _) => Ok(FollowUp::retry(self.line().unwrap_or_else(not_now))),
        }
    }

    fn later(&self) -> PluginError {
        PluginError::retryable(ErrorKind::Unavailable, self.line().unwrap_or_else(not_now))
    }

    /// The first line that has something on it. None where that is JSON, which is not for people. Of the content's path, which tools
    /// like to begin it with, the name is enough.
    fn line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.output).replace(&format!("{}/", self.folder.display()), "");
        let line = text.lines().map(clean).find(|line| !line.is_empty())?;
        if line.starts_with('{') {
            return None;
        }
        Some(line.chars().take(LONGEST_LINE).collect())
    }
}

pub fn rejection(code: &str, message: impl Into<String>) -> Verdict {
    Verdict::Reject(vec![Issue { path: String::new(), code: code.to_owned(), message: message.into() }])
}

fn refused() -> String {
    "the check refuses the file".to_owned()
}

fn not_now() -> String {
    "the command asks to be run again later".to_owned()
}

/// It may do better the next time: few failures have to do with the file alone.
fn failed(status: ExitStatus) -> PluginError {
    let how = match status.signal() {
        Some(_) => format!("was ended by {status}"),
        None => format!("failed with {status}"),
    };
    PluginError::retryable(ErrorKind::Unavailable, format!("the command {how}"))
}

/// The last lines of what a command wrote to standard error, on one line of a log.
pub fn for_the_log(complaints: &[u8]) -> String {
    let last = &complaints[complaints.len().saturating_sub(LONGEST_LOG)..];
    let text = String::from_utf8_lossy(last);
    text.lines().map(clean).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

fn clean(line: &str) -> String {
    shown(line, LONGEST_LOG).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidegate_plugin_sdk::Denial;

    fn of(raw: i32, output: &str, config: &Config) -> Result<Answer, PluginError> {
        Answer::of(ExitStatus::from_raw(raw), output.into(), "/tmp/run/content".into(), config)
    }

    fn answer(code: i32, output: &str) -> Answer {
        of(code << 8, output, &Config::default()).unwrap()
    }

    fn message(verdict: Verdict) -> String {
        match verdict {
            Verdict::Accept => panic!("accepted"),
            Verdict::Reject(issues) => issues[0].message.clone(),
        }
    }

    #[test]
    fn zero_is_yes_and_says_what_the_output_says() {
        assert_eq!(answer(0, "").verdict().unwrap(), Verdict::Accept);
        assert_eq!(answer(0, " \n{}\n").follow_up().unwrap(), FollowUp::Done);
        assert_eq!(message(answer(0, r#"{"reject": [{"message": "no"}]}"#).verdict().unwrap()), "no");
        for output in ["all is well", r#"{"rejcet": []}"#, "{}{}", "null"] {
            assert!(answer(0, output).verdict().is_err(), "{output}");
            assert!(answer(0, output).admission().is_err(), "{output}");
            assert!(answer(0, output).follow_up().unwrap_err().retryable, "{output}");
        }
    }

    #[test]
    fn a_code_that_says_no_is_no_whatever_the_output() {
        for (output, said) in [
            ("", "the check refuses the file"),
            ("{}", "the check refuses the file"),
            (r#"{"reject": []}"#, "the check refuses the file"),
            ("\n  too old\nsecond", "too old"),
            (r#"{"reject": [{"message": "no", "path": "/a"}]}"#, "no"),
            ("/tmp/run/content/a b.pdf: Eicar FOUND", "a b.pdf: Eicar FOUND"),
            ("\u{1b}[31mred\u{1b}[0m\u{202e}", "[31mred [0m"),
        ] {
            assert_eq!(message(answer(65, output).verdict().unwrap()), said, "{output:?}");
        }
        assert_eq!(message(answer(65, &"é".repeat(600)).verdict().unwrap()).chars().count(), 500);
        assert_eq!(answer(65, "not you").admission().unwrap(), Admission::deny(403, "not you"));
        assert_eq!(
            answer(65, r#"{"deny": {"status": 413, "reason": "large"}}"#).admission().unwrap(),
            Admission::Deny(Denial { status: 413, reason: "large".to_owned() })
        );
        assert_eq!(answer(65, "").follow_up().unwrap(), FollowUp::give_up("the check refuses the file"));
        assert_eq!(answer(65, r#"{"give_up": {"reason": "x"}}"#).follow_up().unwrap(), FollowUp::give_up("x"));
    }

    #[test]
    fn later_is_another_try() {
        let after = FollowUp::Retry { reason: "busy".to_owned(), after: Some(Duration::from_secs(30)) };
        assert_eq!(answer(75, r#"{"retry": {"reason": "busy", "after": "30s"}}"#).follow_up().unwrap(), after);
        assert_eq!(answer(75, "locked").follow_up().unwrap(), FollowUp::retry("locked"));
        assert!(answer(75, "locked").verdict().unwrap_err().retryable);
        assert!(answer(75, "").admission().unwrap_err().retryable);
        assert!(answer(75, r#"{"reject": [{"message": "x"}]}"#).verdict().is_err());
    }

    #[test]
    fn all_else_is_a_failure() {
        for (raw, said) in [(1 << 8, "failed with exit status: 1"), (9, "ended by signal: 9"), (127 << 8, "127")] {
            let error = of(raw, "", &Config::default()).unwrap_err();
            assert!(error.retryable && error.context.contains(said), "{error}");
        }
    }

    #[test]
    fn codes_can_be_chosen() {
        let config = Config { reject_exit_codes: vec![1], retry_exit_codes: vec![], ..Config::default() };
        assert!(of(1 << 8, "", &config).unwrap().verdict().is_ok());
        assert!(of(65 << 8, "", &config).is_err() && of(75 << 8, "", &config).is_err());
    }

    #[test]
    fn the_log_gets_the_last_lines_on_one() {
        assert_eq!(for_the_log(b"one\n\n\ttwo\xff\r\n"), "one | two\u{fffd}");
        assert_eq!(for_the_log(&[b'x'; 5_000]).len(), LONGEST_LOG);
    }
}
