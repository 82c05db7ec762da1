//! Processes that left the group of their command, as daemons do, and are still about when its run is over. Whoever wants to stay hidden
//! can (by another environment and another folder): this is for the careless, not against enemies. What is in the group is `leader`'s.

#[cfg(target_os = "linux")]
pub use linux::end;

/// Elsewhere a process's environment cannot be looked at like that.
#[cfg(not(target_os = "linux"))]
pub fn end(_folder: &std::path::Path) {}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;
    use std::thread::sleep;
    use std::time::Duration;

    use rustix::process::{Pid, PidfdFlags, Signal, WaitId, pidfd_open, pidfd_send_signal};

    use crate::folder::MARK;
    use crate::leader::reap;

    /// Each finds what was started during the one before.
    const ROUNDS: usize = 200;
    const PAUSE: Duration = Duration::from_millis(1);

    /// Kills all processes that belong to the run with this folder, until none is left. It may take some milliseconds.
    pub fn end(folder: &Path) {
        let mark = [MARK.as_bytes(), b"=", folder.as_os_str().as_encoded_bytes()].concat();
        for _ in 0..ROUNDS {
            let killed: Vec<OwnedFd> = processes().filter_map(|pid| end_straggler(pid, folder, &mark)).collect();
            if killed.is_empty() {
                return;
            }
            killed.iter().for_each(|process| reap(WaitId::PidFd(process.as_fd())));
            sleep(PAUSE);
        }
        tracing::warn!(folder = %folder.display(), "processes that a command left behind cannot be killed");
    }

    fn processes() -> impl Iterator<Item = Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw)
    }

    /// The process is held before it is looked at, so that no other one that gets its number is hit; and killed right then, before it
    /// forks once more.
    fn end_straggler(pid: Pid, folder: &Path, mark: &[u8]) -> Option<OwnedFd> {
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let about = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
        let is_marked =
            fs::read(about.join("environ")).is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == mark));
        let is_marked = is_marked || fs::read_link(about.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        // It may have ended by itself.
        (is_marked && pidfd_send_signal(&process, Signal::KILL).is_ok()).then_some(process)
    }
}
