//! The keys of one shard with all their versions: writing, reading and counting.

use windlass_records::wal;
use windlass_types::key::KeyRange;
use windlass_types::{LeaseId, Revision};

use crate::compact::Compaction;
use crate::hash::HashSum;
use crate::key::Key;
use crate::leases::Leases;
use crate::revision_log::{Change, RevisionLog};
use crate::slots::{KeyId, Slot, Slots};
use crate::tree::Tree;
use crate::versions::{Chain, Record, Stamp};

/// What a version is taken to cost beside its key and its value, in bytes of [`Usage::bytes`].
pub const VERSION_BYTES: u64 = 64;

/// One shard.
#[derive(Default)]
pub struct Shard {
    pub(crate) slots: Slots,
    pub(crate) tree: Tree,
    pub(crate) log: RevisionLog,
    pub(crate) compaction: Compaction,
    pub(crate) usage: Usage,
    pub(crate) totals: Totals,
    /// Of every version that was loaded or written.
    written: HashSum,
    /// Of those that compaction removed.
    pub(crate) forgotten: HashSum,
    leases: Leases,
}

/// A live key as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Revision of the put that created it.
    pub create_revision: Revision,
    /// Revision of the put that wrote this value.
    pub mod_revision: Revision,
    /// Number of puts since it was created, from 1.
    pub version: i64,
    /// The attached lease; zero is none.
    pub lease: LeaseId,
}

/// What a shard holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Versions of all keys, tombstones included.
    pub versions: u64,
    /// Logical size: the key, the value and [`VERSION_BYTES`] of each version. The same on every member but for how
    /// far compaction has come, so a quota may rest on it once summed over the shards.
    pub bytes: u64,
}

/// What was done to a shard since it was made; not what it was loaded with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys written.
    pub puts: u64,
    /// Bytes of these keys and their values.
    pub put_bytes: u64,
    /// Keys deleted.
    pub deletes: u64,
    /// Versions that compaction removed.
    pub compacted: u64,
}

