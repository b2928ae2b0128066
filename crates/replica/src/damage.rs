//! Finding members whose state differs from the others': damage in memory, a bug, a disk that lied.
//!
//! A mark in the log makes every member hand in two sums of hashes. Both are kept up to date with each write, so a mark reads
//! nothing, and neither depends on the number of shards:
//!
//! - of what the member *wrote* since the mark before: keys, values, leases and counters. It shows what was done wrong, though
//!   compaction has taken it away meanwhile.
//! - of what the member *holds*: every version that no compaction took, and the system records. It covers what the member was
//!   loaded with, so a state that was other on its disk shows at the first mark.
//!
//! The leader collects the sums. What more than half of the voters agree on is right; who differs is named.

use std::collections::BTreeMap;

use windlass_mvcc::HashSum;
use windlass_raft::Membership;
use windlass_types::{LogIndex, MemberId};

/// Marks whose sums are kept for members that are slow to report. Older ones are forgotten unjudged.
const MARKS_MAX: usize = 16;

/// What a member, or one shard of it, hands in at a mark. `None` is what cannot be said of this stretch or at this moment,
/// and is not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of what was written since the mark before; not known at the first of a run.
    pub written: Option<HashSum>,
    /// Of what is held, as if the newest compaction had ended; not known if another one began before it did.
    pub held: Option<HashSum>,
}

impl Sums {
    /// The sums of two shards together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let both = |a: Option<HashSum>, b: Option<HashSum>| Some(a?.and(b?));
        Self { written: both(self.written, other.written), held: both(self.held, other.held) }
    }

    /// Each by itself.
    fn each(self) -> [Option<HashSum>; 2] {
        [self.written, self.held]
    }
}

/// The sums that members handed in for the newest marks.
#[derive(Debug, Default)]
pub struct Reports {
    marks: BTreeMap<LogIndex, BTreeMap<MemberId, Sums>>,
}

/// What the reports for one mark say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Members that differ from what more than half of the voters have.
    pub differ: Vec<MemberId>,
    /// Every voter has reported, they differ, and no sum is that of more than half of them: nobody can say who is right.
    pub is_split: bool,
}

impl Reports {
    /// Takes one member's sums at `mark`, and judges everyone who has reported for it.
    pub fn add(&mut self, mark: LogIndex, member: MemberId, sums: Sums, membership: &Membership) -> Verdict {
        self.marks.entry(mark).or_default().insert(member, sums);
        while self.marks.len() > MARKS_MAX {
            self.marks.pop_first();
        }
        let mut verdict = Verdict::default();
        let Some(reports) = self.marks.get(&mark) else { return verdict };
        for kind in 0..Sums::default().each().len() {
            let sums = reports.iter().filter_map(|(&id, sums)| Some((id, sums.each()[kind]?)));
            judge(&sums.collect(), membership, &mut verdict);
        }
        verdict
    }
}

/// Judges the sums of one kind.
fn judge(sums: &BTreeMap<MemberId, HashSum>, membership: &Membership, verdict: &mut Verdict) {
    let voters = || sums.iter().filter(|(id, _)| membership.voters.contains(id));
    let quorum = membership.voters.len() / 2 + 1;
    let agree = |sum: HashSum| voters().filter(|(_, other)| **other == sum).count() >= quorum;
    match voters().map(|(_, sum)| *sum).find(|sum| agree(*sum)) {
        Some(right) => {
            let differ = sums.iter().filter(|(_, sum)| **sum != right).map(|(&id, _)| id);
            let new: Vec<MemberId> = differ.filter(|id| !verdict.differ.contains(id)).collect();
            verdict.differ.extend(new);
        }
        None => verdict.is_split |= voters().count() == membership.voters.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(n: u64) -> Sums {
        Sums { written: Some(HashSum::from_bits(n)), held: None }
    }

    fn held(n: u64) -> Sums {
        Sums { written: None, held: Some(HashSum::from_bits(n)) }
    }

    #[test]
    fn who_differs_from_a_majority_is_named_whoever_it_is_and_in_whatever() {
        let membership = Membership::of_voters([1, 2, 3].map(MemberId));
        for (odd, sums) in (1..=3).flat_map(|odd| [(odd, written as fn(u64) -> Sums), (odd, held)]) {
            let mut reports = Reports::default();
            let mut verdict = Verdict::default();
            for id in 1..=3 {
                let own = sums(if id == odd { 7 } else { 8 });
                verdict = reports.add(LogIndex(5), MemberId(id), own, &membership);
            }
            assert_eq!(verdict, Verdict { differ: vec![MemberId(odd)], is_split: false });
        }
    }

    #[test]
    fn what_a_member_cannot_say_is_not_held_against_it() {
        let membership = Membership::of_voters([1, 2, 3].map(MemberId));
        let mut reports = Reports::default();
        let all = Sums { held: held(9).held, ..written(8) };
        reports.add(LogIndex(5), MemberId(1), all, &membership);
        reports.add(LogIndex(5), MemberId(2), held(9), &membership);
        let verdict = reports.add(LogIndex(5), MemberId(3), all, &membership);
        assert_eq!(verdict, Verdict::default());
        assert_eq!(reports.add(LogIndex(5), MemberId(2), held(7), &membership).differ, [MemberId(2)]);
    }

    #[test]
    fn without_a_majority_nobody_is_named_and_a_split_is_told_when_all_have_reported() {
        let membership = Membership::of_voters([1, 2, 3, 4].map(MemberId));
        let mut reports = Reports::default();
        for (id, n) in [(1, 7), (2, 7), (3, 8), (4, 8)] {
            let verdict = reports.add(LogIndex(5), MemberId(id), held(n), &membership);
            assert_eq!(verdict, Verdict { differ: Vec::new(), is_split: id == 4 });
        }
    }

    #[test]
    fn learners_are_judged_and_do_not_judge() {
        let mut membership = Membership::of_voters([MemberId(1)]);
        membership.learners.extend([2, 3].map(MemberId));
        let mut reports = Reports::default();
        for id in [2, 3] {
            assert_eq!(reports.add(LogIndex(5), MemberId(id), held(8), &membership), Verdict::default());
        }
        let verdict = reports.add(LogIndex(5), MemberId(1), held(7), &membership);
        assert_eq!(verdict.differ, [2, 3].map(MemberId));
    }

    #[test]
    fn old_marks_are_forgotten() {
        let membership = Membership::of_voters([1, 2].map(MemberId));
        let mut reports = Reports::default();
        for mark in 1..=40 {
            reports.add(LogIndex(mark), MemberId(1), held(1), &membership);
        }
        assert_eq!(reports.marks.len(), MARKS_MAX);
    }
}
