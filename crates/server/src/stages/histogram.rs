//! Histograms with one writer and any number of readers.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::{STAGES, Stage};

/// Sub-buckets of each power of two: a value is known to a quarter.
pub const STEPS: usize = 4;
/// What is shorter than 2^8 ns counts in the first bucket.
const FIRST_POWER: usize = 8;
/// What is longer than 2^35 ns, 34 s, counts in the last one.
const POWERS: usize = 27;
/// Buckets of one stage.
pub const BUCKETS: usize = POWERS * STEPS;
const NS_PER_S: f64 = 1e9;

/// A histogram for each stage. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct StageHistograms(Arc<[Buckets; STAGES]>);

#[derive(Debug)]
struct Buckets {
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), sum_ns: AtomicU64::new(0) }
    }
}

impl StageHistograms {
    /// Counts a stage of `ns`. Only one thread may do so: it reads and writes without a lock on the bus.
    pub fn record(&self, stage: usize, ns: u64) {
        let buckets = &self.0[stage];
        add(&buckets.counts[bucket_of(ns)], 1);
        add(&buckets.sum_ns, ns);
    }

    /// Counts by bucket of one stage, and the sum in nanoseconds.
    #[must_use]
    pub fn read(&self, stage: usize) -> ([u64; BUCKETS], u64) {
        let buckets = &self.0[stage];
        let counts = std::array::from_fn(|bucket| buckets.counts[bucket].load(Ordering::Relaxed));
        (counts, buckets.sum_ns.load(Ordering::Relaxed))
    }
}

fn add(sum: &AtomicU64, more: u64) {
    sum.store(sum.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// Where each bucket begins, in nanoseconds; the first takes what is below it too.
#[must_use]
pub fn bucket_starts_ns() -> [u64; BUCKETS] {
    std::array::from_fn(|bucket| {
        let power = 1 << (FIRST_POWER + bucket / STEPS);
        power + power / STEPS as u64 * (bucket % STEPS) as u64
    })
}

pub(super) fn bucket_of(ns: u64) -> usize {
    let value = ns.max(1 << FIRST_POWER);
    let power = value.ilog2() as usize;
    let step = (value >> (power - 2)) as usize & (STEPS - 1);
    ((power - FIRST_POWER) * STEPS + step).min(BUCKETS - 1)
}

impl TypedMetric for StageHistograms {
    const TYPE: MetricType = MetricType::Histogram;
}

/// Shown by powers of two: a scrape need not be as fine as a profile.
impl EncodeMetric for StageHistograms {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        for stage in Stage::ALL {
            let (counts, sum_ns) = self.read(stage as usize);
            let shown: [(f64, u64); POWERS] = std::array::from_fn(|power| {
                let end = if power + 1 == POWERS {
                    f64::INFINITY
                } else {
                    ((FIRST_POWER + power + 1) as f64).exp2()
                };
                (end / NS_PER_S, counts[power * STEPS..(power + 1) * STEPS].iter().sum())
            });
            let labels = [("stage", stage.name())];
            let mut encoder = encoder.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(
                sum_ns as f64 / NS_PER_S,
                counts.iter().sum(),
                &shown,
                None,
            )?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_bucket_is_a_quarter_of_a_power_of_two() {
        assert_eq!([0, 255, 256, 319, 320, 511, 512].map(bucket_of), [0, 0, 0, 0, 1, 3, 4]);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        for (bucket, start_ns) in bucket_starts_ns().into_iter().enumerate() {
            assert_eq!((bucket_of(start_ns), bucket_of(start_ns - 1)), (bucket, bucket.saturating_sub(1)));
        }
    }

    #[test]
    fn a_scrape_shows_each_stage() {
        let histograms = StageHistograms::default();
        histograms.record(Stage::DeviceWrite as usize, 20_000);
        histograms.record(Stage::DeviceWrite as usize, 2_000_000_000);
        let mut registry = Registry::default();
        registry.register("windlass_commit_stage_seconds", "h", histograms);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("strings take any text");
        for line in [
            "windlass_commit_stage_seconds_sum{stage=\"device_write\"} 2.00002",
            "windlass_commit_stage_seconds_count{stage=\"device_write\"} 2",
            "windlass_commit_stage_seconds_bucket{le=\"0.000016384\",stage=\"device_write\"} 0",
            "windlass_commit_stage_seconds_bucket{le=\"0.000032768\",stage=\"device_write\"} 1",
            "windlass_commit_stage_seconds_bucket{le=\"+Inf\",stage=\"device_write\"} 2",
            "windlass_commit_stage_seconds_count{stage=\"queue\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
    }
}
