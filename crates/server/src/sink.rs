//! Where a shard's thread puts what it says: the consensus actor and the arbiters, one message each for a turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Addr;
use windlass_replica::shard::{Chunk, FollowerId};
use windlass_replica::task::{ReadAnswer, ShardAnswer};
use windlass_replica::watch::FollowNews;
use windlass_rpc::Durations;
use windlass_types::{LogIndex, ShardId};

use crate::consensus::{ConsensusActor, FromShard, FromShards};
use crate::metrics::Metrics;
use crate::net::{NetActor, Ticket, ToArbiter, Told};
use crate::published::Published;
use crate::shard::{Error, Holdings, Sink};
use crate::stages::Work;
use crate::startup::{Reason, fatal};

/// How often the times of a shard go to the metrics; one that idles turns often enough.
const TELL_INTERVAL: Duration = Duration::from_millis(200);

/// The sink of one shard.
pub struct ShardSink {
    consensus: Addr<ConsensusActor>,
    arbiters: Vec<Addr<NetActor>>,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    /// What takes longer to apply is logged with a warning; zero for nothing.
    warning_apply_duration: Duration,
    /// Times that the metrics do not have yet.
    applies: Durations,
    applies_told: Instant,
    to_consensus: Vec<FromShard>,
    to_arbiters: Vec<Vec<ToArbiter>>,
}

impl ShardSink {
    /// A sink into these actors.
    #[must_use]
    pub fn new(
        consensus: Addr<ConsensusActor>,
        arbiters: Vec<Addr<NetActor>>,
        published: Arc<Published>,
        metrics: Arc<Metrics>,
        warning_apply_duration: Duration,
    ) -> Self {
        let to_arbiters = arbiters.iter().map(|_| Vec::new()).collect();
        Self {
            consensus,
            arbiters,
            published,
            metrics,
            warning_apply_duration,
            applies: Durations::default(),
            applies_told: Instant::now(),
            to_consensus: Vec::new(),
            to_arbiters,
        }
    }
}

impl Sink for ShardSink {
    type Ticket = Ticket;

    fn answer(&mut self, shard: ShardId, answer: ShardAnswer) {
        self.to_consensus.push(FromShard::Answer(shard, answer));
    }

    fn read(&mut self, shard: ShardId, ticket: Ticket, answer: ReadAnswer) {
        let arbiter = usize::from(ticket.arbiter.0);
        self.to_arbiters[arbiter].push(ToArbiter::Read { ticket, shard, answer });
    }

    fn chunk(&mut self, shard: ShardId, chunk: Chunk) {
        self.to_consensus.push(FromShard::Chunk(shard, chunk));
    }

    fn follow(&mut self, shard: ShardId, follower: FollowerId, news: FollowNews) {
        self.to_arbiters[usize::from(follower)].push(ToArbiter::Followed { shard, news });
    }

    fn durable(&mut self, stream: usize, index: LogIndex) {
        self.to_consensus.push(FromShard::Durable { stream, index });
    }

    fn full(&mut self, shard: ShardId, full: bool) {
        self.to_consensus.push(FromShard::Full(shard, full));
    }

    fn complete(&mut self, shard: ShardId, index: LogIndex) {
        self.published.set_shard_complete(usize::from(shard.0), index);
    }

    fn holds(&mut self, shard: ShardId, holdings: Holdings) {
        self.published.set_shard_bytes(usize::from(shard.0), holdings.bytes);
        self.published.set_shard_keys(usize::from(shard.0), holdings.live_keys);
        self.published.set_shard_totals(usize::from(shard.0), holdings.totals);
    }

    fn works(&mut self, shard: ShardId, work: Work, goes_on: bool) {
        let recent = &self.metrics.stages.recent;
        if goes_on { recent.began(work, shard.0) } else { recent.ended(work, shard.0) }
    }

    fn flushed(&mut self, took: Duration) {
        self.metrics.backend_commit_seconds.observe(took.as_secs_f64());
    }

    fn applied(&mut self, took: Duration) {
        self.applies.add(took);
        let limit = self.warning_apply_duration;
        if !limit.is_zero() && took > limit {
            self.metrics.storage.applied_slowly();
            tracing::warn!(?took, "expected-duration" = ?limit, "apply request took too long");
        }
    }

    fn compacted(&mut self, pause: Duration, whole: Option<Duration>) {
        self.metrics.storage.compacted(pause, whole);
    }

    fn failed(&mut self, error: &Error) {
        // The thread's own result is read only by an orderly stop; a failed shard ends the process at once.
        fatal(Reason::of_shard(error), error.to_string());
    }

    fn flush(&mut self) {
        if self.applies_told.elapsed() >= TELL_INTERVAL {
            self.applies_told = Instant::now();
            self.metrics.storage.applied(&std::mem::take(&mut self.applies));
        }
        if !self.to_consensus.is_empty() {
            self.consensus.do_send(FromShards(std::mem::take(&mut self.to_consensus)));
        }
        for (arbiter, told) in self.arbiters.iter().zip(&mut self.to_arbiters) {
            if !told.is_empty() {
                arbiter.do_send(Told(std::mem::take(told)));
            }
        }
    }
}
