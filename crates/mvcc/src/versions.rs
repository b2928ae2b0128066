//! The versions of one key, oldest to newest.
//!
//! A key with one version costs no allocation beside its value. Versions are ordered by (revision, sub); a tombstone
//! is a version.

use windlass_records::wal;
use windlass_types::{LeaseId, LogIndex, Revision};

use crate::chunked::Chunked;
use crate::shard::Pair;

/// Where in history a change happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The log entry that made it.
    pub index: LogIndex,
    /// The revision that it is part of.
    pub revision: Revision,
    /// Ordinal of its operation within that revision. The keys of one range delete share it.
    pub sub: u32,
}

/// One version of a key.
pub(crate) struct Record {
    pub(crate) stamp: Stamp,
    /// Zero in a tombstone.
    pub(crate) create_revision: Revision,
    /// Zero in a tombstone, else from 1.
    pub(crate) version: i64,
    pub(crate) lease: LeaseId,
    pub(crate) value: Box<[u8]>,
}

impl Record {
    /// The version that a delete makes.
    pub(crate) fn tombstone(stamp: Stamp) -> Self {
        Self { stamp, create_revision: Revision(0), version: 0, lease: LeaseId(0), value: Box::default() }
    }

    /// A version as it was read from a disk.
    pub(crate) fn load(v: &wal::Version<'_>) -> Self {
        let stamp = Stamp { index: v.index, revision: v.revision, sub: v.sub };
        match v.live {
            None => Self::tombstone(stamp),
            Some(live) => Self {
                stamp,
                create_revision: live.create_revision,
                version: live.version,
                lease: live.lease,
                value: live.value.into(),
            },
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.version != 0
    }

    /// This version of `key` as it is written to a disk.
    pub(crate) fn to_wal<'a>(&'a self, key: &'a [u8]) -> wal::Version<'a> {
        let live = self.is_live().then_some(wal::Live {
            create_revision: self.create_revision,
            version: self.version,
            lease: self.lease,
            value: &self.value,
        });
        let Stamp { index, revision, sub } = self.stamp;
        wal::Version { index, revision, sub, key, live }
    }

    /// This version of `key` as a reader sees it. It must be live.
    pub(crate) fn pair<'a>(&'a self, key: &'a [u8]) -> Pair<'a> {
        Pair {
            key,
            value: &self.value,
            create_revision: self.create_revision,
            mod_revision: self.stamp.revision,
            version: self.version,
            lease: self.lease,
        }
    }

    /// Position within the key's history.
    pub(crate) fn order(&self) -> (Revision, u32) {
        (self.stamp.revision, self.stamp.sub)
    }
}

/// All versions of one key, at least one.
pub(crate) struct Chain {
    newest: Record,
    older: Option<Box<History>>,
}

/// Every version but the newest, in order; never empty.
struct History {
    records: Chunked<Record>,
}

impl Chain {
    pub(crate) fn new(record: Record) -> Self {
        Self { newest: record, older: None }
    }

    pub(crate) fn newest(&self) -> &Record {
        &self.newest
    }

    pub(crate) fn is_live(&self) -> bool {
        self.newest.is_live()
    }

    /// The version that a reader at `revision` sees, tombstones included.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Record> {
        if self.newest.stamp.revision <= revision {
            return Some(&self.newest);
        }
        let older = &self.older.as_ref()?.records;
        let after = older.partition_point(|r| r.stamp.revision <= revision);
        after.checked_sub(1).and_then(|at| older.get(at))
    }

    /// The version made at exactly this place.
    pub(crate) fn find(&self, order: (Revision, u32)) -> Option<&Record> {
        if self.newest.order() == order {
            return Some(&self.newest);
        }
        let older = &self.older.as_ref()?.records;
        older.search_by_key(&order, Record::order).ok().and_then(|at| older.get(at))
    }

    /// All versions after `order`, oldest first.
    pub(crate) fn after(&self, order: Option<(Revision, u32)>) -> impl Iterator<Item = &Record> {
        let older = self.older.as_ref().map(|h| &h.records);
        let start = match (older, order) {
            (Some(older), Some(order)) => older.partition_point(|r| r.order() <= order),
            _ => 0,
        };
        let newest = Some(&self.newest).filter(|r| order.is_none_or(|o| r.order() > o));
        older.into_iter().flat_map(move |o| o.range_from(start)).chain(newest)
    }

    /// Adds a version newer than all others. Panics if it is not.
    pub(crate) fn push(&mut self, record: Record) {
        assert!(record.order() > self.newest.order(), "versions of a key are made in order");
        let previous = std::mem::replace(&mut self.newest, record);
        self.older_mut().push_back(previous);
    }

    /// Adds a version at its place; false, and nothing changes, if it is there.
    pub(crate) fn insert(&mut self, record: Record) -> bool {
        let order = record.order();
        if order > self.newest.order() {
            self.push(record);
            return true;
        }
        if order == self.newest.order() {
            return false;
        }
        let older = self.older_mut();
        match older.search_by_key(&order, Record::order) {
            Ok(_) => false,
            Err(at) => {
                older.insert(at, record);
                true
            }
        }
    }

    /// Removes and returns the oldest version if no reader at `compact` or later, and no watcher that starts there,
    /// can see it. `None` if it must stay, or if it is the only one.
    pub(crate) fn pop_compacted(&mut self, compact: Revision) -> Option<Record> {
        let older = self.older.as_mut()?;
        let next = older.records.get(1).unwrap_or(&self.newest);
        let oldest = older.records.get(0)?;
        // What a revision changed twice a watcher that starts there is told of twice.
        let superseded = next.stamp.revision <= compact && oldest.stamp.revision < compact;
        if !superseded && !is_spent(oldest, compact) {
            return None;
        }
        let popped = older.records.pop_front();
        if older.records.is_empty() {
            self.older = None;
        }
        popped
    }

    /// Whether nothing is left but a tombstone that nobody can see at `compact` or later.
    pub(crate) fn is_spent(&self, compact: Revision) -> bool {
        self.older.is_none() && is_spent(&self.newest, compact)
    }

    fn older_mut(&mut self) -> &mut Chunked<Record> {
        // Most keys that have a second version have few.
        let history =
            self.older.get_or_insert_with(|| Box::new(History { records: Chunked::with_capacity(1) }));
        &mut history.records
    }
}

/// A tombstone at exactly the compaction revision stays: a watcher may start there (etcd pull request 19179).
fn is_spent(record: &Record, compact: Revision) -> bool {
    !record.is_live() && record.stamp.revision < compact
}
