//! The gateway as the first process of a container: what a command leaves behind becomes its own, and has to be reaped by it. By itself,
//! for it is a property of the whole process.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};
use tidegate_plugin_command::{Command, Config};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, Validate, Verdict};

/// In this order, for whatever is there as a child belongs to one of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_behind_is_reaped() {
    set_child_subreaper(Some(getpid())).unwrap();
    what_still_runs().await;
    what_ended_by_itself().await;
    a_command_s_own_end_is_not_taken_from_it().await;
}

async fn what_still_runs() {
    let command =
        shell("sleep 1000 & (sleep 1000 &) ; setsid sleep 1000 & (setsid sh -c 'sleep 1000 & wait' &); sleep 0.1");
    for _ in 0..3 {
        assert_eq!(command.validate(&MemoryFile::new("a", "")).await.unwrap(), Verdict::Accept);
        assert_no_child();
    }
}

/// It waits until they are zombies, of which one can neither see the program nor the environment.
async fn what_ended_by_itself() {
    let command = shell(
        "for name in a b; do (setsid sh -c \"echo \\$\\$ > $name.new; mv $name.new $name\" < /dev/null > /dev/null 2>&1 &); done\n\
         for name in a b; do\n    until test -e $name; do sleep 0.01; done\n    \
             until grep -q 'State:.Z' /proc/$(cat $name)/status; do sleep 0.01; done\ndone",
    );
    for _ in 0..3 {
        assert_eq!(command.validate(&MemoryFile::new("a", "")).await.unwrap(), Verdict::Accept);
        assert_no_child();
    }
}

/// While others clear away, which look at all that has ended.
async fn a_command_s_own_end_is_not_taken_from_it() {
    let command = Arc::new(shell("(setsid true &); exit 65"));
    let runs: Vec<_> = (0..40)
        .map(|_| {
            let command = command.clone();
            tokio::spawn(async move { command.validate(&MemoryFile::new("a", "")).await })
        })
        .collect();
    for run in runs {
        assert!(matches!(run.await.unwrap().unwrap(), Verdict::Reject(_)));
    }
}

fn shell(script: &str) -> Command {
    let config = Config { command: ["/bin/sh", "-c", script].map(str::to_owned).into(), ..Config::default() };
    Command::build(config, Path::new("/")).unwrap()
}

fn assert_no_child() {
    let children = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
    assert_eq!(children.unwrap_err(), Errno::CHILD, "there is a child, alive or not");
}
