//! Commands that do not behave: they loop, hide, fork, write, grow and do not go. Nothing of them is left.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity};
use tempfile::TempDir;
use tidegate_plugin_sdk::testing::{MemoryFile, publication};
use tidegate_plugin_sdk::{ErrorKind, FollowUp, Plugin, PostAssembly, Validate, Verdict};

use crate::support::{instance, is_alive, python, python_with, shell, until};

#[tokio::test]
async fn a_command_that_loops_is_killed_when_nobody_waits() {
    let instance = shell("echo $$ >> $NOTES/pid; while :; do :; done");
    let run = instance.start();
    let pid = instance.numbers("pid", 1).await[0];
    assert!(is_alive(pid) && instance.folders().len() == 1);
    run.abort();
    until("it is gone", || !is_alive(pid)).await;
    instance.becomes_clean().await;
}

#[tokio::test]
async fn a_deadline_ends_it_too() {
    let instance = shell("sleep 1000 & exec sleep 1000");
    let file = MemoryFile::new("a", "");
    let run = tokio::time::timeout(Duration::from_millis(100), instance.command.validate(&file));
    assert!(run.await.is_err());
    instance.becomes_clean().await;
}

#[tokio::test]
async fn a_command_that_ignores_signals_is_killed() {
    let instance = python(
        "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)\n\
         note('pid', os.getpid())\nwhile True: time.sleep(1)",
    );
    let run = instance.start();
    let pid = instance.numbers("pid", 1).await[0];
    run.abort();
    until("it is gone", || !is_alive(pid)).await;
    instance.becomes_clean().await;
}

#[tokio::test]
async fn a_stopped_command_is_killed() {
    let instance = shell("echo $$ >> $NOTES/pid; kill -STOP $$");
    let run = instance.start();
    let pid = instance.numbers("pid", 1).await[0];
    run.abort();
    until("it is gone", || !is_alive(pid)).await;
    instance.becomes_clean().await;
}

/// They would hold the pipes open and go on for long.
#[tokio::test]
async fn what_is_left_in_the_background_ends_with_the_command() {
    let instance = shell("sleep 1000 & echo $! >> $NOTES/pid; (sleep 1000 & echo $! >> $NOTES/pid); echo '{}'");
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
    let pids = instance.numbers("pid", 2).await;
    until("they are gone", || !pids.iter().any(|pid| is_alive(*pid))).await;
    instance.assert_clean();
}

#[tokio::test]
async fn what_left_the_group_is_found() {
    let instance = shell(
        "setsid sleep 1000 & setsid sh -c 'cd / && sleep 1000 & echo $! >> $NOTES/pid; wait' & \
        env -i setsid sleep 1000 & while ! test -s $NOTES/pid; do sleep 0.01; done",
    );
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
    let pids = instance.numbers("pid", 1).await;
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    instance.assert_clean();
}

/// Neither group, nor environment, nor folder: it is not found, and must not hold anybody up by the pipes that it has.
#[tokio::test]
async fn who_hides_well_does_not_keep_the_answer_back() {
    let instance = python(
        "if os.fork() == 0:\n    os.setsid(); os.chdir('/')\n    note('pid', os.getpid())\n    \
             os.execve('/bin/sleep', ['sleep', '1000'], {})\n\
         while not os.path.exists(os.environ['NOTES'] + '/pid'): time.sleep(0.01)\n\
         pid = int(open(os.environ['NOTES'] + '/pid').read())\n\
         while b'sleep' not in open(f'/proc/{pid}/cmdline', 'rb').read(): time.sleep(0.01)",
    );
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
    let pid = instance.numbers("pid", 1).await[0];
    assert!(is_alive(pid), "it is found nowadays: say so in the README");
    let number = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(number, rustix::process::Signal::KILL).unwrap();
    instance.assert_clean();
}

/// Fifty processes of which each starts its successor and ends, so that none is there for long.
#[tokio::test]
async fn a_fork_bomb_is_ended_as_a_whole() {
    for escape in ["", "os.setsid()"] {
        let count = if escape.is_empty() { 50 } else { 20 };
        let instance = python(&format!(
            "for _ in range({count}):\n    if os.fork() == 0:\n        note('started', 1)\n        while True:\n            \
                 time.sleep(0.005)\n            if os.fork() != 0: os._exit(0)\n            {escape}\n\
             while True: time.sleep(1)"
        ));
        let run = instance.start();
        instance.numbers("started", count).await;
        run.abort();
        instance.becomes_clean().await;
    }
}

