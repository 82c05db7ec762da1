//! What is found before and after the start: programs that are not there, folders that were left over.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tidegate_plugin_command::{Command, Config};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, ErrorKind, PluginError, Validate};

use crate::support::{is_alive, until};

fn config(command: &[&str]) -> Config {
    Config { command: command.iter().map(|text| (*text).to_owned()).collect(), ..Config::default() }
}

fn messages(config: &Config, base: &Path) -> Vec<(String, String)> {
    Command::check(config, base).into_iter().map(|issue| (issue.option, issue.message)).collect()
}

async fn run(command: &Command) -> Result<tidegate_plugin_sdk::Verdict, PluginError> {
    command.validate(&MemoryFile::new("a", "")).await
}

#[test]
fn a_missing_program_and_an_argument_that_leads_nowhere_are_said() {
    let base = TempDir::new().unwrap();
    let issues = messages(&config(&["./check"]), base.path());
    assert!(issues[0].0 == "command" && issues[0].1.contains("does not exist"), "{issues:?}");
    assert!(messages(&Config::default(), base.path())[0].1.contains("is missing"));
    assert!(Command::build(config(&["./check"]), base.path()).is_err());
    fs::write(base.path().join("check.py"), "").unwrap();
    let issues = messages(&config(&["python3", "check.py"]), base.path());
    assert!(issues[0].1.contains("write `{base}/check.py`"), "{issues:?}");
    assert_eq!(messages(&config(&["python3", "{base}/check.py"]), base.path()), []);
}

#[tokio::test]
async fn a_program_that_goes_after_the_check_is_an_error() {
    let base = TempDir::new().unwrap();
    let program = base.path().join("check");
    symlink("/bin/sh", &program).unwrap();
    let config = config(&["./check", "-c", "exit 0"]);
    assert_eq!(messages(&config, base.path()), []);
    let command = Command::build(config, base.path()).unwrap();
    assert!(run(&command).await.is_ok());
    fs::remove_file(&program).unwrap();
    let error = run(&command).await.unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Config, false));
    assert!(error.context.contains("/check"), "{error}");
}

#[tokio::test]
async fn a_program_that_the_system_does_not_know_is_an_error() {
    let base = TempDir::new().unwrap();
    let program = base.path().join("check");
    fs::write(&program, "\u{1}\u{2}\u{3}").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let command = Command::build(config(&["./check"]), base.path()).unwrap();
    // As long as some process that is only just being started has the file open from before, it is another error.
    let mut error = run(&command).await.unwrap_err();
    while error.retryable {
        tokio::time::sleep(Duration::from_millis(5)).await;
        error = run(&command).await.unwrap_err();
    }
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
}

/// What a gateway left that was killed: a folder, and a process that went on.
#[tokio::test]
async fn left_overs_are_cleared_away_at_the_start() {
    let root = TempDir::new().unwrap();
    let folder = root.path().canonicalize().unwrap().join("tidegate-command-Ab12Cd");
    fs::create_dir_all(folder.join("home")).unwrap();
    let mut orphan =
        Process::new("/bin/sleep").arg("1000").env("TIDEGATE_RUN", &folder).stdin(Stdio::null()).spawn().unwrap();
    let number = i32::try_from(orphan.id()).unwrap();
    until("it runs", || fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| line.starts_with(b"/bin/sleep")))
        .await;
    fs::File::open(&folder).unwrap().set_modified(SystemTime::now() - Duration::from_secs(3_600)).unwrap();
    let config = Config { temp_dir: Some(root.path().to_owned()), ..config(&["sh"]) };
    Command::build(config, root.path()).unwrap();
    assert!(!folder.exists() && !is_alive(number));
    let _ = orphan.wait();
}
