//! Sending a snapshot to a member that cannot be served from the log: shard by shard, chunk by chunk, as fast as the
//! receiver takes them and no faster.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{Addr, AsyncContext, Context};
use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use tokio::sync::mpsc;
use windlass_peer::{BulkError, BulkSender, Peers};
use windlass_records::state::State;
use windlass_replica::shard::Chunk;
use windlass_replica::task::SnapshotId;
use windlass_types::{MemberId, ShardId};

use super::ConsensusActor;
use super::links::FromPeer;
use crate::snapshot;

/// Chunks that a shard makes ahead of the network: one is made while one is sent.
const CHUNKS_AHEAD: usize = 2;

/// How long a receiver may take for one chunk, or to make the whole safe, before the transfer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Snapshots on their way.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Where each one's chunks go. Bounded by [`CHUNKS_AHEAD`] for each.
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

/// Why a snapshot was not delivered.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Bulk(#[from] BulkError),
    #[error("the receiver took nothing for {} s", PATIENCE.as_secs())]
    Stuck,
    #[error("the shards handed out no more of it")]
    Cut,
}

/// One transfer.
struct Transfer {
    peers: Peers,
    to: MemberId,
    id: SnapshotId,
    /// Names the stream; never the same twice, for what a receiver has of another snapshot is of no use for this one.
    stream: u64,
    shards: u16,
    chunks: mpsc::UnboundedReceiver<Chunk>,
    actor: Addr<ConsensusActor>,
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
        tracing::info!(%to, index = %state.index, revision = %state.revision, "sending a snapshot");
        let (feed, chunks) = mpsc::unbounded_channel();
        self.cluster.outgoing.feeds.insert(id, feed);
        let stream = self.published.incarnation.wrapping_add(id.0);
        let (place, shards) = (encoded(&state), self.shards.shards());
        let transfer = Transfer { peers, to, id, stream, shards, chunks, actor: actor.clone() };
        actix_rt::spawn(async move {
            let outcome = transfer.run(place).await;
            match &outcome {
                Ok(()) => tracing::info!(%to, "a snapshot was delivered"),
                Err(error) => tracing::warn!(%to, %error, "a snapshot was not delivered"),
            }
            actor.do_send(FromPeer::SnapshotSent { to, id, delivered: outcome.is_ok() });
        });
    }
}

impl Transfer {
    async fn run(mut self, place: Bytes) -> Result<(), Error> {
        let mut bulk = patiently(self.peers.send_bulk(self.to, self.stream, place.clone())).await?;
        patiently(bulk.send(snapshot::framed(&place))).await?;
        for shard in (0..self.shards).map(ShardId) {
            self.send_share(shard, &mut bulk).await?;
        }
        patiently(bulk.send(snapshot::end())).await?;
        patiently(bulk.finish()).await
    }

    async fn send_share(&mut self, shard: ShardId, bulk: &mut BulkSender) -> Result<(), Error> {
        let ask = |count: usize| {
            (0..count).for_each(|_| self.actor.do_send(FromPeer::NextChunk(shard, self.id)));
        };
        ask(CHUNKS_AHEAD);
        let mut asked = CHUNKS_AHEAD;
        let mut through = false;
        while asked > 0 {
            let chunk = tokio::time::timeout(PATIENCE, self.chunks.recv()).await;
            let chunk = chunk.map_err(|_| Error::Stuck)?.ok_or(Error::Cut)?;
            asked -= 1;
            // What was asked for behind the last chunk is empty.
            if !through {
                patiently(bulk.send(snapshot::framed(&chunk.frame))).await?;
            }
            through |= chunk.last;
            if !through {
                self.actor.do_send(FromPeer::NextChunk(shard, self.id));
                asked += 1;
            }
        }
        Ok(())
    }
}

async fn patiently<T>(step: impl Future<Output = Result<T, BulkError>>) -> Result<T, Error> {
    let outcome = tokio::time::timeout(PATIENCE, step).await;
    Ok(outcome.map_err(|_| Error::Stuck)??)
}

fn encoded(state: &State) -> Bytes {
    let mut fbb = FlatBufferBuilder::new();
    state.encode(&mut fbb);
    Bytes::copy_from_slice(fbb.finished_data())
}
