//! The process of a command and the group that it leads: started with its limits, watched, and killed as a whole.

use std::io;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, Command};
use tokio::signal::unix::Signal as Signals;

use crate::limits::Limits;

/// How often, a millisecond apart, it is looked whether a process is gone that was killed.
const LOOKS: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(1);

/// Dropped, it is killed with its group.
#[derive(Debug)]
pub struct Leader {
    /// Until it is reaped. Only so long is the number of the group its own.
    child: Option<Child>,
    group: Pid,
}

impl Leader {
    pub fn start(command: &mut Command, limits: &Limits) -> io::Result<Self> {
        // A group, and no session of its own: by that `orphans` knows it from what others left.
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let number = child.id().and_then(|number| i32::try_from(number).ok()).and_then(Pid::from_raw);
        let group = number.ok_or_else(|| io::Error::other("the process has no number"))?;
        let leader = Self { child: Some(child), group };
        limits.apply(group)?;
        Ok(leader)
    }

    pub fn group(&self) -> Pid {
        self.group
    }

    pub fn child(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// On Linux no process of a group can be forked past this.
    pub fn kill(&self) {
        if self.child.is_some() {
            // It fails where there is nobody to kill.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }

    /// Kills the group, and waits for the little while that takes. How the process itself ended, before that or by it.
    pub fn end(&mut self) -> Option<ExitStatus> {
        self.kill();
        let mut child = self.child.take()?;
        let status = (0..LOOKS).find_map(|look| {
            if look > 0 {
                sleep(PAUSE);
            }
            child.try_wait().ok().flatten()
        })?;
        // Where the gateway is the first process of a container, what others left becomes its own.
        reap(WaitId::Pgid(Some(self.group)));
        Some(status)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until the leader of the group has ended, and leaves it to be reaped: what is left of its group is killed before that, while the
/// number is still its own. `signals` are those of ended children, from before it was started.
pub async fn ended(group: Pid, signals: &mut Signals) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // An error: there is no such child, and nothing to wait for.
    while let Ok(None) = waitid(WaitId::Pid(group), options) {
        signals.recv().await;
    }
}

/// Reaps children of the gateway that were killed. Almost always there are none: what a command leaves behind is another's child by then.
pub fn reap(which: WaitId<'_>) {
    for _ in 0..LOOKS {
        match waitid(which.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) => sleep(PAUSE),
            Ok(Some(_)) => {}
            Err(_) => return,
        }
    }
}
