//! What a shard does to say what commands would do, before they have revisions.
//!
//! The commands of a wave are walked in order over an overlay, so that each sees those before it. Nothing here may
//! change the shard. A key that the wave itself wrote has a revision that nobody knows yet, but it is above every
//! revision that the wave's commands compare with; those that compare with more are barriers.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use windlass_api::etcdserverpb::PutRequest;
use windlass_mvcc::{Pair, Shard};
use windlass_types::key::{KeyRange, shard_of};
use windlass_types::{Revision, ShardId};

use crate::task::{Evaluate, ShardAnswer, Verdict};
use crate::txn::{CompareReport, Decision, Facts, Op, Probe, Revisions, Transaction, compare_holds};

/// Larger than every revision that a wave's commands compare with.
const UNKNOWN_REVISION: i64 = i64::MAX;

/// Performs the task on `shard`, which is number `id` and holds exactly what came before the wave.
#[must_use]
pub fn evaluate(shard: &Shard, id: ShardId, task: &Evaluate) -> ShardAnswer {
    let wave = &task.wave;
    let revisions = Revisions { current: wave.base, compact: wave.compact_revision };
    let mut overlay = Overlay::new(shard, wave.base);
    let verdicts = task.part.iter().map(|&command| {
        let transaction = &wave.commands[command as usize];
        let probe = overlay.probe(transaction);
        if wave.barrier {
            return Verdict::Probed(probe);
        }
        match transaction.decide(&probe, revisions) {
            Ok(decision) => {
                overlay.apply(transaction, &decision, |key| shard_of(key, wave.shards) == id);
                Verdict::Decided(decision)
            }
            Err(error) => Verdict::Refused(error),
        }
    });
    ShardAnswer::Evaluated { wave: wave.id, verdicts: verdicts.collect() }
}

/// What `shard` knows at `revision` that matters for `transaction`.
#[must_use]
pub fn probe(shard: &Shard, revision: Revision, transaction: &Transaction) -> Probe {
    Overlay::new(shard, revision).probe(transaction)
}

/// A shard at one revision, with tentative changes on top.
struct Overlay<'a> {
    shard: &'a Shard,
    revision: Revision,
    /// `None`: deleted.
    changes: BTreeMap<Bytes, Option<Tentative>>,
}

/// A key as a command of the wave would leave it.
#[derive(Clone)]
struct Tentative {
    /// As stored, or [`UNKNOWN_REVISION`].
    create_revision: i64,
    version: i64,
    lease: i64,
    /// `None`: as stored.
    value: Option<Bytes>,
}

impl<'a> Overlay<'a> {
    fn new(shard: &'a Shard, revision: Revision) -> Self {
        Self { shard, revision, changes: BTreeMap::new() }
    }

    fn probe(&self, transaction: &Transaction) -> Probe {
        let compares = transaction.compares().iter().map(|compare| {
            let mut report = CompareReport::Absent;
            self.visit(KeyRange::new(&compare.key, &compare.range_end), |_, facts| {
                let holds = compare_holds(compare, &facts);
                report = if holds { CompareReport::Holds } else { CompareReport::Fails };
                holds
            });
            report
        });
        let present = transaction.ops().iter().map(|op| match op {
            // What a range finds, and what a plain put replaces, decides nothing.
            Op::Range(_) => false,
            Op::Put(put) if !put.ignore_value && !put.ignore_lease => false,
            // No command of its wave attaches a key or takes one away.
            Op::Revoke(lease) => self.shard.has_lease_keys(*lease),
            Op::Put(_) | Op::Delete(_) => {
                let mut any = false;
                self.visit(op.range(), |_, _| {
                    any = true;
                    false
                });
                any
            }
        });
        // A transaction that looks at leases is a barrier: nothing before it is tentative.
        let denied = transaction.guarded().is_some_and(|writable| {
            let attached = transaction.leases().flat_map(|lease| self.shard.lease_keys(lease));
            attached.into_iter().any(|key| !writable.contains(key))
        });
        Probe { compares: compares.collect(), present: present.collect(), denied }
    }

    fn apply(&mut self, transaction: &Transaction, decision: &Decision, is_mine: impl Fn(&[u8]) -> bool) {
        for op in transaction.path(decision) {
            match &transaction.ops()[op as usize] {
                Op::Range(_) | Op::Revoke(_) => {}
                Op::Put(put) if is_mine(&put.key) => self.put(put),
                Op::Put(_) => {}
                Op::Delete(_) => self.delete(transaction.ops()[op as usize].range()),
            }
        }
    }

    fn put(&mut self, put: &PutRequest) {
        let previous = match self.changes.get(&put.key) {
            Some(tentative) => tentative.clone(),
            None => self.shard.get(&put.key, self.revision).map(|pair| Tentative::stored(&pair)),
        };
        let fresh =
            Tentative { create_revision: UNKNOWN_REVISION, version: 0, lease: 0, value: Some(Bytes::new()) };
        let previous = previous.unwrap_or(fresh);
        let next = Tentative {
            create_revision: previous.create_revision,
            version: previous.version + 1,
            lease: if put.ignore_lease { previous.lease } else { put.lease },
            value: if put.ignore_value { previous.value } else { Some(put.value.clone()) },
        };
        self.changes.insert(put.key.clone(), Some(next));
    }

    fn delete(&mut self, range: KeyRange<'_>) {
        let mut keys = Vec::new();
        self.visit(range, |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            true
        });
        self.changes.extend(keys.into_iter().map(|key| (key, None)));
    }

    /// Calls `f` for each live key of `range`, in no particular order, until it returns false.
    fn visit(&self, range: KeyRange<'_>, mut f: impl FnMut(&[u8], Facts<'_>) -> bool) {
        if let KeyRange::Point(key) = range {
            if let Some(facts) = self.facts(key) {
                f(key, facts);
            }
            return;
        }
        let from = (Bound::Included(range.start()), Bound::Unbounded);
        let changed = self.changes.range::<[u8], _>(from).map(|(key, _)| &key[..]);
        let changed = changed.take_while(|key| range.contains(key));
        let stored = self.shard.range(range, self.revision).map(|pair| pair.key);
        let stored = stored.filter(|key| !self.changes.contains_key(*key));
        for key in changed.chain(stored) {
            if self.facts(key).is_some_and(|facts| !f(key, facts)) {
                return;
            }
        }
    }

    fn facts(&self, key: &[u8]) -> Option<Facts<'_>> {
        let Some(change) = self.changes.get(key) else {
            return self.shard.get(key, self.revision).map(|pair| facts_of(&pair));
        };
        let change = change.as_ref()?;
        let value = match &change.value {
            Some(value) => &value[..],
            None => self.shard.get(key, self.revision).expect("its value is the stored one").value,
        };
        Some(Facts {
            create_revision: change.create_revision,
            mod_revision: UNKNOWN_REVISION,
            version: change.version,
            lease: change.lease,
            value,
        })
    }
}

impl Tentative {
    fn stored(pair: &Pair<'_>) -> Self {
        Self {
            create_revision: pair.create_revision.0,
            version: pair.version,
            lease: pair.lease.0,
            value: None,
        }
    }
}

fn facts_of<'a>(pair: &Pair<'a>) -> Facts<'a> {
    Facts {
        create_revision: pair.create_revision.0,
        mod_revision: pair.mod_revision.0,
        version: pair.version,
        lease: pair.lease.0,
        value: pair.value,
    }
}
