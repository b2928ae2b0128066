//! What etcd's benchmark calls a sample: the requests that began in each second of a run.

use serde::Serialize;

/// Seconds that are told apart: a day. Later requests count in the last one.
const SECONDS_MAX: usize = 86_400;
const NS_PER_S: u64 = 1_000_000_000;

/// One second's requests that were answered well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// How many.
    pub count: u64,
    /// Their latencies in nanoseconds.
    pub fastest_ns: u64,
    /// See `fastest_ns`.
    pub slowest_ns: u64,
    /// Sum of them.
    pub sum_ns: u64,
}

/// All seconds of a run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Seconds(Vec<Second>);

impl Seconds {
    /// Counts an answer that came at `now_ns` of the run.
    pub fn record(&mut self, now_ns: u64, latency_ns: u64) {
        let began = (now_ns.saturating_sub(latency_ns) / NS_PER_S) as usize;
        let second = Second { count: 1, fastest_ns: latency_ns, slowest_ns: latency_ns, sum_ns: latency_ns };
        self.at(began.min(SECONDS_MAX - 1)).add(&second);
    }

    fn at(&mut self, second: usize) -> &mut Second {
        if second >= self.0.len() {
            self.0.resize(second + 1, Second::default());
        }
        &mut self.0[second]
    }

    /// Takes in another thread's.
    pub fn merge(&mut self, other: &Self) {
        for (place, second) in other.0.iter().enumerate().filter(|(_, second)| second.count > 0) {
            self.at(place).add(second);
        }
    }

    /// Those in which requests began, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Second)> {
        self.0.iter().enumerate().filter(|(_, second)| second.count > 0)
    }
}

impl Second {
    fn add(&mut self, other: &Self) {
        self.fastest_ns =
            if self.count == 0 { other.fastest_ns } else { self.fastest_ns.min(other.fastest_ns) };
        self.slowest_ns = self.slowest_ns.max(other.slowest_ns);
        self.count += other.count;
        self.sum_ns += other.sum_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_where_they_began() {
        let (mut one, mut two) = (Seconds::default(), Seconds::default());
        one.record(1_500_000_000, 700_000_000);
        one.record(1_500_000_000, 100_000_000);
        two.record(1_900_000_000, 300_000_000);
        two.record(u64::MAX, 1);
        one.merge(&two);
        let seconds: Vec<_> = one.iter().collect();
        let second = |count, fastest_ns, slowest_ns, sum_ns| Second { count, fastest_ns, slowest_ns, sum_ns };
        assert_eq!(seconds[0], (0, &second(1, 700_000_000, 700_000_000, 700_000_000)));
        assert_eq!(seconds[1], (1, &second(2, 100_000_000, 300_000_000, 400_000_000)));
        assert_eq!(seconds[2].0, SECONDS_MAX - 1);
    }
}
