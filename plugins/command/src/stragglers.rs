//! Processes that left the group of their command, as daemons do, and are still about when its run is over. Whoever wants to stay hidden
//! can (by another environment and another folder): this is for the careless, not against enemies. What is in the group is `leader`'s.

/// The variable that says to each process of a run which folder is its own. Processes are found by it.
pub const MARK: &str = "TIDEGATE_RUN";

#[cfg(target_os = "linux")]
pub use linux::end;

/// Elsewhere a process's environment cannot be looked at like that.
#[cfg(not(target_os = "linux"))]
pub fn end(_folder: &std::path::Path) {}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, File};
    use std::io::Read;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;
    use std::thread::sleep;
    use std::time::Duration;

    use rustix::fs::RawDir;
    use rustix::process::{Pid, PidfdFlags, Signal, WaitId, pidfd_open, pidfd_send_signal};

    use super::MARK;
    use crate::leader::reap;
    use crate::orphans::Orphans;

    const MOST_ROUNDS: usize = 500;
    /// A process that is just becoming another program has no environment for a moment, so one look is not enough.
    const QUIET_ROUNDS: usize = 2;
    const PAUSE: Duration = Duration::from_millis(1);
    /// Of the list of processes so much is read at once, which is a few: numbers grow, so whoever is started during the round stands at
    /// the end of it. A list that is read as a whole knows a process that is gone, and not the one that it has started.
    const LIST: usize = 128;

    /// Kills all processes that belong to the run with this folder, until none is left. It takes some milliseconds.
    pub fn end(folder: &Path) {
        let mark = [MARK.as_bytes(), b"=", folder.as_os_str().as_encoded_bytes()].concat();
        let orphans = Orphans::of_the_gateway();
        let mut quiet = 0;
        for _ in 0..MOST_ROUNDS {
            quiet = if is_quiet(folder, &mark, orphans.as_ref()) { quiet + 1 } else { 0 };
            if quiet == QUIET_ROUNDS {
                return;
            }
            sleep(PAUSE);
        }
        tracing::warn!(folder = %folder.display(), "processes that a command left behind cannot be killed");
    }

    /// Whether there was nobody to kill. Orphans that ended by themselves are reaped on the way.
    fn is_quiet(folder: &Path, mark: &[u8], orphans: Option<&Orphans>) -> bool {
        let Ok(processes) = File::open("/proc") else { return true };
        let mut buffer = [MaybeUninit::uninit(); LIST];
        let mut entries = RawDir::new(processes, &mut buffer);
        // Large enough for almost all, or reading would take longer than all the rest.
        let (mut environment, mut killed) = (Vec::with_capacity(64 << 10), Vec::new());
        while let Some(Ok(entry)) = entries.next() {
            let number = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let Some(number) = number else { continue };
            let about = Path::new("/proc").join(number.as_raw_nonzero().to_string());
            // Neither a thread of the kernel nor a process that has ended or is another user's has a program that can be seen. That is
            // most of the list, and to ask this first is several times as fast as all the rest.
            if fs::read_link(about.join("exe")).is_ok() {
                killed.extend(end_straggler(number, &about, folder, mark, &mut environment));
            } else if let Some(orphans) = orphans {
                orphans.reap(number, &about);
            }
        }
        killed.iter().for_each(|process| reap(WaitId::PidFd(process.as_fd())));
        killed.is_empty()
    }

    /// The process is held before it is looked at for good, so that no other one that gets its number is hit; and killed right then,
    /// before it forks once more.
    fn end_straggler(
        number: Pid,
        about: &Path,
        folder: &Path,
        mark: &[u8],
        environment: &mut Vec<u8>,
    ) -> Option<OwnedFd> {
        if !is_meant(about, folder, mark, environment) {
            return None;
        }
        let process = pidfd_open(number, PidfdFlags::empty()).ok()?;
        // It may have ended by itself.
        let is_killed = is_meant(about, folder, mark, environment) && pidfd_send_signal(&process, Signal::KILL).is_ok();
        is_killed.then_some(process)
    }

    /// Whether the process is of the run with this folder.
    fn is_meant(about: &Path, folder: &Path, mark: &[u8], environment: &mut Vec<u8>) -> bool {
        environment.clear();
        let is_read = File::open(about.join("environ")).and_then(|mut file| file.read_to_end(environment)).is_ok();
        (is_read && environment.split(|byte| *byte == 0).any(|variable| variable == mark))
            || fs::read_link(about.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    }
}
