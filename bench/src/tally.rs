//! What became of the requests: latencies of those that were answered well, by class and over time, and counts of the
//! errors of the others.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::seconds::Seconds;
use crate::timeline::Timeline;

/// Latencies above this, an hour, count as it.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Decimal digits to which a latency is kept.
const DIGITS: u8 = 3;
/// Different error texts that are kept; the counts of further ones go to [`OTHER_ERRORS`].
const ERROR_TEXTS_MAX: usize = 100;
const OTHER_ERRORS: &str = "other errors";

/// The outcome of requests. A request is counted once.
#[derive(Clone, Debug)]
pub struct Tally {
    /// By class of request, as the workload names them.
    pub classes: Vec<Class>,
    /// How often each error came.
    pub errors: BTreeMap<String, u64>,
    /// What happened besides and is no error, with how often it did.
    pub notes: BTreeMap<&'static str, u64>,
}

/// Requests of one class that were answered well.
#[derive(Clone, Debug)]
pub struct Class {
    /// Latencies in nanoseconds.
    pub latencies: Histogram<u64>,
    /// The same over the time of the run.
    pub timeline: Timeline,
    /// The same by the second in which they began.
    pub seconds: Seconds,
}

impl Class {
    fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("the bounds are valid");
        Self { latencies, timeline: Timeline::default(), seconds: Seconds::default() }
    }
}

impl Tally {
    /// Nothing yet, of `classes` classes.
    pub fn new(classes: usize) -> Self {
        let classes = (0..classes).map(|_| Class::new()).collect();
        Self { classes, errors: BTreeMap::new(), notes: BTreeMap::new() }
    }

    /// A request was answered well at `now_ns` of the run.
    pub fn answered(&mut self, class: usize, now_ns: u64, latency_ns: u64) {
        let class = &mut self.classes[class];
        class.latencies.saturating_record(latency_ns);
        class.timeline.record(now_ns, latency_ns);
        class.seconds.record(now_ns, latency_ns);
    }

    /// `count` requests failed.
    pub fn failed(&mut self, why: &str, count: u64) {
        if count == 0 {
            return;
        }
        let known = self.errors.len() < ERROR_TEXTS_MAX || self.errors.contains_key(why);
        *self.errors.entry(if known { why } else { OTHER_ERRORS }.to_owned()).or_default() += count;
    }

    /// Something happened that is worth knowing.
    pub fn note(&mut self, what: &'static str, count: u64) {
        *self.notes.entry(what).or_default() += count;
    }

    /// Requests that have their outcome.
    pub fn settled(&self) -> u64 {
        let answered: u64 = self.classes.iter().map(|class| class.latencies.len()).sum();
        answered + self.errors.values().sum::<u64>()
    }

    /// Takes in another thread's.
    pub fn merge(&mut self, other: &Self) {
        for (class, other) in self.classes.iter_mut().zip(&other.classes) {
            class.latencies.add(&other.latencies).expect("all have the same bounds");
            class.timeline.merge(&other.timeline);
            class.seconds.merge(&other.seconds);
        }
        other.errors.iter().for_each(|(why, count)| self.failed(why, *count));
        other.notes.iter().for_each(|(what, count)| self.note(what, *count));
    }

    /// Appends the classes of another load that ran beside this one.
    pub fn beside(&mut self, other: Self) {
        self.classes.extend(other.classes);
        other.errors.iter().for_each(|(why, count)| self.failed(why, *count));
        other.notes.iter().for_each(|(what, count)| self.note(what, *count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_loses_nothing() {
        let (mut one, mut two) = (Tally::new(2), Tally::new(2));
        one.answered(0, 0, 1_000);
        one.failed("a", 1);
        two.answered(0, 5, 3_000);
        two.answered(1, 5, u64::MAX);
        two.failed("a", 2);
        two.failed("b", 0);
        one.merge(&two);
        let counts: Vec<_> = one.classes.iter().map(|class| class.latencies.len()).collect();
        assert_eq!((counts, one.settled()), (vec![2, 1], 6));
        assert_eq!(one.errors, BTreeMap::from([("a".to_owned(), 3)]));
    }

    #[test]
    fn error_texts_are_bounded_and_their_count_is_not() {
        let mut tally = Tally::new(1);
        (0..500).for_each(|n| tally.failed(&format!("error {n}"), 1));
        assert_eq!((tally.errors.len(), tally.errors.values().sum::<u64>()), (ERROR_TEXTS_MAX + 1, 500));
        assert_eq!(tally.errors[OTHER_ERRORS], 400);
    }
}
