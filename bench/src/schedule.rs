//! When a request is to begin: at once (closed loop) or at its place in a fixed rate (open loop). Pure.
//!
//! With a rate, a request's latency counts from when it was due. A server that stalls therefore pays for every request
//! that was due meanwhile, also for those that had to wait here for a free stream: no coordinated omission.

use std::num::NonZeroU64;

const NS_PER_S: u128 = 1_000_000_000;

/// All requests of a load that goes on until it is stopped.
pub const ENDLESS: u64 = u64::MAX - 1;

/// The requests of one of `workers` threads: `worker`, `worker + workers`, `worker + 2 * workers` and so on.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Which thread, from 0.
    pub worker: u64,
    /// How many there are.
    pub workers: u64,
    /// Requests of all threads.
    pub total: u64,
}

/// What to begin next.
#[derive(Debug)]
pub struct Schedule {
    share: Share,
    /// Requests per second of all threads together; `None` for a closed loop.
    rate: Option<NonZeroU64>,
    /// Number of the next request in the whole run.
    next: u64,
}

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its number in the whole run, from 0.
    pub number: u64,
    /// From when its latency counts, in nanoseconds since the run began.
    pub start_ns: u64,
}

impl Schedule {
    /// The schedule of one thread.
    pub fn new(share: Share, rate: Option<NonZeroU64>) -> Self {
        assert!(share.worker < share.workers, "workers count from 0");
        Self { share, rate, next: share.worker }
    }

    /// Whether requests are due at times of their own.
    pub fn is_open_loop(&self) -> bool {
        self.rate.is_some()
    }

    /// The next request, if one is due at `now_ns`. It counts as begun.
    pub fn take(&mut self, now_ns: u64) -> Option<Due> {
        if self.is_exhausted() {
            return None;
        }
        let start_ns = self.due_ns().unwrap_or(now_ns);
        if start_ns > now_ns {
            return None;
        }
        let due = Due { number: self.next, start_ns };
        self.next += self.share.workers;
        Some(due)
    }

    /// Nothing more is to begin.
    pub fn stop(&mut self) {
        self.next = u64::MAX;
    }

    /// When the next request is due; `None` without a rate or when there is no further one.
    pub fn next_due_ns(&self) -> Option<u64> {
        if self.is_exhausted() { None } else { self.due_ns() }
    }

    /// Whether every request was taken.
    pub fn is_exhausted(&self) -> bool {
        self.next >= self.share.total
    }

    /// Requests not taken yet. Of a load without end nobody waits for any.
    pub fn left(&self) -> u64 {
        if self.share.total == ENDLESS {
            return 0;
        }
        self.share.total.saturating_sub(self.next).div_ceil(self.share.workers)
    }

    fn due_ns(&self) -> Option<u64> {
        let after = |rate: NonZeroU64| u128::from(self.next) * NS_PER_S / u128::from(rate.get());
        self.rate.map(|rate| u64::try_from(after(rate)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(worker: u64, workers: u64, total: u64, rate: u64) -> Schedule {
        Schedule::new(Share { worker, workers, total }, NonZeroU64::new(rate))
    }

    fn due(number: u64, start_ns: u64) -> Option<Due> {
        Some(Due { number, start_ns })
    }

    #[test]
    fn a_closed_loop_takes_at_once() {
        let mut schedule = schedule(0, 1, 2, 0);
        assert_eq!(schedule.next_due_ns(), None);
        assert_eq!(schedule.take(5), due(0, 5));
        assert_eq!(schedule.left(), 1);
        assert_eq!(schedule.take(9), due(1, 9));
        assert_eq!((schedule.take(10), schedule.left(), schedule.is_exhausted()), (None, 0, true));
    }

    #[test]
    fn a_load_without_end_leaves_nothing() {
        let mut schedule = schedule(0, 2, ENDLESS, 0);
        assert!(schedule.take(5).is_some() && !schedule.is_exhausted());
        assert_eq!(schedule.left(), 0);
    }

    #[test]
    fn an_open_loop_counts_from_when_a_request_was_due() {
        let mut schedule = schedule(0, 1, 5, 1_000);
        assert_eq!(schedule.take(0), due(0, 0));
        assert_eq!(schedule.take(999_999), None);
        assert_eq!(schedule.next_due_ns(), Some(1_000_000));
        // Nothing was taken for three intervals: all are due, each since its own time.
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(3_500_000)).map(|due| due.start_ns).collect();
        assert_eq!(late, [1_000_000, 2_000_000, 3_000_000]);
        assert_eq!(schedule.take(9_000_000), due(4, 4_000_000));
        assert_eq!(schedule.next_due_ns(), None);
    }

    #[test]
    fn times_do_not_drift() {
        let mut schedule = schedule(0, 1, 4, 3);
        let starts: Vec<_> = std::iter::from_fn(|| schedule.take(u64::MAX)).map(|due| due.start_ns).collect();
        assert_eq!(starts, [0, 333_333_333, 666_666_666, 1_000_000_000]);
    }

    #[test]
    fn threads_share_all_requests_and_the_rate() {
        let mut all = Vec::new();
        for worker in 0..3 {
            let mut schedule = schedule(worker, 3, 10, 10);
            let left = schedule.left();
            let mine: Vec<_> = std::iter::from_fn(|| schedule.take(u64::MAX)).collect();
            assert_eq!(mine.len() as u64, left);
            all.extend(mine);
        }
        all.sort_by_key(|due| due.number);
        let want: Vec<_> = (0..10).map(|n| Due { number: n, start_ns: n * 100_000_000 }).collect();
        assert_eq!(all, want);
    }
}
