//! Who takes part, and how that changes: joint consensus and learners. Source: Raft thesis chapter 4, etcd's
//! `raft/confchange`.
//!
//! A change is a pure function from membership to membership. It must give the same result on every member, for it
//! runs when its entry is applied, so whatever is wrong with it makes it a refusal, never a panic.

use std::collections::BTreeSet;

use windlass_types::MemberId;

use crate::conf_change::{Change, ConfChange, Transition};
use crate::quorum::{self, Outcome};

/// Most members of one membership, all kinds counted. A change beyond it is refused.
pub const MEMBERS_MAX: usize = 64;

/// The members of the cluster and their parts. While `voters_outgoing` is not empty the membership is joint:
/// elections and commits need a majority of each of the two sets of voters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Those who vote (in a joint membership: after it).
    pub voters: BTreeSet<MemberId>,
    /// In a joint membership those who voted before it.
    pub voters_outgoing: BTreeSet<MemberId>,
    /// Those who get the log and have no vote. Disjoint from both sets of voters.
    pub learners: BTreeSet<MemberId>,
    /// Outgoing voters that become learners when the joint membership ends.
    pub learners_next: BTreeSet<MemberId>,
    /// Whether the leader ends the joint membership by itself as soon as it is in effect.
    pub auto_leave: bool,
}

/// Why a change cannot be made from the present membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// To leave a joint membership that is none, or to enter one from another.
    WrongPhase,
    /// No voter would be left.
    NoVoters,
    /// Without a joint membership at most one voter may come or go.
    TooManyVoters,
    /// See [`MEMBERS_MAX`].
    TooManyMembers,
}

impl Membership {
    /// A plain membership of voters only.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = MemberId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether two majorities are needed.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether `id` votes, in either half.
    #[must_use]
    pub fn is_voter(&self, id: MemberId) -> bool {
        self.voters.contains(&id) || self.voters_outgoing.contains(&id)
    }

    /// Whether `id` is a member of any kind.
    #[must_use]
    pub fn contains(&self, id: MemberId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Every member once, in ascending order.
    #[must_use]
    pub fn members(&self) -> BTreeSet<MemberId> {
        self.voters.iter().chain(&self.voters_outgoing).chain(&self.learners).copied().collect()
    }

    /// Whether `id` alone is a quorum, so that nobody else need be asked.
    #[must_use]
    pub fn is_sole_voter(&self, id: MemberId) -> bool {
        self.voters.len() == 1 && self.voters.contains(&id) && self.voters_outgoing.is_empty()
    }

    /// The highest value that a quorum has reached.
    pub(crate) fn reached(&self, value: impl Fn(MemberId) -> u64) -> u64 {
        quorum::reached(&self.voters, &value).min(quorum::reached(&self.voters_outgoing, &value))
    }

    /// Where an election stands.
    pub(crate) fn outcome(&self, vote: impl Fn(MemberId) -> Option<bool>) -> Outcome {
        match (quorum::outcome(&self.voters, &vote), quorum::outcome(&self.voters_outgoing, &vote)) {
            (Outcome::Lost, _) | (_, Outcome::Lost) => Outcome::Lost,
            (Outcome::Won, Outcome::Won) => Outcome::Won,
            _ => Outcome::Open,
        }
    }

    /// The membership after `change`, which this one is left unchanged by.
    pub(crate) fn after(&self, change: &ConfChange) -> Result<Self, Refusal> {
        let next = if change.changes.is_empty() {
            self.left_joint()?
        } else if self.is_joint() {
            return Err(Refusal::WrongPhase);
        } else if change.transition != Transition::Auto || change.changes.len() > 1 {
            self.entered_joint(change)?
        } else {
            self.changed_simply(change)?
        };
        next.check()?;
        Ok(next)
    }

    fn left_joint(&self) -> Result<Self, Refusal> {
        if !self.is_joint() {
            return Err(Refusal::WrongPhase);
        }
        let learners = self.learners.union(&self.learners_next).copied().collect();
        Ok(Self { voters: self.voters.clone(), learners, ..Self::default() })
    }

    fn entered_joint(&self, change: &ConfChange) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.voters_outgoing.clone_from(&self.voters);
        next.auto_leave = change.transition != Transition::JointExplicit;
        change.changes.iter().for_each(|&c| next.make(c));
        Ok(next)
    }

