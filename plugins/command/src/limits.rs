//! What a command may take of the machine. The limits are set right after its start and inherited by whatever it starts; what it has started
//! before that gets them, too. (To set them in the child before it becomes the program needs unsafe code, and a fork of the whole gateway.)

use std::io;

use rustix::process::{Pid, setpriority_process};

/// The lowest priority: a command that loops leaves the processors to whoever else wants them.
const NICE: i32 = 19;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of data of each process. Not of address space: runtimes with a garbage collector reserve far more of that than they use.
    pub memory: u64,
    /// Bytes of each file that is written.
    pub file: u64,
}

impl Limits {
    /// To a process that was only just started.
    #[cfg(target_os = "linux")]
    pub fn apply(&self, leader: Pid) -> io::Result<()> {
        self.restrict(leader)?;
        late::catch_up(leader, |process| self.restrict(process));
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub fn apply(&self, leader: Pid) -> io::Result<()> {
        Ok(setpriority_process(Some(leader), NICE)?)
    }

    #[cfg(target_os = "linux")]
    fn restrict(&self, process: Pid) -> io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

        /// What programs expect. The gateway's own is high, and some close all that there could be, one by one.
        const OPEN_FILES: u64 = 1_024;

        leave_one_processor(process);
        for (resource, most) in [(Resource::Data, self.memory), (Resource::Fsize, self.file), (Resource::Core, 0)] {
            // Nobody may raise what the gateway itself was given.
            let most = getrlimit(resource).maximum.map_or(most, |given| given.min(most));
            prlimit(Some(process), resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        let given = getrlimit(Resource::Nofile);
        let current = given.maximum.map_or(OPEN_FILES, |given| given.min(OPEN_FILES));
        prlimit(Some(process), Resource::Nofile, Rlimit { current: Some(current), ..given })?;
        // When memory runs out all the same, it is the command that has to go and not the gateway. Not every system has that.
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", process.as_raw_nonzero()), "1000");
        // Last, for by it one sees who has all of them.
        Ok(setpriority_process(Some(process), NICE)?)
    }
}

/// Keeps a command off one of the processors that the gateway may use, where these are several. Priority is no help against what the system
/// itself does for a command: most kernels of servers do not interrupt a fork, or the freeing of a large file, for milliseconds. A system
/// that does not let the processors be chosen is as good without.
#[cfg(target_os = "linux")]
fn leave_one_processor(process: Pid) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let Ok(mut processors) = sched_getaffinity(None) else { return };
    let first = (0..CpuSet::MAX_CPU).find(|number| processors.is_set(*number));
    if let Some(first) = first.filter(|_| processors.count() > 1) {
        processors.unset(first);
        let _ = sched_setaffinity(Some(process), &processors);
    }
}

/// Processes that a command had started before it had its limits, which is where the processors have much to do.
#[cfg(target_os = "linux")]
mod late {
    use std::fs;
    use std::io;

    use rustix::process::{Pid, getpriority_process};

    use super::NICE;

    /// Who forks faster than this is ended by the deadline.
    const MOST: usize = 1_000;

    /// Restricts them too, those that they have started, and so on. (One whose parent is gone by then is not found.)
    pub fn catch_up(leader: Pid, restrict: impl Fn(Pid) -> io::Result<()>) {
        let mut parents = vec![leader];
        for _ in 0..MOST {
            let Some(parent) = parents.pop() else { return };
            let is_free = |child: &Pid| getpriority_process(Some(*child)).is_ok_and(|nice| nice < NICE);
            // It may have ended by itself.
            parents.extend(children_of(parent).into_iter().filter(is_free).filter(|child| restrict(*child).is_ok()));
        }
    }

    fn children_of(parent: Pid) -> Vec<Pid> {
        let parent = parent.as_raw_nonzero();
        let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        list.split_whitespace().filter_map(|number| Pid::from_raw(number.parse().ok()?)).collect()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;
    use rustix::process::{Signal, getpriority_process, kill_process};

    #[test]
    fn what_was_started_before_is_limited_too() {
        // The second is a child's child, in a session of its own.
        let script = "(setsid sh -c 'echo $$; exec sleep 60' & wait) & wait";
        let mut leader = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut number = String::new();
        BufReader::new(leader.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let sleeper = Pid::from_raw(number.trim().parse().unwrap()).unwrap();

        Limits { memory: 1 << 20, file: 12_345 }.apply(Pid::from_child(&leader)).unwrap();
        for process in [Pid::from_child(&leader), sleeper] {
            let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.as_raw_nonzero())).unwrap();
            for (name, bytes) in [("Max data size", "1048576"), ("Max file size", "12345")] {
                let limit = limits.lines().find(|line| line.starts_with(name)).unwrap();
                assert_eq!(limit.split_whitespace().filter(|word| *word == bytes).count(), 2, "{limit}");
            }
            assert_eq!(getpriority_process(Some(process)).unwrap(), NICE);
        }
        kill_process(sleeper, Signal::KILL).unwrap();
        leader.wait().unwrap();
    }
}
