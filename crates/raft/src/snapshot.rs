//! Snapshots for followers that need entries which are gone. Source: Raft thesis chapter 5.
//!
//! Only their place in the log passes through here. The caller takes them, carries their bytes, and puts them on disk
//! as the first part of the [`Persist`](crate::Persist) that carries their [`SnapshotMeta`].

use windlass_types::{LogIndex, MemberId};

use crate::progress::PeerState;
use crate::raft::Raft;
use crate::{Action, Body, Fault, Role, SnapshotMeta};

/// No log gets here; a message that says so is wrong.
const INDEX_MAX: LogIndex = LogIndex(1 << 62);

impl Raft {
    /// As leader: the snapshot is there, and its message may be sent along with it.
    pub(crate) fn snapshot_taken(&mut self, to: MemberId, meta: SnapshotMeta) {
        assert!(meta.index <= self.log.applied(), "a snapshot holds what is applied");
        let Some(peer) = self.peers.get_mut(&to) else { return };
        // Leadership may have gone and come meanwhile, or the follower may have caught up.
        if self.role == Role::Leader && peer.state == (PeerState::Snapshot { index: None }) {
            peer.snapshot_taken(meta.index);
            self.send(to, Body::Snapshot(meta));
        } else if self.role == Role::Leader {
            // It asked for one itself, and will go on from there.
            peer.expects(meta.index);
        }
    }

    pub(crate) fn snapshot_sent(&mut self, to: MemberId, delivered: bool) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if matches!(peer.state, PeerState::Snapshot { .. }) {
            peer.snapshot_sent(delivered);
        }
    }

    /// As follower: the leader's snapshot, complete. The sender is the leader of the present term.
    pub(crate) fn snapshot_asked(&mut self, from: MemberId, meta: SnapshotMeta) -> Result<(), Fault> {
        if meta.index > INDEX_MAX || meta.term > self.term || meta.membership.check().is_err() {
            return Err(Fault::Malformed);
        }
        let SnapshotMeta { index, term, .. } = meta;
        if self.log.term(index) == Some(term) {
            // The log has what the snapshot has, so the log is equal up to there.
            self.log.commit_to(index);
        } else if index > self.log.commit() {
            self.restore(meta);
        }
        self.send(from, Body::AppendAccepted { index: self.log.commit() });
        Ok(())
    }

    fn restore(&mut self, meta: SnapshotMeta) {
        self.log.restart(meta.index, meta.term);
        self.pipeline.replaced();
        self.note_membership(&meta.membership);
        self.membership.clone_from(&meta.membership);
        let changed = Action::MembershipChanged { index: meta.index, membership: meta.membership.clone() };
        self.outbox.actions.push(changed);
        self.snapshot_to_write = Some(meta);
    }
}
