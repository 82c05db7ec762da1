//! What a command may take of the machine. The limits are set right after its start and inherited by whatever it starts; before that it
//! runs without them for a moment, in which its program is not even loaded as a rule. (To set them in the child before it becomes the
//! program needs unsafe code.)

use std::io;

use rustix::process::{Pid, setpriority_pgrp};

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
    /// To a group that has only just got its leader.
    pub fn apply(&self, group: Pid) -> io::Result<()> {
        setpriority_pgrp(Some(group), NICE)?;
        self.restrict(group)
    }

    #[cfg(target_os = "linux")]
    fn restrict(&self, leader: Pid) -> io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

        /// What programs expect. The gateway's own is high, and some close all that there could be, one by one.
        const OPEN_FILES: u64 = 1_024;

        leave_one_processor(leader);
        for (resource, most) in [(Resource::Data, self.memory), (Resource::Fsize, self.file), (Resource::Core, 0)] {
            // Nobody may raise what the gateway itself was given.
            let most = getrlimit(resource).maximum.map_or(most, |given| given.min(most));
            prlimit(Some(leader), resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        let given = getrlimit(Resource::Nofile);
        let current = given.maximum.map_or(OPEN_FILES, |given| given.min(OPEN_FILES));
        prlimit(Some(leader), Resource::Nofile, Rlimit { current: Some(current), ..given })?;
        // When memory runs out all the same, it is the command that has to go and not the gateway. Not every system has that.
        let _ = std::fs::write(format!("/proc/{}/oom_score_adj", leader.as_raw_nonzero()), "1000");
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn restrict(&self, _leader: Pid) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps a command off one of the processors that the gateway may use, where these are several. Priority is no help against what the system
/// itself does for a command: most kernels of servers do not interrupt a fork, or the freeing of a large file, for milliseconds. A system
/// that does not let the processors be chosen is as good without.
#[cfg(target_os = "linux")]
fn leave_one_processor(leader: Pid) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let Ok(mut processors) = sched_getaffinity(Some(leader)) else { return };
    let first = (0..CpuSet::MAX_CPU).find(|number| processors.is_set(*number));
    if let Some(first) = first.filter(|_| processors.count() > 1) {
        processors.unset(first);
        let _ = sched_setaffinity(Some(leader), &processors);
    }
}
