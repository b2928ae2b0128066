//! When to compact without being asked. Pure: the time and the revision are inputs, the revision to compact is the
//! output. Source: etcd `api/v3compactor`, whose intervals it has.

use std::collections::VecDeque;
use std::time::Duration;

use windlass_types::{Revision, nanoseconds};

/// The longest time between two compactions by time.
const PERIOD_MAX: Duration = Duration::from_secs(3600);

/// The revision is noted so many times in a period.
const SAMPLES: u32 = 10;

/// The time between two compactions by revision.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// What was there at any time within this one; above zero.
    Period(Duration),
    /// So many revisions; above zero.
    Revisions(i64),
}

/// Decides when to compact, on every member; only a leader's decisions are carried out.
#[derive(Debug)]
pub struct Compactor {
    retention: Retention,
    /// Revisions of the last period, the oldest first.
    samples: VecDeque<Revision>,
    next_sample_ns: u64,
    next_compaction_ns: u64,
    compacted: Revision,
}

impl Compactor {
    /// Begins at `now_ns` of any monotonic clock.
    #[must_use]
    pub fn new(retention: Retention, now_ns: u64) -> Self {
        let first = match retention {
            Retention::Period(period) => period,
            Retention::Revisions(_) => REVISION_INTERVAL,
        };
        Self {
            retention,
            samples: VecDeque::new(),
            next_sample_ns: now_ns,
            next_compaction_ns: now_ns.saturating_add(nanoseconds(first)),
            compacted: Revision::ZERO,
        }
    }

    /// To be called now and then with the newest revision. The revision to compact, if that is due and this member leads.
    pub fn tick(&mut self, now_ns: u64, newest: Revision, leads: bool) -> Option<Revision> {
        let interval = match self.retention {
            Retention::Period(period) => period.min(PERIOD_MAX),
            Retention::Revisions(_) => REVISION_INTERVAL,
        };
        let kept = match self.retention {
            Retention::Period(period) => self.period_ago(now_ns, newest, interval / SAMPLES, period)?,
            Retention::Revisions(count) => Revision(newest.0 - count),
        };
        if now_ns < self.next_compaction_ns || !leads {
            return None;
        }
        self.next_compaction_ns = now_ns.saturating_add(nanoseconds(interval));
        let is_news = kept > self.compacted && kept > Revision::ZERO;
        self.compacted = self.compacted.max(kept);
        is_news.then_some(kept)
    }

    /// Notes the revision, and says what it was a period ago as far as that is known.
    fn period_ago(
        &mut self,
        now_ns: u64,
        newest: Revision,
        between: Duration,
        period: Duration,
    ) -> Option<Revision> {
        if now_ns >= self.next_sample_ns {
            self.next_sample_ns = now_ns.saturating_add(nanoseconds(between));
            self.samples.push_back(newest);
            let count = period.as_nanos() / between.as_nanos().max(1) + 1;
            while self.samples.len() as u128 > count {
                self.samples.pop_front();
            }
        }
        self.samples.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Ten revisions a second, a tick every 100 ms; what was compacted, and in which second.
    fn run(retention: Retention, seconds: u64, leads: impl Fn(u64) -> bool) -> Vec<(u64, i64)> {
        let mut compactor = Compactor::new(retention, 0);
        (0..seconds * 10)
            .filter_map(|tick| {
                let second = tick / 10;
                let due = compactor.tick(tick * SECOND_NS / 10, Revision(tick as i64 + 1), leads(second));
                due.map(|revision| (second, revision.0))
            })
            .collect()
    }

    #[test]
    fn what_is_younger_than_the_period_stays() {
        let compacted = run(Retention::Period(Duration::from_secs(10)), 45, |_| true);
        assert_eq!(compacted.iter().map(|c| c.0).collect::<Vec<_>>(), [10, 20, 30, 40]);
        assert!(
            compacted.iter().all(|&(second, revision)| revision <= (second as i64 - 9) * 10),
            "{compacted:?}"
        );
    }

    #[test]
    fn a_long_period_is_kept_and_compacted_hourly() {
        let compacted = run(Retention::Period(Duration::from_secs(7200)), 4 * 3600, |_| true);
        assert_eq!(compacted.iter().map(|c| c.0).collect::<Vec<_>>(), [7200, 10800]);
        assert!(
            compacted.iter().all(|&(second, revision)| revision <= (second as i64 - 6800) * 10),
            "{compacted:?}"
        );
    }

    #[test]
    fn so_many_revisions_stay() {
        let compacted = run(Retention::Revisions(1000), 1000, |_| true);
        assert_eq!(compacted, [(300, 2001), (600, 5001), (900, 8001)]);
        assert_eq!(run(Retention::Revisions(1_000_000), 1000, |_| true), []);
    }

    #[test]
    fn only_a_leader_compacts_and_a_new_one_at_once() {
        let compacted = run(Retention::Period(Duration::from_secs(10)), 40, |second| second >= 25);
        assert_eq!(compacted.iter().map(|c| c.0).collect::<Vec<_>>(), [25, 35]);
    }
}
