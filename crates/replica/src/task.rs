//! What the sequencer and the shards of one member tell each other, and what a reader asks a shard.
//!
//! Everything here is owned and `Send`: it crosses a thread boundary inside a batch. Nothing here may borrow from the
//! sequencer or a shard, and nothing depends on how many shards another member has.
//!
//! The tasks of one shard must be performed in the order in which the sequencer emitted them.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use windlass_api::etcdserverpb::RangeRequest;
use windlass_api::mvccpb::KeyValue;
use windlass_mvcc::{HashScan, HashSum};
use windlass_types::{LeaseId, LogIndex, RequestError, Revision};

use crate::answer::{Found, FoundFor};
use crate::damage::Sums;
use crate::txn::{Decision, Probe, Transaction};
use crate::watch::Events;

/// Work for one shard.
#[derive(Clone, Debug)]
pub enum ShardTask {
    /// Unconditional puts that are numbered already. No answer.
    Puts(PutRun),
    /// Find out what commands would do. Answered by [`ShardAnswer::Evaluated`].
    Evaluate(Evaluate),
    /// Do what was decided. Answered by [`ShardAnswer::Installed`] if results are wanted.
    Install(Install),
    /// Forget versions. Answered by [`ShardAnswer::Compacted`] when that is done, if `answer` is set.
    Compact(Compact),
    /// Write system records; the entry has nothing more for this shard. No answer.
    System(SystemRecords),
    /// Hand in the sums that members compare. Answered by [`ShardAnswer::Marked`], once no compaction is under way.
    Mark(LogIndex),
    /// Begin a share of a snapshot, here between two entries. No answer; its chunks are asked for.
    Snapshot(SnapshotId),
    /// The entry had nothing (more) for this shard: it now holds every effect up to and including it.
    Advance {
        /// The entry.
        index: LogIndex,
        /// The store's revision after it.
        revision: Revision,
    },
}

impl ShardTask {
    /// Up to where the shard is complete once this task is performed, as index and as revision; `None` if that does not
    /// move.
    #[must_use]
    pub fn completes(&self) -> Option<(LogIndex, Revision)> {
        match self {
            Self::Puts(run) => run.last.map(|revision| (run.index, revision)),
            Self::System(system) => Some((system.index, system.revision)),
            Self::Advance { index, revision } => Some((*index, *revision)),
            Self::Evaluate(_) | Self::Install(_) | Self::Compact(_) | Self::Mark(_) | Self::Snapshot(_) => {
                None
            }
        }
    }
}

/// A run of unconditional puts of one entry on one shard.
#[derive(Clone, Debug)]
pub struct PutRun {
    /// The entry.
    pub index: LogIndex,
    /// If the entry is complete on this shard with this run: the store's revision after the entry.
    pub last: Option<Revision>,
    /// The entry's bytes, which the spans of `puts` point into; shared with the other shards.
    pub data: Bytes,
    /// In order of revision.
    pub puts: Vec<PutOp>,
}

/// One put of a [`PutRun`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutOp {
    /// The revision it makes.
    pub revision: Revision,
    /// The key within the run's data; never empty.
    pub key: Span,
    /// The value within the run's data.
    pub value: Span,
}

/// The system records that an entry writes on one shard. They are the last of the entry there, so whatever records a
/// shard holds, they are of entries that are complete on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemRecords {
    /// The entry.
    pub index: LogIndex,
    /// The store's revision after the entry.
    pub revision: Revision,
    /// Names, each once, and their values; `None` deletes the name.
    pub records: Vec<(Bytes, Option<Bytes>)>,
}

impl SystemRecords {
    /// Size of names and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len)).sum()
    }
}

/// A piece of an entry's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The piece itself. Panics if `data` is not what the span was made for.
    #[must_use]
    pub fn of(self, data: &[u8]) -> &[u8] {
        &data[self.start as usize..self.start as usize + self.len as usize]
    }
}

/// Consecutive commands of one entry that are evaluated together: what is decided on one shard does not depend on
/// what another shard finds out. A command for which that does not hold is alone in its wave, a barrier.
#[derive(Debug)]
pub struct Wave {
    /// Numbers the waves of one sequencer's life; answers name it.
    pub id: WaveId,
    /// The entry.
    pub index: LogIndex,
    /// The store's revision before the wave.
    pub base: Revision,
    /// The compaction revision before the wave.
    pub compact_revision: Revision,
    /// Number of shards of this member.
    pub shards: u16,
    /// Whether the wave is one command whose path only the sequencer can choose: shards report a [`Probe`].
    pub barrier: bool,
    /// The commands, in order.
    pub commands: Vec<Transaction>,
}

/// Ordinal of a [`Wave`] within one sequencer's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaveId(pub u64);

/// Asks a shard what the commands of a wave that touch it would do.
#[derive(Clone, Debug)]
pub struct Evaluate {
    /// The wave.
    pub wave: Arc<Wave>,
    /// Ordinals, within the wave, of the commands that touch this shard; ascending.
    pub part: Vec<u32>,
}

/// Ordinal of a snapshot within one life of a member's consensus core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub u64);

impl SnapshotId {
    /// The one that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What a shard found out about one command.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The command fails and has no effect.
    Refused(RequestError),
    /// The command was decided here; `writes` speaks for this shard alone.
    Decided(Decision),
    /// The facts from which the sequencer decides a barrier.
    Probed(Probe),
}

/// Tells a shard to execute commands of a wave.
#[derive(Clone, Debug)]
pub struct Install {
    /// The wave.
    pub wave: Arc<Wave>,
    /// Ordinals, within the wave, of the commands to execute here; ascending.
    pub part: Vec<u32>,
    /// For each command of the wave, what was decided.
    pub assigned: Arc<[Assigned]>,
    /// Whether this member's clients wait for results: the task is answered if so.
    pub want_results: bool,
}

