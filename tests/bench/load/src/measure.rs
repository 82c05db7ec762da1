//! Rounds, medians and ratios. The two servers take turns, and a ratio is that of one round: a disk's speed changes by the minute,
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

/// The samples of both sides, round by round.
#[derive(Debug, Default)]
pub struct Rounds {
    pub ours: Vec<Sample>,
    pub theirs: Vec<Sample>,
}

impl Rounds {
    /// Whose turn it is first; it changes from round to round.
    pub fn order(round: usize) -> [Side; 2] {
        if round.is_multiple_of(2) { [Side::Gateway, Side::Nginx] } else { [Side::Nginx, Side::Gateway] }
    }

    pub fn add(&mut self, side: Side, sample: Sample) {
        match side {
            Side::Gateway => self.ours.push(sample),
            Side::Nginx => self.theirs.push(sample),
        }
    }

    /// How much faster we are.
    pub fn speed(&self) -> f64 {
        self.ratio(|ours, theirs| theirs.seconds / ours.seconds)
    }

    /// How much more processor time we take.
    pub fn cpu(&self) -> f64 {
        self.ratio(|ours, theirs| ours.cpu / theirs.cpu)
    }

    fn ratio(&self, of: impl Fn(&Sample, &Sample) -> f64) -> f64 {
        median(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| of(ours, theirs)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Gateway,
    Nginx,
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
