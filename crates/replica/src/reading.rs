//! A read in progress: which shards to ask, and when their answers are a response. Pure; the net arbiters drive it.
//!
//! Every shard is asked at the same revision, once it is complete up to the same log index, so that what comes
//! together is one consistent snapshot. Nothing here may change the store.

use std::sync::Arc;

use bytes::Bytes;
use windlass_api::etcdserverpb::RangeRequest;
use windlass_mvcc::{HashScan, HashSum};
use windlass_types::key::KeyRange;
use windlass_types::{LeaseId, LogIndex, RequestError, Revision, ShardId};

use crate::answer::{Found, FoundFor, RangeAnswer, TxnAnswer};
use crate::merge::keys_needed;
use crate::shard::View;
use crate::shard_set::ShardSet;
use crate::task::{Query, ReadAnswer, ReadTask};
use crate::txn::{Decision, Op, Probe, Revisions, Transaction};

/// What is read.
#[derive(Clone, Debug)]
pub enum ReadRequest {
    /// One range, checked.
    Range(Arc<RangeRequest>),
    /// A transaction all of whose operations are ranges, checked.
    Txn(Arc<Transaction>),
    /// The hash of all versions up to this revision; the newest if it is not above zero.
    Hash(Revision),
    /// The keys attached to a lease, as of the newest state.
    LeaseKeys(LeaseId),
}

/// A range that may give more keys than this is a list.
const LIST_KEYS: usize = 1000;

impl ReadRequest {
    /// The revision that it names; zero if none.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Range(range) => Revision(range.revision),
            Self::Hash(revision) => *revision,
            Self::Txn(_) | Self::LeaseKeys(_) => Revision::ZERO,
        }
    }

    /// Whether its answer may be of any size.
    #[must_use]
    pub fn is_list(&self) -> bool {
        let is_list = |range: &RangeRequest| {
            let is_point = range.range_end.is_empty();
            !is_point && !range.count_only && keys_needed(range).is_none_or(|keys| keys > LIST_KEYS)
        };
        match self {
            Self::Range(range) => is_list(range),
            Self::Txn(transaction) => {
                transaction.ops().iter().any(|op| matches!(op, Op::Range(range) if is_list(range)))
            }
            Self::Hash(_) | Self::LeaseKeys(_) => false,
        }
    }
}

/// The place in history that a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// A shard must be complete up to here before it answers.
    pub index: LogIndex,
    /// The newest revision that is seen.
    pub revision: Revision,
    /// The compaction revision; -1 before the first compaction.
    pub compact_revision: Revision,
}

/// What became of a read after an answer.
#[derive(Debug)]
pub enum Progress {
    /// More answers are to come.
    Waiting,
    /// Done.
    Range(RangeAnswer),
    /// Done.
    Txn(TxnAnswer),
    /// Done: the hash of everything between the compaction revision and this one.
    Hash(Hashed),
    /// Done; in key order.
    LeaseKeys(Vec<Bytes>),
    /// A shard has compacted what the read needs. If the request names no revision of its own, the compaction
    /// overtook it, and the read is to be begun anew at a newer snapshot.
    Compacted,
    /// The request cannot be served.
    Refused(RequestError),
}

/// A hash of the store. Members that have the same revisions here must have the same hash, however many shards they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// As etcd's HashKV response has room for.
    pub hash: u32,
    /// Up to where versions count.
    pub revision: Revision,
    /// What was forgotten.
    pub compact_revision: Revision,
}

/// A read that shards work on.
#[derive(Debug)]
pub struct Reading {
    shards: u16,
    snapshot: Snapshot,
    stage: Stage,
    waiting: ShardSet,
}

#[derive(Debug)]
enum Stage {
    Range { request: Arc<RangeRequest>, found: Vec<Found> },
    LeaseKeys { lease: LeaseId, keys: Vec<Bytes> },
    Probe { transaction: Arc<Transaction>, probe: Probe },
    Execute { transaction: Arc<Transaction>, decision: Arc<Decision>, found: Vec<FoundFor> },
    Hash { revision: Revision, sum: HashSum },
}

impl Reading {
    /// Begins a read of a store with `shards` shards; `tasks` gets what to ask them. The progress is
    /// [`Progress::Waiting`] unless no shard need be asked.
    pub fn begin(
        request: &ReadRequest,
        shards: u16,
        snapshot: Snapshot,
        tasks: &mut Vec<(ShardId, ReadTask)>,
    ) -> (Self, Progress) {
        let (stage, waiting) = match request {
            ReadRequest::Range(range) => {
                let touched = ShardSet::touched(KeyRange::new(&range.key, &range.range_end), shards);
                (Stage::Range { request: Arc::clone(range), found: Vec::new() }, touched)
            }
            ReadRequest::Hash(revision) => {
                let revision = if revision.0 > 0 { *revision } else { snapshot.revision };
                (Stage::Hash { revision, sum: HashSum::default() }, ShardSet::all(shards))
            }
            ReadRequest::LeaseKeys(lease) => {
                (Stage::LeaseKeys { lease: *lease, keys: Vec::new() }, ShardSet::all(shards))
            }
            ReadRequest::Txn(transaction) => {
                let probe = transaction.empty_probe();
                (Stage::Probe { transaction: Arc::clone(transaction), probe }, transaction.shards(shards))
            }
        };
        let mut reading = Self { shards, snapshot, stage, waiting };
        if request.revision() > snapshot.revision {
            return (reading, Progress::Refused(RequestError::FutureRevision));
        }
        if matches!(request, ReadRequest::Hash(r) if r.0 > 0 && *r < snapshot.compact_revision) {
            return (reading, Progress::Refused(RequestError::Compacted));
        }
        reading.ask(tasks);
        let progress = reading.advance(tasks);
        (reading, progress)
    }

