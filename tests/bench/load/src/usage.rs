//! What a server used while it was measured: processor time and anonymous memory of it and its children, from /proc.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What /proc counts processor time in: USER_HZ is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process and its children (nginx's workers, which begin a moment after it listens).
#[derive(Debug, Clone, Copy)]
pub struct Processes(u32);

impl Processes {
    pub fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// Seconds of processor time, in user space and in the kernel, since they began.
    pub fn cpu(self) -> f64 {
        self.all().map(|pid| ticks(pid, 11..13)).sum::<f64>() / TICKS_PER_SECOND
    }

    /// Anonymous memory in KiB.
    pub fn memory(self) -> u64 {
        self.all().map(rss_anon).sum()
    }

    fn all(self) -> impl Iterator<Item = u32> {
        let pid = self.0;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children: Vec<u32> = children.split_whitespace().filter_map(|child| child.parse().ok()).collect();
        std::iter::once(pid).chain(children)
    }
}

/// Seconds of processor time of this process's children that have ended.
pub fn cpu_of_ended_children() -> f64 {
    ticks(std::process::id(), 13..15) / TICKS_PER_SECOND
}

/// The sum of fields of /proc/PID/stat, counted after the command's name.
fn ticks(pid: u32, fields: std::ops::Range<usize>) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let values = after_name.split_whitespace().skip(fields.start).take(fields.len());
    values.filter_map(|ticks| ticks.parse::<f64>().ok()).sum()
}

fn rss_anon(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// Looks at memory on a thread of its own until it is asked.
pub struct Watch {
    processes: Processes,
    cpu_before: f64,
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub fn begin(processes: &Processes) -> Self {
        let (peak, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (processes, peak, over) = (*processes, peak.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    peak.fetch_max(processes.memory(), Ordering::Relaxed);
                    std::thread::sleep(LOOK_EVERY);
                }
            })
        };
        Self { processes: *processes, cpu_before: processes.cpu(), peak, over, thread }
    }

    /// Processor seconds, and the most memory in KiB.
    pub fn end(self) -> (f64, u64) {
        let cpu = self.processes.cpu() - self.cpu_before;
        self.over.store(true, Ordering::Relaxed);
        // It has nothing that could panic.
        let _ = self.thread.join();
        (cpu, self.peak.load(Ordering::Relaxed))
    }
}