impl Shard {
    /// Writes a key. Stamps must be made in order; returns what the version holds, for the WAL.
    pub fn put<'v>(&mut self, stamp: Stamp, key: &[u8], value: &'v [u8], lease: LeaseId) -> wal::Live<'v> {
        let path = self.tree.locate(&self.slots, key);
        let (create_revision, version) = match path.found().map(|id| self.slots.get(id).chain.newest()) {
            Some(newest) if newest.is_live() => (newest.create_revision, newest.version + 1),
            _ => (stamp.revision, 1),
        };
        let record = Record { stamp, create_revision, version, lease, value: value.into() };
        self.add_usage(key, &record);
        self.written.add(&record.to_wal(key));
        self.totals.puts += 1;
        self.totals.put_bytes += (key.len() + value.len()) as u64;
        let (id, old_lease) = match path.found() {
            Some(id) => {
                self.tree.set_live(&path, true);
                let chain = &mut self.slots.get_mut(id).chain;
                let old_lease = chain.newest().lease;
                chain.push(record);
                (id, old_lease)
            }
            None => {
                let id = self.slots.insert(Slot { key: Key::new(key), chain: Chain::new(record) });
                self.tree.insert(&self.slots, &path, id, true);
                (id, LeaseId::ZERO)
            }
        };
        self.leases.change(id, old_lease, lease);
        self.log.push(Change { revision: stamp.revision, sub: stamp.sub, key: id });
        wal::Live { create_revision, version, lease, value }
    }

    /// Deletes a key; false, and nothing changes, if it does not live.
    pub fn delete(&mut self, stamp: Stamp, key: &[u8]) -> bool {
        let path = self.tree.locate(&self.slots, key);
        let Some(id) = path.found() else { return false };
        if !self.slots.get(id).chain.is_live() {
            return false;
        }
        let record = Record::tombstone(stamp);
        self.add_usage(key, &record);
        self.written.add(&record.to_wal(key));
        self.totals.deletes += 1;
        self.tree.set_live(&path, false);
        let chain = &mut self.slots.get_mut(id).chain;
        let old_lease = chain.newest().lease;
        chain.push(record);
        self.leases.change(id, old_lease, LeaseId::ZERO);
        self.log.push(Change { revision: stamp.revision, sub: stamp.sub, key: id });
        true
    }

    /// The pair that a reader at `revision` sees. Must not be asked below the compaction revision.
    #[must_use]
    pub fn get(&self, key: &[u8], revision: Revision) -> Option<Pair<'_>> {
        let id = self.tree.locate(&self.slots, key).found()?;
        self.pair_at(id, revision)
    }

    /// The pairs that a reader at `revision` sees, in key order. Must not be asked below the compaction revision.
    pub fn range<'a>(&'a self, range: KeyRange<'a>, revision: Revision) -> impl Iterator<Item = Pair<'a>> {
        self.ids(range).filter_map(move |id| self.pair_at(id, revision))
    }

    /// Number of pairs in [`range`](Self::range). In time logarithmic in the number of keys, and linear in the number
    /// of changes after `revision` or of keys in the range, whichever is less.
    #[must_use]
    pub fn count(&self, range: KeyRange<'_>, revision: Revision) -> u64 {
        if let KeyRange::Point(key) = range {
            return u64::from(self.get(key, revision).is_some());
        }
        let now = self.count_newest(range);
        let changes = self.log.from(revision.next());
        if changes.len() as u64 > now {
            return self.range(range, revision).count() as u64;
        }
        // Each key is corrected once, at its newest change.
        let mut count = now;
        for change in changes {
            let Slot { key, chain } = self.slots.get(change.key);
            let is_newest = chain.newest().order() == (change.revision, change.sub);
            if is_newest && range.contains(key.as_slice()) {
                count += u64::from(chain.at(revision).is_some_and(Record::is_live));
                count -= u64::from(chain.is_live());
            }
        }
        count
    }

    /// The keys attached to a lease, in key order.
    #[must_use]
    pub fn lease_keys(&self, lease: LeaseId) -> Vec<&[u8]> {
        let mut keys: Vec<_> = self.leases.keys(lease).map(|id| self.slots.key(id)).collect();
        keys.sort_unstable();
        keys
    }

    /// Whether any key is attached to a lease.
    #[must_use]
    pub fn has_lease_keys(&self, lease: LeaseId) -> bool {
        self.leases.keys(lease).next().is_some()
    }

    /// Number of keys that have any version.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Number of keys that live at the newest revision.
    #[must_use]
    pub fn live_keys(&self) -> u64 {
        self.tree.live()
    }

    /// What the shard holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// What was done to it.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Sum of the hashes of every version that was loaded or written since the shard was made.
    #[must_use]
    pub fn written_sum(&self) -> HashSum {
        self.written
    }

    /// Sum of the hashes of the versions that compaction removed. While no compaction is under way, what was
    /// [written](Self::written_sum) without this is what a [`HashScan`](crate::HashScan) of everything finds.
    #[must_use]
    pub fn forgotten_sum(&self) -> HashSum {
        self.forgotten
    }

    /// Adds one version as it was read from a checkpoint or a WAL, in any order; one that is there already is
    /// skipped. [`finish_load`](Self::finish_load) must follow before anything else.
    pub fn load(&mut self, version: &wal::Version<'_>) {
        let record = Record::load(version);
        let path = self.tree.locate(&self.slots, version.key);
        let (id, old_lease) = match path.found() {
            Some(id) => {
                let chain = &mut self.slots.get_mut(id).chain;
                let old_lease = chain.newest().lease;
                if !chain.insert(record) {
                    return;
                }
                let live = chain.is_live();
                self.tree.set_live(&path, live);
                (id, old_lease)
            }
            None => {
                let live = record.is_live();
                let id = self.slots.insert(Slot { key: Key::new(version.key), chain: Chain::new(record) });
                self.tree.insert(&self.slots, &path, id, live);
                (id, LeaseId::ZERO)
            }
        };
        self.leases.change(id, old_lease, self.slots.get(id).chain.newest().lease);
        self.written.add(version);
        self.usage.versions += 1;
        self.usage.bytes += cost(version.key, version.live.map_or(0, |live| live.value.len()));
        self.log.load(Change { revision: version.revision, sub: version.sub, key: id });
    }

    /// Ends loading. `compact_revision` is that of the state that belongs to the versions; what it covers is
    /// compacted again, slice by slice ([`compact_step`](Self::compact_step)).
    pub fn finish_load(&mut self, compact_revision: Revision) {
        self.log.sort(&self.slots);
        self.compact(compact_revision);
    }

    /// The ids of all keys in `range`, in key order, live or not.
    pub(crate) fn ids<'a>(&'a self, range: KeyRange<'a>) -> impl Iterator<Item = KeyId> + 'a {
        // The walk begins at the start: the end alone is to be looked for.
        self.tree.iter_from(&self.slots, range.start()).take_while(move |&id| match range {
            KeyRange::Point(key) => self.slots.key(id) == key,
            KeyRange::Bounded(_, end) => self.slots.key(id) < end,
            KeyRange::From(_) => true,
        })
    }

    fn count_newest(&self, range: KeyRange<'_>) -> u64 {
        let before_end = match range {
            KeyRange::Point(_) => unreachable!("a point is looked up"),
            KeyRange::Bounded(_, end) => self.tree.rank(&self.slots, end),
            KeyRange::From(_) => self.tree.live(),
        };
        before_end.saturating_sub(self.tree.rank(&self.slots, range.start()))
    }

    fn pair_at(&self, id: KeyId, revision: Revision) -> Option<Pair<'_>> {
        let Slot { key, chain } = self.slots.get(id);
        let record = chain.at(revision).filter(|r| r.is_live())?;
        Some(record.pair(key.as_slice()))
    }

    fn add_usage(&mut self, key: &[u8], record: &Record) {
        self.usage.versions += 1;
        self.usage.bytes += cost(key, record.value.len());
    }
}

/// Logical size of a version in bytes.
pub(crate) fn cost(key: &[u8], value_bytes: usize) -> u64 {
    VERSION_BYTES + (key.len() + value_bytes) as u64
}
