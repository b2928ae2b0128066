//! Finding members whose state differs from the others': damage in memory, a bug, a disk that lied.
//!
//! Members cannot compare all they hold all the time, but they can compare what they *do*: each shard adds up the hashes
//! of the versions that it writes, keys, values, leases and counters included, and a mark in the log makes every member
//! hand in its sum and begin a new one. Two members that went through the same stretch of the log must have the same sum,
//! however many shards they have; what was there before shows as soon as it is read into a new version.
//!
//! The leader collects the sums. What more than half of the voters agree on is right; who differs is named.

use std::collections::BTreeMap;

use windlass_mvcc::HashSum;
use windlass_raft::Membership;
use windlass_types::{LogIndex, MemberId};

/// Marks whose sums are kept for members that are slow to report. Older ones are forgotten unjudged.
const MARKS_MAX: usize = 16;

/// The sums that members handed in for the newest marks.
#[derive(Debug, Default)]
pub struct Reports {
    marks: BTreeMap<LogIndex, BTreeMap<MemberId, HashSum>>,
}

/// What comes out of one more report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing can be said yet.
    Open,
    /// The member agrees with more than half of the voters.
    Sound,
    /// It differs from what more than half of the voters have.
    Differs,
}

impl Reports {
    /// Takes one member's sum for the stretch of the log that ends with `mark`, and judges every member that has
    /// reported for it; those that differ are returned.
    pub fn add(
        &mut self,
        mark: LogIndex,
        member: MemberId,
        sum: HashSum,
        membership: &Membership,
    ) -> Vec<MemberId> {
        self.marks.entry(mark).or_default().insert(member, sum);
        while self.marks.len() > MARKS_MAX {
            self.marks.pop_first();
        }
        let Some(sums) = self.marks.get(&mark) else { return Vec::new() };
        let Some(right) = agreed(sums, membership) else { return Vec::new() };
        sums.iter().filter(|(_, sum)| **sum != right).map(|(&id, _)| id).collect()
    }

    /// What is known of one member's report.
    #[must_use]
    pub fn verdict(&self, mark: LogIndex, member: MemberId, membership: &Membership) -> Verdict {
        let Some(sums) = self.marks.get(&mark) else { return Verdict::Open };
        match (sums.get(&member), agreed(sums, membership)) {
            (Some(own), Some(right)) if *own == right => Verdict::Sound,
            (Some(_), Some(_)) => Verdict::Differs,
            _ => Verdict::Open,
        }
    }
}

/// The sum that more than half of the voters have, if there is one.
fn agreed(sums: &BTreeMap<MemberId, HashSum>, membership: &Membership) -> Option<HashSum> {
    let voters = || sums.iter().filter(|(id, _)| membership.voters.contains(id));
    let quorum = membership.voters.len() / 2 + 1;
    voters().map(|(_, sum)| *sum).find(|sum| voters().filter(|(_, other)| **other == *sum).count() >= quorum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(n: u64) -> HashSum {
        HashSum::from_bits(n)
    }

    #[test]
    fn who_differs_from_a_majority_is_named_whoever_it_is() {
        let membership = Membership::of_voters([1, 2, 3].map(MemberId));
        for odd in 1..=3 {
            let mut reports = Reports::default();
            let mut named = Vec::new();
            for id in 1..=3 {
                let own = if id == odd { sum(7) } else { sum(8) };
                named = reports.add(LogIndex(5), MemberId(id), own, &membership);
            }
            assert_eq!(named, [MemberId(odd)]);
            assert_eq!(reports.verdict(LogIndex(5), MemberId(odd), &membership), Verdict::Differs);
        }
    }

    #[test]
    fn without_a_majority_nobody_is_named() {
        let membership = Membership::of_voters([1, 2, 3, 4].map(MemberId));
        let mut reports = Reports::default();
        for (id, n) in [(1, 7), (2, 7), (3, 8), (4, 8)] {
            assert!(reports.add(LogIndex(5), MemberId(id), sum(n), &membership).is_empty());
        }
        assert_eq!(reports.verdict(LogIndex(5), MemberId(1), &membership), Verdict::Open);
    }

    #[test]
    fn learners_are_judged_and_do_not_judge() {
        let mut membership = Membership::of_voters([MemberId(1)]);
        membership.learners.extend([2, 3].map(MemberId));
        let mut reports = Reports::default();
        assert!(reports.add(LogIndex(5), MemberId(2), sum(8), &membership).is_empty());
        assert!(reports.add(LogIndex(5), MemberId(3), sum(8), &membership).is_empty());
        let named = reports.add(LogIndex(5), MemberId(1), sum(7), &membership);
        assert_eq!(named, [2, 3].map(MemberId));
    }

    #[test]
    fn old_marks_are_forgotten() {
        let membership = Membership::of_voters([1, 2].map(MemberId));
        let mut reports = Reports::default();
        for mark in 1..=40 {
            reports.add(LogIndex(mark), MemberId(1), sum(1), &membership);
        }
        assert_eq!(reports.marks.len(), MARKS_MAX);
    }
}
