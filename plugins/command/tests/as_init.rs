//! The gateway as the first process of a container: what a command leaves behind becomes its own, and has to be reaped by it. By itself,
//! for it is a property of the whole process.

#![cfg(target_os = "linux")]

use std::path::Path;

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};
use tidegate_plugin_command::{Command, Config};
use tidegate_plugin_sdk::testing::MemoryFile;
use tidegate_plugin_sdk::{Build, Validate, Verdict};

#[tokio::test]
async fn what_a_command_leaves_behind_is_reaped() {
    set_child_subreaper(Some(getpid())).unwrap();
    let script = "sleep 1000 & (sleep 1000 &) ; setsid sleep 1000 & (setsid sh -c 'sleep 1000 & wait' &); sleep 0.1";
    let config = Config { command: ["/bin/sh", "-c", script].map(str::to_owned).into(), ..Config::default() };
    let command = Command::build(config, Path::new("/")).unwrap();
    for _ in 0..3 {
        assert_eq!(command.validate(&MemoryFile::new("a", "")).await.unwrap(), Verdict::Accept);
        let children = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
        assert_eq!(children.unwrap_err(), Errno::CHILD, "there is a child, alive or not");
    }
}
