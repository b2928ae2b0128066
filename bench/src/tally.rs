//! What became of the requests: latencies of those that were answered well, counts of the errors of the others.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Latencies above this, an hour, count as it.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Decimal digits to which a latency is kept.
const DIGITS: u8 = 3;
/// Different error texts that are kept; the counts of further ones go to [`OTHER_ERRORS`].
const ERROR_TEXTS_MAX: usize = 100;
const OTHER_ERRORS: &str = "other errors";

/// The outcome of requests. A request is counted once.
#[derive(Debug)]
pub struct Tally {
    /// Latencies in nanoseconds.
    pub latencies: Histogram<u64>,
    /// How often each error came.
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("the bounds are valid");
        Self { latencies, errors: BTreeMap::new() }
    }

    /// A request was answered well.
    pub fn answered(&mut self, latency_ns: u64) {
        self.latencies.saturating_record(latency_ns);
    }

    /// `count` requests failed.
    pub fn failed(&mut self, why: &str, count: u64) {
        if count == 0 {
            return;
        }
        let known = self.errors.len() < ERROR_TEXTS_MAX || self.errors.contains_key(why);
        *self.errors.entry(if known { why } else { OTHER_ERRORS }.to_owned()).or_default() += count;
    }

    /// Takes in another thread's.
    pub fn merge(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all have the same bounds");
        other.errors.iter().for_each(|(why, count)| self.failed(why, *count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_loses_nothing() {
        let (mut one, mut two) = (Tally::new(), Tally::new());
        one.answered(1_000);
        one.failed("a", 1);
        two.answered(3_000);
        two.answered(u64::MAX);
        two.failed("a", 2);
        two.failed("b", 0);
        one.merge(&two);
        assert_eq!(one.latencies.len(), 3);
        assert_eq!(one.errors, BTreeMap::from([("a".to_owned(), 3)]));
    }

    #[test]
    fn error_texts_are_bounded_and_their_count_is_not() {
        let mut tally = Tally::new();
        (0..500).for_each(|n| tally.failed(&format!("error {n}"), 1));
        assert_eq!((tally.errors.len(), tally.errors.values().sum::<u64>()), (ERROR_TEXTS_MAX + 1, 500));
        assert_eq!(tally.errors[OTHER_ERRORS], 400);
    }
}
