//! What a shard does to answer a read. Nothing here may change the shard.
//!
//! The shard must be complete up to the task's index: parking the task until then is its caller's business.

use bytes::Bytes;
use windlass_api::etcdserverpb::RangeRequest;
use windlass_api::mvccpb::KeyValue;
use windlass_mvcc::{Pair, Shard};
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::answer::{Found, FoundFor};
use crate::evaluate::probe;
use crate::merge::{keys_needed, needs_values, passes};
use crate::task::{Query, RangePart, ReadAnswer, ReadTask};
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
            ReadAnswer::Range(Found::of(shard, range, revision))
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
        results.push(FoundFor { op, found: Found::of(shard, range, revision) });
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
    let passes = |pair: &Pair<'_>| passes(range, pair.mod_revision.0, pair.create_revision.0);
    if let KeyRange::Point(key) = keys {
        let found = shard.get(key, revision);
        let kvs = found.filter(passes).map_or_else(Vec::new, |pair| vec![key_value(&pair, with_values)]);
        return RangePart { kvs, count: u64::from(found.is_some()) };
    }
    let enough = keys_needed(range).unwrap_or(usize::MAX);
    let (mut pairs, mut count) = (Pairs::default(), 0);
    for pair in shard.range(keys, revision) {
        if pairs.len() == enough {
            // Without filters, which keep the walk from ending early, what was walked is all that was found.
            count = shard.count(keys, revision);
            break;
        }
        count += 1;
        if passes(&pair) {
            pairs.push(&pair, with_values);
        }
    }
    RangePart { kvs: pairs.into_key_values(), count }
}

/// Pairs of a list. Their keys and values lie in one buffer, in place of two allocations for each pair that are made here and
/// freed on another thread.
#[derive(Default)]
struct Pairs {
    /// Without keys and values.
    kvs: Vec<KeyValue>,
    /// Lengths of the key and the value of each.
    lens: Vec<(usize, usize)>,
    bytes: Vec<u8>,
}

impl Pairs {
    fn len(&self) -> usize {
        self.kvs.len()
    }

    fn push(&mut self, pair: &Pair<'_>, with_value: bool) {
        let value = if with_value { pair.value } else { &[] };
        self.kvs.push(without_bytes(pair));
        self.lens.push((pair.key.len(), value.len()));
        self.bytes.extend_from_slice(pair.key);
        self.bytes.extend_from_slice(value);
    }

    fn into_key_values(self) -> Vec<KeyValue> {
        let Self { mut kvs, lens, bytes } = self;
        let mut rest = Bytes::from(bytes);
        for (kv, (key, value)) in kvs.iter_mut().zip(lens) {
            kv.key = rest.split_to(key);
            kv.value = rest.split_to(value);
        }
        kvs
    }
}

/// A pair as the API has it. Key and value share a buffer, for the reason for which all pairs of a list do.
pub(crate) fn key_value(pair: &Pair<'_>, with_value: bool) -> KeyValue {
    let value = if with_value { pair.value } else { &[] };
    let mut key = Bytes::from([pair.key, value].concat());
    let value = key.split_off(pair.key.len());
    KeyValue { key, value, ..without_bytes(pair) }
}

fn without_bytes(pair: &Pair<'_>) -> KeyValue {
    KeyValue {
        key: Bytes::new(),
        create_revision: pair.create_revision.0,
        mod_revision: pair.mod_revision.0,
        version: pair.version,
        value: Bytes::new(),
        lease: pair.lease.0,
    }
}