/// The command itself ends well, and its bomb is gone when the answer is there.
#[tokio::test]
async fn a_fork_bomb_does_not_outlive_a_good_answer() {
    let instance = python(
        "for _ in range(50):\n    if os.fork() == 0:\n        note('started', 1)\n        while True:\n            \
             time.sleep(0.005)\n            if os.fork() != 0: os._exit(0)\n\
         while open(os.environ['NOTES'] + '/started').read().count('1') < 50: time.sleep(0.01)",
    );
    // The file is there before the loop reads it.
    instance.leave("started");
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
    instance.assert_clean();
}

#[tokio::test]
async fn a_command_that_writes_without_end_is_killed() {
    for script in [
        "echo $$ >> $NOTES/pid; exec yes",
        "echo $$ >> $NOTES/pid; exec yes >&2",
        // It begins when its number is noted, or all might be over before that.
        "(until [ -s $NOTES/pid ]; do sleep 0.01; done; exec yes) & echo $! >> $NOTES/pid; wait",
    ] {
        let instance = shell(script);
        let error = instance.verdict().await.unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, false), "{script}: {error}");
        let pid = instance.numbers("pid", 1).await[0];
        assert!(!is_alive(pid));
        instance.assert_clean();
    }
}

#[tokio::test]
async fn as_much_output_as_is_allowed_is_read() {
    let at = |length: usize| {
        instance(&["/bin/sh", "-c", &format!("head -c {length} /dev/zero | tr '\\0' ' '")], |config| {
            config.max_output = "1 MiB".parse().unwrap();
        })
    };
    assert_eq!(at(1 << 20).verdict().await.unwrap(), Verdict::Accept);
    assert_eq!(at((1 << 20) + 1).verdict().await.unwrap_err().kind, ErrorKind::Limit);
}

#[tokio::test]
async fn a_command_that_takes_too_much_memory_fails() {
    let instance = python("limited()\nbytearray(2 << 30)");
    let error = instance.verdict().await.unwrap_err();
    assert!(error.retryable && error.context.contains("exit status: 1"), "{error}");
    let in_a_child = python(
        "limited()\npid = os.fork()\nif pid == 0: bytearray(2 << 30)\nelse: sys.exit(65 if os.waitpid(pid, 0)[1] else 0)",
    );
    assert_eq!(in_a_child.issues().await.len(), 1, "what it starts is bounded, too");
    let modest = python("limited()\nbytearray(200 << 20)");
    assert_eq!(modest.verdict().await.unwrap(), Verdict::Accept);
    let reserves = python("import mmap\nlimited()\nmmap.mmap(-1, 20 << 30, prot=mmap.PROT_READ)");
    assert_eq!(reserves.verdict().await.unwrap(), Verdict::Accept, "address space is no memory");
}

#[tokio::test]
async fn a_command_may_write_as_large_a_file_as_the_content_and_no_larger() {
    let program = "limited()\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nwith open('copy', 'wb', buffering=0) as file:\n    \
        file.write(bytes(asked['size'])); note('written', file.tell())\n    file.write(b'x')";
    let instance = python_with(program, |config| config.max_file = "1 KiB".parse().unwrap());
    let file = MemoryFile::new("a.bin", vec![0; 100_000]);
    assert!(instance.validate(&file).await.is_err());
    assert_eq!(instance.note("written").trim(), "100000");
}