    fn changed_simply(&self, change: &ConfChange) -> Result<Self, Refusal> {
        let mut next = self.clone();
        change.changes.iter().for_each(|&c| next.make(c));
        let differing = self.voters.symmetric_difference(&next.voters).count();
        if differing > 1 { Err(Refusal::TooManyVoters) } else { Ok(next) }
    }

    fn make(&mut self, change: Change) {
        let (Change::AddVoter(id) | Change::AddLearner(id) | Change::Remove(id)) = change;
        self.voters.remove(&id);
        self.learners.remove(&id);
        self.learners_next.remove(&id);
        match change {
            Change::AddVoter(_) => self.voters.insert(id),
            // Its vote in the outgoing half still counts, so it cannot be a learner yet.
            Change::AddLearner(_) if self.voters_outgoing.contains(&id) => self.learners_next.insert(id),
            Change::AddLearner(_) => self.learners.insert(id),
            Change::Remove(_) => false,
        };
    }

    /// What holds for every membership that a change may make or a peer may send.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.voters.is_empty() {
            return Err(Refusal::NoVoters);
        }
        let parts = self.voters.len() + self.voters_outgoing.len() + self.learners.len();
        if parts > MEMBERS_MAX || self.contains(MemberId::ZERO) {
            return Err(Refusal::TooManyMembers);
        }
        let next_are_outgoing = self.learners_next.is_subset(&self.voters_outgoing);
        let learners_are_apart = self.learners.iter().all(|&id| !self.is_voter(id));
        let plain_is_plain = self.is_joint() || (self.learners_next.is_empty() && !self.auto_leave);
        if next_are_outgoing && learners_are_apart && plain_is_plain {
            Ok(())
        } else {
            Err(Refusal::WrongPhase)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_change() -> impl Strategy<Value = Change> {
        (0..3, 1_u64..7).prop_map(|(kind, id)| match kind {
            0 => Change::AddVoter(MemberId(id)),
            1 => Change::AddLearner(MemberId(id)),
            _ => Change::Remove(MemberId(id)),
        })
    }

    fn any_conf_change() -> impl Strategy<Value = ConfChange> {
        let transition = prop::sample::select(vec![
            Transition::Auto,
            Transition::JointImplicit,
            Transition::JointExplicit,
        ]);
        (transition, prop::collection::vec(any_change(), 0..5)).prop_map(|(transition, changes)| ConfChange {
            transition,
            changes,
            context: bytes::Bytes::new(),
        })
    }

    /// All sets of members among 1..=6 that are a quorum.
    fn quorums(membership: &Membership) -> impl Iterator<Item = u32> + '_ {
        (0..64_u32).filter(|set| membership.outcome(|id| Some(set & (1 << (id.0 - 1)) != 0)) == Outcome::Won)
    }

    proptest! {
        /// What all of joint consensus is for: no two quorums of neighbouring memberships can decide apart.
        #[test]
        fn quorums_before_and_after_a_change_overlap(changes in prop::collection::vec(any_conf_change(), 1..12)) {
            let mut membership = Membership::of_voters((1..4).map(MemberId));
            for change in &changes {
                let Ok(next) = membership.after(change) else { continue };
                for before in quorums(&membership) {
                    for after in quorums(&next) {
                        prop_assert!(before & after != 0, "{membership:?} {next:?}");
                    }
                }
                membership = next;
            }
        }

        #[test]
        fn every_member_has_one_part(changes in prop::collection::vec(any_conf_change(), 1..12)) {
            let mut membership = Membership::of_voters((1..4).map(MemberId));
            for change in &changes {
                membership = membership.after(change).unwrap_or(membership);
                prop_assert_eq!(membership.check(), Ok(()));
            }
        }
    }

    #[test]
    fn an_outgoing_voter_becomes_a_learner_only_afterwards() {
        let change = ConfChange {
            transition: Transition::JointExplicit,
            changes: vec![Change::AddLearner(MemberId(3)), Change::AddLearner(MemberId(4))],
            context: bytes::Bytes::new(),
        };
        let joint = Membership::of_voters((1..4).map(MemberId)).after(&change).expect("it can be made");
        assert!(
            joint.is_joint() && joint.is_voter(MemberId(3)) && joint.learners_next.contains(&MemberId(3))
        );
        assert!(joint.learners.contains(&MemberId(4)));
        let plain = joint.after(&ConfChange::leave()).expect("it can be left");
        assert!(!plain.is_joint() && plain.learners.contains(&MemberId(3)) && !plain.is_voter(MemberId(3)));
    }
}
