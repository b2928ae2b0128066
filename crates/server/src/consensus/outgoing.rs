//! Sending a snapshot to a member that cannot be served from the log: shard by shard, chunk by chunk, as fast as the
//! receiver takes them and no faster.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{AsyncContext, Context};
use bytes::Bytes;
use tokio::sync::mpsc;
use windlass_peer::{BulkError, Peers};
use windlass_records::state::State;
use windlass_replica::shard::Chunk;
use windlass_replica::task::SnapshotId;
use windlass_types::{MemberId, ShardId};

use super::ConsensusActor;
use super::chunks::{Chunks, Missing, PATIENCE};
use super::links::FromPeer;
use crate::snapshot;
use crate::stages::Work;

/// Snapshots on their way.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Where each one's chunks go. Bounded by what is asked for ahead ([`Chunks`]).
    feeds: BTreeMap<SnapshotId, mpsc::UnboundedSender<Chunk>>,
    /// Members to whom one is on its way.
    receivers: BTreeMap<SnapshotId, MemberId>,
}

impl Outgoing {
    /// A shard's piece of some snapshot; of one that has ended it is dropped.
    pub fn chunk(&mut self, _: ShardId, chunk: Chunk) {
        if let Some(feed) = self.feeds.get(&chunk.id) {
            let _ = feed.send(chunk);
        }
    }

    /// Where the chunks of a snapshot come out that begins.
    pub fn feed(&mut self, id: SnapshotId) -> mpsc::UnboundedReceiver<Chunk> {
        let (feed, chunks) = mpsc::unbounded_channel();
        self.feeds.insert(id, feed);
        chunks
    }

    /// Whether one is on its way to this member.
    pub fn is_for(&self, member: MemberId) -> bool {
        self.receivers.values().any(|to| *to == member)
    }

    pub fn ended(&mut self, id: SnapshotId) {
        self.feeds.remove(&id);
        self.receivers.remove(&id);
    }
}

/// Why a snapshot was not delivered.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Bulk(#[from] BulkError),
    #[error("the receiver took nothing for {} s", PATIENCE.as_secs())]
    Stuck,
    #[error(transparent)]
    Missing(#[from] Missing),
}

/// One transfer.
struct Transfer {
    peers: Peers,
    to: MemberId,
    /// Names the stream; never the same twice, for what a receiver has of another snapshot is of no use for this one.
    stream: u64,
    chunks: Chunks,
}

impl ConsensusActor {
    /// Sends a snapshot; every shard was told to begin its share.
    pub(super) fn send_snapshot(
        &mut self,
        to: MemberId,
        id: SnapshotId,
        state: State,
        context: &Context<Self>,
    ) {
        let actor = context.address();
        let Some(peers) = self.cluster.peers.clone() else { return };
        failpoint!("snapshotBeforeSend");
        tracing::info!(%to, index = %state.index, revision = %state.revision, "sending a snapshot");
        let chunks = Chunks::new(actor.clone(), id, self.shards.shards(), self.cluster.feed(id));
        self.cluster.outgoing.receivers.insert(id, to);
        let stream = self.published.incarnation.wrapping_add(id.0);
        let place = snapshot::place(&state);
        let transfer = Transfer { peers, to, stream, chunks };
        let stages = Arc::clone(&self.metrics.stages);
        stages.recent.began(Work::Snapshot, 0);
        actix_rt::spawn(async move {
            let outcome = transfer.run(place).await;
            stages.recent.ended(Work::Snapshot, 0);
            match &outcome {
                Ok(()) => tracing::info!(%to, "a snapshot was delivered"),
                Err(error) => tracing::warn!(%to, %error, "a snapshot was not delivered"),
            }
            actor.do_send(FromPeer::SnapshotSent { to, id, delivered: outcome.is_ok() });
        });
    }

    /// No more of a snapshot is wanted.
    pub(super) fn end_shares(&mut self, id: SnapshotId) {
        self.shards.end_snapshot(id);
        self.cluster.outgoing.ended(id);
    }
}

impl Transfer {
    async fn run(mut self, place: Bytes) -> Result<(), Error> {
        let mut bulk = patiently(self.peers.send_bulk(self.to, self.stream, place.clone())).await?;
        patiently(bulk.send(snapshot::framed(&place))).await?;
        while let Some(frame) = self.chunks.next().await? {
            patiently(bulk.send(snapshot::framed(&frame))).await?;
        }
        patiently(bulk.send(snapshot::end())).await?;
        patiently(bulk.finish()).await
    }
}

async fn patiently<T>(step: impl Future<Output = Result<T, BulkError>>) -> Result<T, Error> {
    let outcome = tokio::time::timeout(PATIENCE, step).await;
    Ok(outcome.map_err(|_| Error::Stuck)??)
}