#[tokio::test]
async fn a_command_leaves_a_processor_to_the_gateway() {
    let allowed = sched_getaffinity(None).unwrap();
    let mut expected: Vec<_> = (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect();
    if expected.len() > 1 {
        expected.remove(0);
    }
    let instance = python(&format!(
        "limited()\npid = os.fork()\nassert sorted(os.sched_getaffinity(0)) == {expected:?}\nif pid: assert os.waitpid(pid, 0)[1] == 0"
    ));
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
}

#[tokio::test]
async fn a_command_runs_behind_all_others() {
    let instance = python(
        "limited()\nassert os.nice(0) == 19\nassert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n\
         assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 1024\n\
         assert open('/proc/self/oom_score_adj').read() == '1000\\n'",
    );
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
}

/// In memory, where there is such a folder: on a disk this takes minutes.
#[tokio::test]
async fn a_folder_of_any_depth_is_removed() {
    let memory = Some(Path::new("/dev/shm")).filter(|path| path.is_dir());
    let root = memory.map_or_else(TempDir::new, TempDir::new_in).unwrap();
    let instance = python_with("for _ in range(50000):\n    os.mkdir('d'); os.chdir('d')", |config| {
        config.temp_dir = Some(root.path().to_owned());
    });
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn no_more_run_at_once_than_may() {
    let script = "mkdir -p $NOTES/running; mkdir $NOTES/running/$$; ls $NOTES/running | wc -l >> $NOTES/count; \
        while ! test -e $NOTES/go; do sleep 0.01; done; rmdir $NOTES/running/$$";
    let instance = instance(&["/bin/sh", "-c", script], |config| config.at_once = 2);
    let runs: Vec<_> = (0..6).map(|_| instance.start()).collect();
    instance.numbers("count", 2).await;
    assert_eq!(instance.folders().len(), 2, "who waits has no folder yet");
    instance.leave("go");
    for run in runs {
        assert_eq!(run.await.unwrap().unwrap(), Verdict::Accept);
    }
    let counts = instance.numbers("count", 6).await;
    assert!(counts.len() == 6 && counts.iter().all(|count| *count <= 2), "{counts:?}");
    instance.assert_clean();
}

#[tokio::test]
async fn a_run_that_was_given_up_makes_room_for_the_next() {
    let instance = instance(&["/bin/sh", "-c", "test -e $NOTES/go || exec sleep 1000"], |config| config.at_once = 1);
    let (first, second) = (instance.start(), instance.start());
    until("one runs", || instance.processes().len() == 1).await;
    instance.leave("go");
    first.abort();
    second.abort();
    assert_eq!(instance.verdict().await.unwrap(), Verdict::Accept);
}

#[tokio::test]
async fn closing_waits_for_what_is_still_being_cleared_away() {
    let instance = shell("echo $$ >> $NOTES/pid; while :; do :; done");
    let run = instance.start();
    instance.numbers("pid", 1).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    instance.command.close().await;
    instance.assert_clean();
}

#[test]
fn the_end_of_the_runtime_is_the_end_of_its_commands() {
    let instance = shell("echo $$ >> $NOTES/pid; sleep 1000 & while :; do :; done");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let pid = runtime.block_on(async {
        let _run = instance.start();
        instance.numbers("pid", 1).await[0]
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(instance.becomes_clean());
    assert!(!is_alive(pid));
}

/// Many at the same time, of every kind, on several threads.
#[tokio::test(flavor = "multi_thread")]
async fn runs_do_not_disturb_each_other() {
    let script = "read asked; case $asked in *a7.json*) exit 65 ;; *a3.json*) kill -9 $$ ;; esac; sleep 1000 & setsid sleep 1000 &";
    let instance = instance(&["/bin/sh", "-c", script], |config| config.at_once = 8);
    let runs: Vec<_> = (0..40)
        .map(|number| {
            let command = instance.command.clone();
            tokio::spawn(
                async move { command.validate(&MemoryFile::new(&format!("a{}.json", number % 10), "{}")).await },
            )
        })
        .collect();
    for (number, run) in runs.into_iter().enumerate() {
        let verdict = run.await.unwrap();
        match number % 10 {
            7 => assert!(matches!(verdict.unwrap(), Verdict::Reject(_)), "{number}"),
            3 => assert!(verdict.unwrap_err().retryable, "{number}"),
            _ => assert_eq!(verdict.unwrap(), Verdict::Accept, "{number}"),
        }
    }
    instance.assert_clean();
}

#[tokio::test]
async fn a_follow_up_that_fails_is_tried_again() {
    let file = MemoryFile::new("a", "");
    assert!(shell("exit 1").command.follow_up(&file, &publication("1")).await.unwrap_err().retryable);
    assert_eq!(shell("exit 0").command.follow_up(&file, &publication("1")).await.unwrap(), FollowUp::Done);
}