    /// Carries out the only one of `tasks` by a look at its shard, where that is possible now, and removes it; `views` in the
    /// order of the shards' numbers.
    pub fn look(&mut self, views: &[View], tasks: &mut Vec<(ShardId, ReadTask)>) -> Option<Progress> {
        let [(shard, task)] = tasks.as_slice() else { return None };
        let (shard, answer) = (*shard, views[usize::from(shard.0)].try_read(task)?);
        tasks.clear();
        Some(self.answer(shard, answer, tasks))
    }

    /// Takes a shard's answer.
    pub fn answer(
        &mut self,
        shard: ShardId,
        answer: ReadAnswer,
        tasks: &mut Vec<(ShardId, ReadTask)>,
    ) -> Progress {
        assert!(self.waiting.remove(shard), "shard {shard} was not asked");
        match (&mut self.stage, answer) {
            (_, ReadAnswer::Compacted) => return Progress::Compacted,
            (Stage::Range { found, .. }, ReadAnswer::Range(part)) => found.push(part),
            (Stage::LeaseKeys { keys, .. }, ReadAnswer::LeaseKeys(part)) => keys.extend(part),
            (Stage::Probe { probe, .. }, ReadAnswer::Probe(part)) => probe.merge(&part),
            (Stage::Execute { found, .. }, ReadAnswer::Execute(part)) => found.extend(part),
            (Stage::Hash { sum, .. }, ReadAnswer::Hash(part)) => *sum = sum.and(part),
            (Stage::Hash { .. }, ReadAnswer::HashPart(scan)) => {
                self.waiting = self.waiting.or(ShardSet::one(shard));
                let Snapshot { index: min_index, revision, .. } = self.snapshot;
                tasks.push((shard, ReadTask { min_index, revision, query: Query::Hash(scan) }));
                return Progress::Waiting;
            }
            (stage, answer) => unreachable!("{answer:?} is no answer to {stage:?}"),
        }
        self.advance(tasks)
    }

    fn ask(&self, tasks: &mut Vec<(ShardId, ReadTask)>) {
        let Snapshot { index: min_index, revision, compact_revision } = self.snapshot;
        for shard in self.waiting.iter() {
            let query = match &self.stage {
                Stage::Range { request, .. } => Query::Range(Arc::clone(request)),
                Stage::LeaseKeys { lease, .. } => Query::LeaseKeys(*lease),
                Stage::Probe { transaction, .. } => Query::Probe(Arc::clone(transaction)),
                Stage::Execute { transaction, decision, .. } => {
                    Query::Execute(Arc::clone(transaction), Arc::clone(decision))
                }
                Stage::Hash { revision, .. } => Query::Hash(HashScan::new(*revision, compact_revision)),
            };
            tasks.push((shard, ReadTask { min_index, revision, query }));
        }
    }

    /// Goes on as far as the answers allow.
    fn advance(&mut self, tasks: &mut Vec<(ShardId, ReadTask)>) -> Progress {
        if !self.waiting.is_empty() {
            return Progress::Waiting;
        }
        let Snapshot { revision, compact_revision, .. } = self.snapshot;
        match &mut self.stage {
            Stage::Range { request, found } => {
                Progress::Range(RangeAnswer::new(request, std::mem::take(found), revision))
            }
            Stage::LeaseKeys { keys, .. } => {
                let mut keys = std::mem::take(keys);
                keys.sort_unstable();
                Progress::LeaseKeys(keys)
            }
            Stage::Probe { transaction, probe } => {
                let revisions = Revisions { current: revision, compact: compact_revision };
                match transaction.decide(probe, revisions) {
                    Err(error) => Progress::Refused(error),
                    Ok(decision) => self.execute(decision, tasks),
                }
            }
            Stage::Hash { revision, sum } => {
                Progress::Hash(Hashed { hash: sum.finish(), revision: *revision, compact_revision })
            }
            Stage::Execute { transaction, decision, found } => {
                Progress::Txn(TxnAnswer::new(transaction, decision, std::mem::take(found), revision))
            }
        }
    }

    fn execute(&mut self, decision: Decision, tasks: &mut Vec<(ShardId, ReadTask)>) -> Progress {
        let Stage::Probe { transaction, .. } = &self.stage else { unreachable!("decided without a probe") };
        let (transaction, decision) = (Arc::clone(transaction), Arc::new(decision));
        self.waiting = transaction.shards_on_path(&decision, self.shards);
        self.stage = Stage::Execute { transaction, decision, found: Vec::new() };
        self.ask(tasks);
        self.advance(tasks)
    }
}
