//! Rounds, medians and ratios. The two sides take turns, and a ratio is that of one round: a disk's speed changes by the minute,
//! and both see the same minute.

use std::future::Future;
use std::time::Instant;

use crate::Result;
use crate::usage::{Processes, Watch};

/// One piece of work, done once.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub seconds: f64,
    /// Of the server.
    pub cpu: f64,
    /// KiB.
    pub memory: u64,
}

impl Sample {
    /// Several pieces of work as one.
    pub fn sum(samples: &[Sample]) -> Self {
        Self {
            seconds: samples.iter().map(|sample| sample.seconds).sum(),
            cpu: samples.iter().map(|sample| sample.cpu).sum(),
            memory: peak(samples),
        }
    }
}

/// Does `work` and looks at the server meanwhile.
pub async fn sample(server: &Processes, work: impl Future<Output = Result<()>>) -> Result<Sample> {
    let watch = Watch::begin(server);
    let begun = Instant::now();
    let done = work.await;
    let seconds = begun.elapsed().as_secs_f64();
    let (cpu, memory) = watch.end();
    done?;
    Ok(Sample { seconds, cpu, memory })
}

/// How long single requests took, from sending one to having read its answer.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// Seconds, the shortest first.
    sorted: Vec<f64>,
}

impl Latencies {
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self { sorted: seconds }
    }

    /// What this share of the requests took at most.
    pub fn at(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

/// What was measured of both sides, round by round.
#[derive(Debug)]
pub struct Rounds<T = Sample> {
    pub ours: Vec<T>,
    pub theirs: Vec<T>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self { ours: Vec::new(), theirs: Vec::new() }
    }
}

impl<T> Rounds<T> {
    pub fn add(&mut self, side: Side, measured: T) {
        match side {
            Side::Ours => self.ours.push(measured),
            Side::Theirs => self.theirs.push(measured),
        }
    }

    /// The median of what each round says of both.
    pub fn median(&self, of: impl Fn(&T, &T) -> f64) -> f64 {
        median(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| of(ours, theirs)))
    }
}

impl Rounds {
    /// Whose turn it is first; it changes from round to round.
    pub fn order(round: usize) -> [Side; 2] {
        if round.is_multiple_of(2) { [Side::Ours, Side::Theirs] } else { [Side::Theirs, Side::Ours] }
    }

    /// How much faster we are.
    pub fn speed(&self) -> f64 {
        self.median(|ours, theirs| theirs.seconds / ours.seconds)
    }

    /// How much more processor time we take.
    pub fn cpu(&self) -> f64 {
        self.median(|ours, theirs| ours.cpu / theirs.cpu)
    }
}

impl Rounds<Latencies> {
    /// How much longer ours take, at this share of the requests.
    pub fn growth(&self, share: f64) -> f64 {
        self.median(|ours, theirs| ours.at(share) / theirs.at(share))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The gateway, or the gateway with what is measured.
    Ours,
    /// What it is compared with: mostly nginx, or a gateway without it.
    Theirs,
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

pub fn seconds(samples: &[Sample]) -> f64 {
    median(samples.iter().map(|sample| sample.seconds))
}

pub fn cpu(samples: &[Sample]) -> f64 {
    median(samples.iter().map(|sample| sample.cpu))
}

pub fn peak(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.memory).max().unwrap_or(0)
}
