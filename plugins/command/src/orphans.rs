//! Orphans: where the gateway is the first process of a container, what others left becomes its own child. One that ended by itself has
//! to be reaped by it, or stays a zombie as long as the gateway runs.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, child_subreaper, getpid, pidfd_open, waitid};

/// Those that become children of the gateway.
pub struct Orphans {
    /// The gateway's number.
    parent: i32,
    /// The gateway's, and that of all that it starts itself: a command leads a group in it, and so cannot leave it any more.
    session: i32,
}

impl Orphans {
    /// None where they become children of another.
    pub fn of_the_gateway() -> Option<Self> {
        let gateway = getpid();
        if !gateway.is_init() && !child_subreaper().is_ok_and(|reaper| reaper.is_some()) {
            return None;
        }
        let own = Standing::of(Path::new("/proc/self"))?;
        let orphans = Self { parent: gateway.as_raw_nonzero().get(), session: own.session };
        // Else the list is that of another namespace, where numbers are those of others.
        (own.number == orphans.parent).then_some(orphans)
    }

    /// Reaps the process if it is one that has ended. It is held before it is looked at, so that no other one that gets its number is hit.
    pub fn reap(&self, number: Pid, about: &Path) {
        let Ok(process) = pidfd_open(number, PidfdFlags::empty()) else { return };
        if Standing::of(about).is_some_and(|standing| self.has(&standing)) {
            let _ = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }

    /// How a child ended that the gateway started itself is for whoever waits for it; it is in the gateway's session.
    fn has(&self, standing: &Standing) -> bool {
        standing.state == 'Z' && standing.parent == self.parent && standing.session != self.session
    }
}

/// What a process is, and among which others. A number of a process that is not of this namespace is 0.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    number: i32,
    state: char,
    parent: i32,
    session: i32,
}

impl Standing {
    fn of(about: &Path) -> Option<Self> {
        // A name need not be UTF-8.
        Self::read(&String::from_utf8_lossy(&fs::read(about.join("stat")).ok()?))
    }

    /// The name, in parentheses, may have anything in it, parentheses and blanks too.
    fn read(stat: &str) -> Option<Self> {
        let (number, _) = stat.split_once(" (")?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let _group = fields.next()?;
        let session = fields.next()?.parse().ok()?;
        Some(Self { number: number.parse().ok()?, state, parent, session })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(stat: &str) -> Standing {
        Standing::read(stat).unwrap()
    }

    #[test]
    fn a_name_may_have_anything_in_it() {
        let expected = Standing { number: 7, state: 'Z', parent: 1, session: 5 };
        for name in ["sh", "", "a b", ") S 2 3 4", "(((", "\u{fffd}"] {
            assert_eq!(standing(&format!("7 ({name}) Z 1 6 5 0 -1 4228108 0\n")), expected, "{name}");
        }
        for broken in ["", "7", "7 (sh)", "7 (sh) Z 1 6", "7 (sh) Z x 6 5 0"] {
            assert_eq!(Standing::read(broken), None, "{broken}");
        }
        let own = Standing::of(Path::new("/proc/self")).unwrap();
        assert_eq!(u32::try_from(own.number), Ok(std::process::id()));
    }

    #[test]
    fn only_what_ended_in_another_session_is_an_orphan() {
        // As it is in a container, the session of whose first process is one outside.
        let orphans = Orphans { parent: 1, session: 0 };
        assert!(orphans.has(&standing("7 (sh) Z 1 7 7 0")));
        for (stat, what) in [
            ("7 (sh) S 1 7 7 0", "it runs"),
            ("7 (sh) Z 6 7 7 0", "it is another's child"),
            ("7 (sh) Z 1 7 0 0", "it is a command, or was started by another plugin"),
        ] {
            assert!(!orphans.has(&standing(stat)), "{what}");
        }
    }
}
