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
        let change = ConfChange::decode(&entry.data);
        if let Ok(Ok(next)) = change.map(|change| self.membership.after(&change)) {
            self.switch_membership(entry.index, next);
        }
    }

    fn switch_membership(&mut self, index: LogIndex, next: Membership) {
        self.membership = next.clone();
        self.outbox.actions.push(Action::MembershipChanged { index, membership: next });
        if self.role != Role::Leader {
            return;
        }
        if !self.membership.is_voter(self.config.id) {
            self.become_follower(self.term, MemberId::ZERO);
            return;
        }
        self.switch_peers();
        if !self.membership.voters.contains(&self.transferee) {
            self.transferee = MemberId::ZERO;
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

    /// As leader: ends a joint membership that ends by itself, once it is in effect.
    pub(crate) fn leave_joint_when_due(&mut self) {
        let is_due = self.membership.auto_leave && self.conf_change_index <= self.log.handed();
        if self.role == Role::Leader && is_due {
            self.append_own(EntryKind::ConfChange, ConfChange::leave().encode());
            self.broadcast_appends(false);
        }
    }
}
