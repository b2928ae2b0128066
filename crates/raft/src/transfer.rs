//! Handing leadership to a chosen voter. Source: Raft thesis 3.10.
//!
//! The leader stops taking proposals, brings the voter's log up to its own and tells it to stand at once. If that does
//! not work out within an election timeout it leads on. Nothing here weakens the rules of an election.

use windlass_types::MemberId;

use crate::raft::Raft;
use crate::{Body, Role};

impl Raft {
    pub(crate) fn transfer_leader(&mut self, to: MemberId) {
        let may = self.role == Role::Leader && to != self.config.id && self.membership.voters.contains(&to);
        if !may || self.transferee == to {
            return;
        }
        self.transferee = to;
        self.election_elapsed = 0;
        // What is missing may be under way or lost: an append, empty at worst, finds out.
        if !self.go_on_with_transfer(to) {
            self.append_to(to, true);
        }
    }

    /// Tells `peer` to stand, if it is the one and has the whole log.
    pub(crate) fn go_on_with_transfer(&mut self, peer: MemberId) -> bool {
        let last = self.log.last_index();
        let is_due = peer == self.transferee && self.peers.get(&peer).is_some_and(|p| p.matched == last);
        if is_due {
            self.send(peer, Body::TimeoutNow);
        }
        is_due
    }
}
