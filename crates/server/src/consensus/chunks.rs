//! The chunks of one snapshot, shard by shard: asked for as they are taken, and no faster.

use std::time::Duration;

use actix::Addr;
use bytes::Bytes;
use tokio::sync::mpsc;
use windlass_replica::shard::Chunk;
use windlass_replica::task::SnapshotId;
use windlass_types::ShardId;

use super::ConsensusActor;
use super::links::FromPeer;

/// Chunks that a shard makes ahead of whoever takes them: one is made while one is taken.
const CHUNKS_AHEAD: usize = 2;

/// How long a shard may take for one chunk, or a receiver for its bytes, before the snapshot is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Why a snapshot ends before it is whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Missing {
    /// A shard takes too long.
    #[error("a shard handed out nothing for {} s", PATIENCE.as_secs())]
    Stuck,
    /// Somebody has ended it.
    #[error("the shards handed out no more of it")]
    Cut,
}

/// Takes the chunks.
pub(super) struct Chunks {
    actor: Addr<ConsensusActor>,
    id: SnapshotId,
    shards: u16,
    chunks: mpsc::UnboundedReceiver<Chunk>,
    /// Shards that were begun; the last of them is under way.
    begun: u16,
    /// Chunks that were asked for and have not come.
    asked: usize,
    /// The last chunk of the shard under way has come.
    through: bool,
}

impl Chunks {
    pub fn new(
        actor: Addr<ConsensusActor>,
        id: SnapshotId,
        shards: u16,
        chunks: mpsc::UnboundedReceiver<Chunk>,
    ) -> Self {
        Self { actor, id, shards, chunks, begun: 0, asked: 0, through: false }
    }

    /// The next frame; none behind the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Missing> {
        loop {
            if self.asked == 0 {
                if self.begun == self.shards {
                    return Ok(None);
                }
                self.begun += 1;
                self.through = false;
                (0..CHUNKS_AHEAD).for_each(|_| self.ask());
            }
            let chunk = tokio::time::timeout(PATIENCE, self.chunks.recv()).await;
            let chunk = chunk.map_err(|_| Missing::Stuck)?.ok_or(Missing::Cut)?;
            self.asked -= 1;
            // What was asked for behind the last chunk is empty.
            let is_behind = self.through;
            self.through |= chunk.last;
            if !self.through {
                self.ask();
            }
            if !is_behind {
                return Ok(Some(chunk.frame));
            }
        }
    }

    fn ask(&mut self) {
        self.asked += 1;
        self.actor.do_send(FromPeer::NextChunk(ShardId(self.begun - 1), self.id));
    }
}
