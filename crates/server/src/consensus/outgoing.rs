//! Sending a snapshot to a member that cannot be served from the log.

use std::collections::BTreeMap;

use actix::{AsyncContext, Context};
use tokio::sync::mpsc;
use windlass_records::state::State;
use windlass_replica::shard::Chunk;
use windlass_replica::task::SnapshotId;
use windlass_types::{MemberId, ShardId};

use super::ConsensusActor;
use super::links::FromPeer;

/// Snapshots on their way.
#[derive(Default)]
pub(super) struct Outgoing {
    feeds: BTreeMap<SnapshotId, mpsc::UnboundedSender<Chunk>>,
}

impl Outgoing {
    /// A shard's piece of some snapshot; of one that has ended it is dropped.
    pub fn chunk(&mut self, _: ShardId, chunk: Chunk) {
        if let Some(feed) = self.feeds.get(&chunk.id) {
            let _ = feed.send(chunk);
        }
    }

    pub fn ended(&mut self, id: SnapshotId) {
        self.feeds.remove(&id);
    }
}

impl ConsensusActor {
    pub(super) fn send_snapshot(&mut self, to: MemberId, id: SnapshotId, _: State, context: &Context<Self>) {
        context.address().do_send(FromPeer::SnapshotSent { to, id, delivered: false });
    }
}
