//! The newest flushes, and what the member's own background work did meanwhile.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::{Flush, Sums, clock_ns};

/// Flushes that are kept: a second or so of a busy member. The oldest go first; whoever reads is told how many it missed.
const FLUSHES_MAX: usize = 16_384;
/// Pieces of background work that are kept; the oldest go first.
const ACTIVITIES_MAX: usize = 1_024;

/// Background work that shares the disk or the CPU with commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A shard writes a checkpoint.
    Checkpoint,
    /// A shard removes compacted revisions.
    Compaction,
    /// A snapshot is sent to a member.
    Snapshot,
}

impl Work {
    /// For people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Compaction => "compaction",
            Self::Snapshot => "snapshot",
        }
    }
}

/// A piece of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// What.
    pub work: Work,
    /// Of which shard; 0 for a snapshot.
    pub shard: u16,
    /// From when, by [`clock_ns`].
    pub began_ns: u64,
    /// Until when; `None` while it goes on.
    pub ended_ns: Option<u64>,
}

/// What happened of late.
#[derive(Debug, Default)]
pub struct Recent {
    flushes: Mutex<Flushes>,
    activities: Mutex<VecDeque<Activity>>,
}

#[derive(Debug, Default)]
struct Flushes {
    list: VecDeque<Flush>,
    /// Number of the first in the list, since the process began.
    first: u64,
    /// Of all, also of those that are gone.
    sums: Sums,
}

impl Recent {
    /// Adds a flush.
    pub fn push(&self, flush: Flush) {
        let mut flushes = self.flushes.lock();
        if flushes.list.len() == FLUSHES_MAX {
            flushes.list.pop_front();
            flushes.first += 1;
        }
        flushes.sums.add(&flush);
        flushes.list.push_back(flush);
    }

    /// What all flushes since the process began add up to.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.flushes.lock().sums.clone()
    }

    /// Of the flushes from number `since` on the `count` that took longest until the answer, the slowest first, and the
    /// number behind the newest.
    #[must_use]
    pub fn slowest(&self, since: u64, count: usize) -> (u64, Vec<Flush>) {
        let flushes = self.flushes.lock();
        let mut slowest: Vec<Flush> = Vec::with_capacity(count + 1);
        for flush in flushes.list.iter().skip(since.saturating_sub(flushes.first) as usize) {
            let is_slow = slowest.len() < count
                || slowest.last().is_some_and(|last| last.answered_ns() < flush.answered_ns());
            if is_slow {
                let place = slowest.partition_point(|one| one.answered_ns() >= flush.answered_ns());
                slowest.insert(place, *flush);
                slowest.truncate(count);
            }
        }
        (flushes.first + flushes.list.len() as u64, slowest)
    }

    /// The flushes from number `since` on, and the number of the first of them.
    #[must_use]
    pub fn since(&self, since: u64) -> (u64, Vec<Flush>) {
        let flushes = self.flushes.lock();
        let end = flushes.first + flushes.list.len() as u64;
        let first = since.clamp(flushes.first, end);
        (first, flushes.list.iter().skip((first - flushes.first) as usize).copied().collect())
    }

    /// Work began, unless it already goes on.
    pub fn began(&self, work: Work, shard: u16) {
        let mut activities = self.activities.lock();
        if activities.iter().any(|one| (one.work, one.shard, one.ended_ns) == (work, shard, None)) {
            return;
        }
        if activities.len() == ACTIVITIES_MAX {
            activities.pop_front();
        }
        activities.push_back(Activity { work, shard, began_ns: clock_ns(), ended_ns: None });
    }

    /// Work ended, if it went on.
    pub fn ended(&self, work: Work, shard: u16) {
        let mut activities = self.activities.lock();
        let going = activities.iter_mut().rev().find(|one| (one.work, one.shard) == (work, shard));
        if let Some(activity) = going.filter(|one| one.ended_ns.is_none()) {
            activity.ended_ns = Some(clock_ns());
        }
    }

    /// Work that went on after `since_ns`.
    #[must_use]
    pub fn activities(&self, since_ns: u64) -> Vec<Activity> {
        let activities = self.activities.lock();
        activities.iter().filter(|one| one.ended_ns.is_none_or(|ended| ended >= since_ns)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_go_on_where_they_were_and_learn_what_they_missed() {
        let recent = Recent::default();
        let flush = |index| Flush { index, ..Flush::default() };
        (1..=3).for_each(|index| recent.push(flush(index)));
        assert_eq!(recent.since(1), (1, vec![flush(2), flush(3)]));
        assert_eq!(recent.since(9), (3, Vec::new()));
        (4..=FLUSHES_MAX as u64 + 5).for_each(|index| recent.push(flush(index)));
        let (first, list) = recent.since(0);
        assert_eq!((first, list.len(), list[0]), (5, FLUSHES_MAX, flush(6)));
    }

    #[test]
    fn the_slowest_come_in_order_and_from_where_the_reader_was() {
        let recent = Recent::default();
        let flush = |index, ns| Flush { index, stages_ns: [ns, 0, 0, 0, 0, 0, 0, 9_000], ..Flush::default() };
        for (index, ns) in [(1, 900), (2, 50), (3, 700), (4, 10), (5, 800)] {
            recent.push(flush(index, ns));
        }
        assert_eq!(recent.slowest(0, 3), (5, vec![flush(1, 900), flush(5, 800), flush(3, 700)]));
        assert_eq!(recent.slowest(2, 9), (5, vec![flush(5, 800), flush(3, 700), flush(4, 10)]));
        assert_eq!(recent.slowest(7, 3), (5, Vec::new()));
        assert_eq!(recent.sums().flushes, 5);
    }

    #[test]
    fn work_that_goes_on_is_known_once() {
        let recent = Recent::default();
        recent.began(Work::Checkpoint, 1);
        recent.began(Work::Checkpoint, 1);
        recent.began(Work::Compaction, 1);
        recent.ended(Work::Compaction, 1);
        recent.ended(Work::Snapshot, 0);
        let all = recent.activities(0);
        assert_eq!(all.len(), 2);
        assert!(all[0].ended_ns.is_none() && all[1].ended_ns.is_some());
        assert_eq!(recent.activities(u64::MAX).len(), 1);
    }
}
