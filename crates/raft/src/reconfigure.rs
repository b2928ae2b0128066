//! A change of membership taking effect. Source: Raft thesis chapter 4; as in etcd, when its entry is applied.
//!
//! At most one change is under way: a leader takes the next when the last has taken effect, and a new leader first
//! lets its whole inherited tail take effect. So quorums before and after a change always overlap.

use std::collections::BTreeMap;

use windlass_records::log::{Entry, EntryKind};
use windlass_types::{LogIndex, MemberId};

use crate::progress::Progress;
use crate::raft::Raft;
use crate::{Action, ConfChange, Membership, Role};

impl Raft {
    /// What cannot be made is left out, the same on every member.
    pub(crate) fn conf_change_applied(&mut self, entry: &Entry) {
        if entry.index <= self.forced {
            return;
        }
        let change = ConfChange::decode(&entry.data);
        if let Ok(Ok(next)) = change.map(|change| self.membership.after(&change)) {
            self.switch_membership(entry.index, next);
        }
    }

    fn switch_membership(&mut self, index: LogIndex, next: Membership) {
        self.note_membership(&next);
        self.membership = next.clone();
        self.outbox.actions.push(Action::MembershipChanged { index, membership: next });
        // Whoever is told of it may rely on it: of two voters, one alone would wait for the other's vote for ever if it
        // forgot that the other is gone.
        self.commit_must_be_written = true;
        if self.role != Role::Leader {
            return;
        }
        self.switch_peers();
        if !self.membership.voters.contains(&self.transferee) {
            self.transferee = MemberId::ZERO;
        }
        if self.is_leaving() {
            self.broadcast_appends(true);
            self.leave();
            return;
        }
        if !self.commit_and_tell() {
            self.broadcast_appends(false);
        }
        // The quorum may have become smaller than what has confirmed already.
        self.release_reads();
    }

    fn switch_peers(&mut self) {
        let mut old = std::mem::take(&mut self.peers);
        let next = self.log.last_index().next();
        // A new member counts as heard of, or the next check could depose the leader before it had a chance to speak.
        let fresh = || Progress::new(next, self.config.inflight_appends_max, true);
        let members = self.membership.members().into_iter().filter(|&id| id != self.config.id);
        self.peers =
            members.map(|id| (id, old.remove(&id).unwrap_or_else(fresh))).collect::<BTreeMap<_, _>>();
    }

    /// Whether this member leads and has no vote any more. It leads on until one that has is elected, or until it hears no
    /// quorum of them: whoever stays and does not know yet that this member is gone can hear it from nobody else. Source:
    /// Raft thesis 4.2.2.
    pub(crate) fn is_leaving(&self) -> bool {
        self.role == Role::Leader && !self.membership.is_voter(self.config.id)
    }

    /// Hands leadership to whoever of those that stay has most of the log.
    pub(crate) fn leave(&mut self) {
        let voters = &self.membership.voters;
        let stays = self.peers.iter().filter(|(id, _)| voters.contains(id));
        if let Some(to) = stays.max_by_key(|(_, peer)| peer.matched).map(|(&id, _)| id) {
            self.transfer_leader(to);
        }
    }

    /// Whether an entry that has not taken effect here would make this member none any more.
    #[must_use]
    pub fn may_be_removed(&self) -> bool {
        let removes = |entry: &Entry| {
            let change = ConfChange::decode(&entry.data);
            matches!(change.map(|change| self.membership.after(&change)), Ok(Ok(next)) if !next.contains(self.config.id))
        };
        self.membership.contains(self.config.id) && self.log.unhanded_conf_changes().any(removes)
    }

    /// As leader: ends a joint membership that ends by itself, once it is in effect.
    pub(crate) fn leave_joint_when_due(&mut self) {
        let is_due = self.membership.auto_leave && self.conf_change_index <= self.log.handed();
        if self.role == Role::Leader && is_due {
            self.append_own(EntryKind::ConfChange, ConfChange::leave().encode());
            self.broadcast_appends(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_records::log::HardState;
    use windlass_types::Term;

    use super::*;
    use crate::{Change, Config, Input, Restored};

    /// A survivor that made itself the only member has changes in its log that it had not applied when it did.
    #[test]
    fn a_change_from_before_the_cluster_was_forced_is_void() {
        let voters = |forced: u64| {
            let change = |index: u64, change: Change| Entry {
                term: Term(1),
                index: LogIndex(index),
                kind: EntryKind::ConfChange,
                data: ConfChange::single(change).encode(),
            };
            let entries =
                vec![change(1, Change::AddVoter(MemberId(2))), change(2, Change::AddLearner(MemberId(3)))];
            let commit = LogIndex(2);
            let restored = Restored {
                hard_state: HardState { term: Term(1), vote: MemberId::ZERO, commit },
                entries,
                membership: Membership::of_voters([MemberId(1)]),
                forced: LogIndex(forced),
                ..Restored::default()
            };
            let mut raft = Raft::new(Config::new(MemberId(1), 1, 1), restored);
            raft.step(Input::Applied(LogIndex::ZERO), &mut Vec::new());
            raft.membership().members().into_iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!((voters(0), voters(1), voters(2)), (vec![1, 2, 3], vec![1, 3], vec![1]));
    }
}
