//! What a shard does to answer a read. Nothing here may change the shard.
//!
//! The shard must be complete up to the task's index: parking the task until then is its caller's business.

use bytes::Bytes;
use windlass_api::etcdserverpb::RangeRequest;
use windlass_api::mvccpb::KeyValue;
use windlass_mvcc::{Pair, Shard};
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::evaluate::probe;
use crate::merge::{keys_needed, needs_values, passes};
use crate::task::{OpPart, OpResult, Query, RangePart, ReadAnswer, ReadTask};
use crate::txn::{Decision, Op, Transaction};
use crate::watch::changes;

/// Keys that one slice of a hash goes through: some hundred microseconds, which others can wait.
const HASH_SLICE_KEYS: usize = 1024;

/// Performs the task.
#[must_use]
pub fn read(shard: &Shard, task: &ReadTask) -> ReadAnswer {
    if let Query::Changes(query) = &task.query {
        return ReadAnswer::Changes(changes(shard, query));
    }
    if task.revision < shard.compact_revision() {
        return ReadAnswer::Compacted;
    }
    match &task.query {
        Query::Changes(_) => unreachable!("answered above"),
        Query::Range(range) => {
            let revision = revision_of(range, task.revision);
            if revision < shard.compact_revision() {
                return ReadAnswer::Compacted;
            }
            ReadAnswer::Range(range_part(shard, range, revision))
        }
        Query::Hash(scan) if scan.compact_revision() != shard.compact_revision() => ReadAnswer::Compacted,
        Query::Hash(scan) => {
            let mut scan = scan.clone();
            scan.step(shard, HASH_SLICE_KEYS).map_or_else(|| ReadAnswer::HashPart(scan), ReadAnswer::Hash)
        }
        Query::LeaseKeys(lease) => {
            let keys = shard.lease_keys(*lease);
            ReadAnswer::LeaseKeys(keys.into_iter().map(Bytes::copy_from_slice).collect())
        }
        Query::Probe(transaction) => ReadAnswer::Probe(probe(shard, task.revision, transaction)),
        Query::Execute(transaction, decision) => execute(shard, task.revision, transaction, decision),
    }
}

fn execute(shard: &Shard, current: Revision, transaction: &Transaction, decision: &Decision) -> ReadAnswer {
    let mut results = Vec::new();
    for op in transaction.path(decision) {
        let Op::Range(range) = &transaction.ops()[op as usize] else { continue };
        let revision = revision_of(range, current);
        if revision < shard.compact_revision() {
            return ReadAnswer::Compacted;
        }
        results.push(OpResult { op, part: OpPart::Range(range_part(shard, range, revision)) });
    }
    ReadAnswer::Execute(results)
}

fn revision_of(range: &RangeRequest, current: Revision) -> Revision {
    if range.revision > 0 { Revision(range.revision) } else { current }
}

/// The shard's share of `range` at `revision`.
#[must_use]
pub fn range_part(shard: &Shard, range: &RangeRequest, revision: Revision) -> RangePart {
    let keys = KeyRange::new(&range.key, &range.range_end);
    if range.count_only {
        return RangePart { kvs: Vec::new(), count: shard.count(keys, revision) };
    }
    let with_values = needs_values(range);
    let enough = keys_needed(range).unwrap_or(usize::MAX);
    let mut part = RangePart::default();
    for pair in one_or_many(shard, keys, revision) {
        if part.kvs.len() == enough {
            // Without filters, which keep the walk from ending early, what was walked is all that was found.
            part.count = shard.count(keys, revision);
            break;
        }
        part.count += 1;
        if passes(range, pair.mod_revision.0, pair.create_revision.0) {
            part.kvs.push(key_value(&pair, with_values));
        }
    }
    part
}

fn one_or_many<'a>(
    shard: &'a Shard,
    keys: KeyRange<'a>,
    revision: Revision,
) -> impl Iterator<Item = Pair<'a>> {
    let (one, many) = match keys {
        KeyRange::Point(key) => (shard.get(key, revision), None),
        KeyRange::Bounded(..) | KeyRange::From(_) => (None, Some(shard.range(keys, revision))),
    };
    one.into_iter().chain(many.into_iter().flatten())
}

/// A pair as the API has it.
pub(crate) fn key_value(pair: &Pair<'_>, with_value: bool) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(pair.key),
        create_revision: pair.create_revision.0,
        mod_revision: pair.mod_revision.0,
        version: pair.version,
        value: if with_value { Bytes::copy_from_slice(pair.value) } else { Bytes::new() },
        lease: pair.lease.0,
    }
}
