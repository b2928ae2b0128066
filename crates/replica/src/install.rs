//! What a shard does to make commands happen that have their revisions.
//!
//! Every change goes to the tree and to the journal, in that order and both at once; nothing here may decide whether
//! something happens.

use windlass_api::etcdserverpb::{DeleteRangeRequest, PutRequest};
use windlass_io_log::stream::ShardStream;
use windlass_mvcc::{Shard, Stamp};
use windlass_records::wal;
use windlass_types::key::{KeyRange, shard_of};
use windlass_types::{LeaseId, Revision, ShardId};

use crate::read::{key_value, range_part};
use crate::task::{Install, OpPart, OpResult, OpResults, PutRun, ShardAnswer};
use crate::txn::{Decision, Op, Transaction};

/// Where a shard's changes are written down, in order.
pub trait Journal {
    /// Takes one change.
    fn append(&mut self, version: &wal::Version<'_>);
}

impl Journal for ShardStream {
    fn append(&mut self, version: &wal::Version<'_>) {
        Self::append(self, version);
    }
}

impl Journal for wal::FrameBuilder {
    fn append(&mut self, version: &wal::Version<'_>) {
        self.push(version);
    }
}

/// Writes a run of puts.
pub fn install_puts(shard: &mut Shard, run: &PutRun, journal: &mut impl Journal) {
    for put in &run.puts {
        let (key, value) = (put.key.of(&run.data), put.value.of(&run.data));
        let stamp = Stamp { index: run.index, revision: put.revision, sub: 0 };
        write(shard, journal, stamp, Put { key, value, lease: LeaseId::ZERO });
    }
}

/// Executes a wave's commands on `shard`, which is number `id`. The answer, if somebody waits for one.
pub fn install(
    shard: &mut Shard,
    id: ShardId,
    task: &Install,
    journal: &mut impl Journal,
) -> Option<ShardAnswer> {
    let wave = &task.wave;
    let mut results = Vec::with_capacity(task.part.len());
    for &command in &task.part {
        let assigned = &task.assigned[command as usize];
        let decision = assigned.decision.as_ref().expect("only what is not refused is installed");
        let transaction = &wave.commands[command as usize];
        let stamp = Stamp { index: wave.index, revision: assigned.before.next(), sub: 0 };
        let mut execution = Execution { shard, journal, stamp };
        results.push(execution.run(transaction, decision, |key| shard_of(key, wave.shards) == id));
    }
    task.want_results.then_some(ShardAnswer::Installed { wave: wave.id, results })
}

/// One command on its way.
struct Execution<'a, J> {
    shard: &'a mut Shard,
    journal: &'a mut J,
    /// The revision that it makes if it writes, and the ordinal of the operation under way.
    stamp: Stamp,
}

struct Put<'a> {
    key: &'a [u8],
    value: &'a [u8],
    lease: LeaseId,
}

impl<J: Journal> Execution<'_, J> {
    fn run(
        &mut self,
        transaction: &Transaction,
        decision: &Decision,
        is_mine: impl Fn(&[u8]) -> bool,
    ) -> OpResults {
        let mut results = OpResults::new();
        for (sub, op) in (0..).zip(transaction.path(decision)) {
            self.stamp.sub = sub;
            let part = match &transaction.ops()[op as usize] {
                Op::Put(put) if is_mine(&put.key) => self.put(put),
                Op::Put(_) => continue,
                Op::Delete(delete) => self.delete(delete),
                Op::Revoke(lease) => self.revoke(*lease),
                Op::Range(range) => {
                    let revision =
                        if range.revision > 0 { Revision(range.revision) } else { self.stamp.revision };
                    OpPart::Range(range_part(self.shard, range, revision))
                }
            };
            results.push(OpResult { op, part });
        }
        results
    }

    fn put(&mut self, put: &PutRequest) -> OpPart {
        let mut previous = None;
        if put.prev_kv || put.ignore_value || put.ignore_lease {
            previous = self.shard.get(&put.key, self.stamp.revision).map(|pair| key_value(&pair, true));
        }
        // An operation before this one may have deleted the key that the check saw; then nothing is kept.
        let kept = previous.as_ref();
        let value = if put.ignore_value { kept.map_or(&[][..], |kv| &kv.value) } else { &put.value };
        let lease = if put.ignore_lease { kept.map_or(0, |kv| kv.lease) } else { put.lease };
        write(self.shard, self.journal, self.stamp, Put { key: &put.key, value, lease: LeaseId(lease) });
        OpPart::Put(previous.filter(|_| put.prev_kv))
    }

    fn delete(&mut self, delete: &DeleteRangeRequest) -> OpPart {
        let range = KeyRange::new(&delete.key, &delete.range_end);
        let mut keys = Vec::new();
        let mut prev_kvs = Vec::new();
        for pair in self.shard.range(range, self.stamp.revision) {
            keys.push(pair.key.to_vec());
            if delete.prev_kv {
                prev_kvs.push(key_value(&pair, true));
            }
        }
        self.delete_keys(&keys);
        OpPart::Delete { deleted: keys.len() as u64, prev_kvs }
    }

    fn revoke(&mut self, lease: LeaseId) -> OpPart {
        let keys: Vec<_> = self.shard.lease_keys(lease).into_iter().map(<[u8]>::to_vec).collect();
        self.delete_keys(&keys);
        OpPart::Delete { deleted: keys.len() as u64, prev_kvs: Vec::new() }
    }

    fn delete_keys(&mut self, keys: &[Vec<u8>]) {
        for key in keys {
            let deleted = self.shard.delete(self.stamp, key);
            assert!(deleted, "a key that was just read is live");
            let Stamp { index, revision, sub } = self.stamp;
            self.journal.append(&wal::Version { index, revision, sub, key, live: None });
        }
    }
}

fn write(shard: &mut Shard, journal: &mut impl Journal, stamp: Stamp, put: Put<'_>) {
    let live = shard.put(stamp, put.key, put.value, put.lease);
    let Stamp { index, revision, sub } = stamp;
    journal.append(&wal::Version { index, revision, sub, key: put.key, live: Some(live) });
}