/// What the sequencer decided about one command of a wave.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The store's revision before the command. If it writes, it makes the next one.
    pub before: Revision,
    /// The path it takes and whether it writes, or why it is refused.
    pub decision: Result<Decision, RequestError>,
}

impl Assigned {
    /// The store's revision after the command.
    #[must_use]
    pub fn after(&self) -> Revision {
        match &self.decision {
            Ok(decision) if decision.writes => self.before.next(),
            _ => self.before,
        }
    }
}

/// A compaction that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compact {
    /// The entry.
    pub index: LogIndex,
    /// The new compaction revision. Reads below it are refused as soon as the task is taken.
    pub revision: Revision,
    /// Whether a client waits until the space is free.
    pub answer: bool,
}

/// What a shard tells the sequencer. The answers of one shard must arrive in the order of its tasks, but for
/// [`Compacted`](Self::Compacted), which comes when it is done.
#[derive(Clone, Debug)]
pub enum ShardAnswer {
    /// Answer to [`ShardTask::Evaluate`].
    Evaluated {
        /// Which wave.
        wave: WaveId,
        /// One for each command of the task's part, in its order.
        verdicts: Vec<Verdict>,
    },
    /// Answer to [`ShardTask::Install`].
    Installed {
        /// Which wave.
        wave: WaveId,
        /// One for each command of the task's part, in its order.
        results: Vec<OpResults>,
    },
    /// Answer to [`ShardTask::Mark`].
    Marked {
        /// The entry that held the mark.
        index: LogIndex,
        /// This shard's sums.
        sums: Sums,
    },
    /// Answer to [`ShardTask::Compact`].
    Compacted {
        /// The entry that held the compaction.
        index: LogIndex,
    },
}

/// What shards have to say about the operations of a command: of each shard in their order. One alone, as most commands have,
/// costs no allocation.
pub type OpResults = SmallVec<[OpResult; 1]>;

/// What one shard has to say about one operation of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct OpResult {
    /// Ordinal of the operation within its transaction ([`Transaction::ops`]).
    pub op: u32,
    /// This shard's share of the result.
    pub part: OpPart,
}

/// One shard's share of the result of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum OpPart {
    /// A put; the pair it replaced, if it was asked for and there was one.
    Put(Option<KeyValue>),
    /// A delete: how many keys, and the pairs in key order if they were asked for.
    Delete {
        /// Keys deleted on this shard.
        deleted: u64,
        /// The deleted pairs, in key order.
        prev_kvs: Vec<KeyValue>,
    },
    /// A range.
    Range(RangePart),
}

/// One shard's share of a range.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangePart {
    /// In key order, after filters, at most as many as the request lets a shard stop at.
    pub kvs: Vec<KeyValue>,
    /// Keys in the range on this shard, without limit and filters.
    pub count: u64,
}

/// A question to a shard that changes nothing.
#[derive(Clone, Debug)]
pub struct ReadTask {
    /// The shard must be complete up to here before it answers: it parks the task until then.
    pub min_index: LogIndex,
    /// The newest revision that the answer may see, unless a range names an older one.
    pub revision: Revision,
    /// What is asked.
    pub query: Query,
}

/// What a [`ReadTask`] asks.
#[derive(Clone, Debug)]
pub enum Query {
    /// One range.
    Range(Arc<RangeRequest>),
    /// The keys attached to a lease.
    LeaseKeys(LeaseId),
    /// The facts from which a read-only transaction's path is chosen.
    Probe(Arc<Transaction>),
    /// The ranges on a read-only transaction's path.
    Execute(Arc<Transaction>, Arc<Decision>),
    /// A slice of the hash of everything.
    Hash(HashScan),
    /// A piece of history, for a watcher that catches up.
    Changes(ChangesQuery),
}

impl Query {
    /// Whether it takes no longer than to copy one value out.
    #[must_use]
    pub fn is_short(&self) -> bool {
        matches!(self, Self::Range(range) if range.range_end.is_empty())
    }
}

/// Asks for changes of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesQuery {
    /// The keys, as a request has them.
    pub key: Bytes,
    /// Their end, as a request has it.
    pub range_end: Bytes,
    /// The first revision wanted.
    pub from: Revision,
    /// The last revision wanted. The shard must hold all of it already.
    pub through: Revision,
    /// Whether the replaced pairs are wanted.
    pub with_previous: bool,
}

/// Answer to a [`ReadTask`].
#[derive(Clone, Debug, PartialEq)]
pub enum ReadAnswer {
    /// The task's revision, or the one the range names, is below the shard's compaction revision.
    Compacted,
    /// Answer to [`Query::Range`].
    Range(Found),
    /// Answer to [`Query::LeaseKeys`], in key order.
    LeaseKeys(Vec<Bytes>),
    /// Answer to [`Query::Probe`].
    Probe(Probe),
    /// Answer to [`Query::Execute`].
    Execute(Vec<FoundFor>),
    /// Answer to [`Query::Hash`]: ask again with this.
    HashPart(HashScan),
    /// Answer to [`Query::Hash`]: that was all of it.
    Hash(HashSum),
    /// Answer to [`Query::Changes`].
    Changes(Changes),
}

/// A piece of history.
#[derive(Clone, Debug, PartialEq)]
pub enum Changes {
    /// These changes.
    Found {
        /// In order, all of them at or below `through`.
        events: Events,
        /// There are no others from the first revision wanted up to here; the rest is to be asked for again.
        through: Revision,
    },
    /// The first revision wanted is below this, the shard's compaction revision.
    Compacted(Revision),
}
