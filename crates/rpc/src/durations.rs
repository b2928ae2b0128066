//! How long calls took, as a histogram whose buckets double.

use std::time::Duration;

use windlass_types::nanoseconds;

/// Number of buckets, the last of which has no bound.
pub const BUCKETS: usize = 22;

/// Upper bound of the first bucket: 2^14 ns, about 16 us. Below it a client sees the network, not the server.
const FIRST_BITS: u32 = 14;

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many fell into each bucket.
    pub counts: [u64; BUCKETS],
    /// Sum of all.
    pub sum: Duration,
}

impl Durations {
    /// Counts one.
    pub fn add(&mut self, duration: Duration) {
        self.counts[bucket(duration)] += 1;
        self.sum += duration;
    }

    /// The upper bound of a bucket; `None` for the last.
    #[must_use]
    pub fn bound(bucket: usize) -> Option<Duration> {
        (bucket + 1 < BUCKETS).then(|| Duration::from_nanos(1 << (FIRST_BITS as usize + bucket)))
    }

    /// What was added since `before`, an earlier state of the same.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let counts = std::array::from_fn(|i| self.counts[i] - before.counts[i]);
        Self { counts, sum: self.sum - before.sum }
    }
}

/// The first bucket whose bound is not below `duration`.
fn bucket(duration: Duration) -> usize {
    let ns = nanoseconds(duration);
    let bits = u64::BITS - ns.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(FIRST_BITS) as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_their_buckets() {
        assert_eq!(bucket(Duration::ZERO), 0);
        for i in 0..BUCKETS - 1 {
            let bound = Durations::bound(i).expect("not the last");
            assert_eq!((bucket(bound), bucket(bound + Duration::from_nanos(1))), (i, i + 1));
        }
        assert_eq!(Durations::bound(BUCKETS - 1), None);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(Durations::bound(20), Some(Duration::from_nanos(17_179_869_184)));
    }

    #[test]
    fn differences_are_what_came_between() {
        let mut durations = Durations::default();
        durations.add(Duration::from_millis(1));
        let before = durations.clone();
        durations.add(Duration::from_secs(100));
        let between = durations.since(&before);
        assert_eq!((between.counts[BUCKETS - 1], between.counts.iter().sum::<u64>()), (1, 1));
        assert_eq!(between.sum, Duration::from_secs(100));
    }
}
