//! The table.

use std::fs;
use std::process::Command;

use crate::measure::{self, Latencies, Rounds};
use crate::{Options, Result};

pub struct Report {
    machine: String,
    rows: Vec<Row>,
    failures: Vec<String>,
}

pub struct Row {
    pub work: String,
    pub target: Target,
    pub measured: f64,
    pub cpu: String,
    pub memory: String,
    pub detail: String,
}

#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// At least so many times the other's speed.
    Ratio(f64),
    /// At most so many of a unit.
    Under(f64, &'static str),
    /// At most so many times the other's.
    Times(f64),
    /// None: it is only told, in this unit.
    Told(&'static str),
}

impl Target {
    fn verdict(self, measured: f64) -> &'static str {
        let is_met = match self {
            Target::Ratio(least) => measured >= least,
            Target::Under(most, _) | Target::Times(most) => measured <= most,
            Target::Told(_) => return "",
        };
        if is_met { "reached" } else { "**falls short**" }
    }

    fn text(self) -> String {
        match self {
            Target::Ratio(least) => format!("≥ {least:.2}"),
            Target::Under(most, unit) => format!("≤ {most:.0} {unit}"),
            Target::Times(most) => format!("≤ {most:.2} ×"),
            Target::Told(_) => String::new(),
        }
    }

    fn measured(self, measured: f64) -> String {
        match self {
            Target::Ratio(_) => format!("{measured:.2}"),
            Target::Under(_, unit) => format!("{measured:.1} {unit}"),
            Target::Times(_) => format!("{measured:.2} ×"),
            Target::Told(unit) => format!("{measured:.0} {unit}"),
        }
    }
}

/// What a piece of work is counted in.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    Bytes(u64),
    Requests(usize),
}

impl Unit {
    fn rate(self, seconds: f64) -> String {
        match self {
            Unit::Bytes(bytes) => format!("{:.0} MB/s", bytes as f64 / seconds / 1e6),
            Unit::Requests(count) => format!("{:.0}/s", count as f64 / seconds),
        }
    }

    fn cost(self, cpu: f64) -> String {
        match self {
            Unit::Bytes(bytes) => format!("{:.2} s/GiB", cpu / (bytes as f64 / (1u64 << 30) as f64)),
            Unit::Requests(count) => format!("{:.0} µs/request", cpu / count as f64 * 1e6),
        }
    }
}

impl Row {
    /// A row whose rounds were done by both sides.
    pub fn compared(work: impl Into<String>, least: f64, unit: Unit, rounds: &Rounds) -> Self {
        let (target, measured) = (Target::Ratio(least), rounds.speed());
        Self { work: work.into(), target, measured, ..Self::used(unit, rounds) }
    }

    /// A row of what the work costs ours in processor time beyond theirs.
    pub fn dearer(work: impl Into<String>, most: f64, requests: usize, rounds: &Rounds) -> Self {
        let more = rounds.median(|ours, theirs| ours.cpu - theirs.cpu);
        let (target, measured) = (Target::Under(most, "µs"), more / requests as f64 * 1e6);
        Self { work: work.into(), target, measured, ..Self::used(Unit::Requests(requests), rounds) }
    }

    /// A row of how much longer single requests take for ours than for theirs, by their medians. `requests` are all that the
    /// servers answered while `rounds` were measured.
    pub fn delayed(
        work: impl Into<String>,
        most: f64,
        latencies: &Rounds<Latencies>,
        requests: usize,
        rounds: &Rounds,
    ) -> Self {
        let at = |side: &[Latencies], share| measure::median(side.iter().map(|turn| turn.at(share))) * 1e3;
        let both = |share| format!("{:.2} : {:.2} ms", at(&latencies.ours, share), at(&latencies.theirs, share));
        Self {
            work: work.into(),
            target: Target::Times(most),
            measured: latencies.growth(0.5),
            detail: format!("p50 {}; p99 {} ({:.2} ×)", both(0.5), both(0.99), latencies.growth(0.99)),
            ..Self::used(Unit::Requests(requests), rounds)
        }
    }

    /// What both sides used, and how fast they were.
    fn used(unit: Unit, rounds: &Rounds) -> Self {
        let (ours, theirs) = (&rounds.ours, &rounds.theirs);
        Self {
            work: String::new(),
            target: Target::Told(""),
            measured: f64::NAN,
            cpu: format!(
                "{:.2} ({} : {})",
                rounds.cpu(),
                unit.cost(measure::cpu(ours)),
                unit.cost(measure::cpu(theirs))
            ),
            memory: format!("{} : {}", mebibytes(measure::peak(ours)), mebibytes(measure::peak(theirs))),
            detail: format!("{} : {}", unit.rate(measure::seconds(ours)), unit.rate(measure::seconds(theirs))),
        }
    }
}

pub fn mebibytes(kibibytes: u64) -> String {
    format!("{:.0} MiB", kibibytes as f64 / 1024.0)
}

impl Report {
    pub fn begin(options: &Options) -> Result<Self> {
        let nginx = Command::new("nginx").arg("-v").output()?;
        let nginx = String::from_utf8_lossy(&nginx.stderr).trim().replace("nginx version: ", "");
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let machine = format!(
            "{} × {}, Linux {}, {nginx}; load average {} before; medians of {} rounds; ours : theirs",
            cpus.lines().filter(|line| line.starts_with("processor")).count(),
            model.map_or("an unknown processor", |(_, model)| model),
            fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
            load_average(),
            options.rounds,
        );
        Ok(Self { machine, rows: Vec::new(), failures: Vec::new() })
    }

    pub fn add(&mut self, row: Row) {
        eprintln!("   {}: {} ({}), CPU {}", row.work, row.target.measured(row.measured), row.detail, row.cpu);
        self.rows.push(row);
    }

    pub fn failed(&mut self, name: &str, error: &str) {
        eprintln!("   {name} could not be measured: {error}");
        self.failures.push(format!("`{name}` could not be measured: {error}"));
    }

    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    pub fn print(&self) {
        println!("{}; {} after\n", self.machine, load_average());
        println!("| work | to reach | measured | | speed | server CPU, × | peak RssAnon |");
        println!("|---|---|---|---|---|---|---|");
        for row in &self.rows {
            println!(
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.work,
                row.target.text(),
                row.target.measured(row.measured),
                row.target.verdict(row.measured),
                row.detail,
                row.cpu,
                row.memory,
            );
        }
        for failure in &self.failures {
            println!("\n{failure}");
        }
    }
}

fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}
