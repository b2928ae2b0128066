//! Quorum arithmetic over majorities, single and joint. Pure functions: nothing here knows terms or logs.
//!
//! An empty set of voters agrees to everything, so that the second half of a joint membership needs no special case
//! when there is none. Source: Raft thesis 4.3.

use std::collections::BTreeSet;

use windlass_types::MemberId;

use crate::membership::MEMBERS_MAX;

/// State of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A quorum agrees.
    Won,
    /// No quorum can agree any more.
    Lost,
    /// Votes are missing.
    Open,
}

/// The highest value that a majority of `voters` has reached; `u64::MAX` for no voters.
pub(crate) fn reached(voters: &BTreeSet<MemberId>, value: impl Fn(MemberId) -> u64) -> u64 {
    // The common single voter needs no sorting.
    if voters.len() == 1 {
        return voters.first().map_or(u64::MAX, |&id| value(id));
    }
    let mut values = [0_u64; MEMBERS_MAX];
    let count = voters.len();
    assert!(count <= MEMBERS_MAX, "more voters than a membership may have");
    for (slot, &id) in values.iter_mut().zip(voters) {
        *slot = value(id);
    }
    let values = &mut values[..count];
    values.sort_unstable();
    // Of n sorted values, those from position (n - 1) / 2 on are a majority.
    count.checked_sub(1).map_or(u64::MAX, |last| values[last / 2])
}

/// Where the election stands among `voters`; `vote` tells a voter's answer, `None` while it is missing.
pub(crate) fn outcome(voters: &BTreeSet<MemberId>, vote: impl Fn(MemberId) -> Option<bool>) -> Outcome {
    let majority = voters.len() / 2 + 1;
    let (mut granted, mut missing) = (0, 0);
    for &id in voters {
        match vote(id) {
            Some(true) => granted += 1,
            Some(false) => {}
            None => missing += 1,
        }
    }
    if voters.is_empty() || granted >= majority {
        Outcome::Won
    } else if granted + missing >= majority {
        Outcome::Open
    } else {
        Outcome::Lost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(count: usize) -> BTreeSet<MemberId> {
        (1..=count as u64).map(MemberId).collect()
    }

    proptest! {
        #[test]
        fn reached_is_the_highest_value_of_a_majority(values in prop::collection::vec(0_u64..6, 1..9)) {
            let got = reached(&set(values.len()), |id| values[id.0 as usize - 1]);
            let at_least = |v: u64| values.iter().filter(|&&x| x >= v).count() > values.len() / 2;
            prop_assert!(at_least(got));
            prop_assert!(!at_least(got + 1));
        }

        #[test]
        fn outcome_is_open_only_if_missing_votes_decide(votes in prop::collection::vec(any::<Option<bool>>(), 1..9)) {
            let with = |missing: bool| {
                votes.iter().filter(|v| v.unwrap_or(missing)).count() > votes.len() / 2
            };
            let want = match (with(false), with(true)) {
                (true, _) => Outcome::Won,
                (false, true) => Outcome::Open,
                (false, false) => Outcome::Lost,
            };
            prop_assert_eq!(outcome(&set(votes.len()), |id| votes[id.0 as usize - 1]), want);
        }
    }

    #[test]
    fn nobody_agrees_to_everything() {
        assert_eq!(reached(&set(0), |_| 0), u64::MAX);
        assert_eq!(outcome(&set(0), |_| None), Outcome::Won);
    }
}
