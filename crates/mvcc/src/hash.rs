//! A hash of what a shard holds, whose sum over a member's shards does not depend on how many there are.
//!
//! Each version is hashed alone and the hashes are added, so neither order nor placement matters. It covers what a
//! finished compaction would have kept, so it does not depend either on how far compaction has come.

use windlass_records::wal;
use windlass_types::Revision;
use windlass_types::key::KeyRange;
use windlass_types::splitmix::mix;

use crate::shard::Shard;
use crate::versions::Record;

/// Sum of the hashes of versions. Add the sums of all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashSum(u64);

impl HashSum {
    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// What is left of this sum without `part` of it.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self(self.0.wrapping_sub(part.0))
    }

    /// Of one name with its value, for what is kept beside keys. It equals that of no version.
    #[must_use]
    pub fn of_named(name: &[u8], value: &[u8]) -> Self {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&(name.len() as u64).to_le_bytes());
        crc.update(name);
        crc.update(value);
        Self(mix(!u64::from(crc.finalize())))
    }

    /// As it travels between members.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// As it came from another member.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 32 bits that etcd's HashKV response has room for.
    #[must_use]
    pub fn finish(self) -> u32 {
        (self.0 ^ (self.0 >> 32)) as u32
    }

    /// Adds one version.
    pub fn add(&mut self, version: &wal::Version<'_>) {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&(version.key.len() as u64).to_le_bytes());
        crc.update(version.key);
        crc.update(&version.revision.0.to_le_bytes());
        crc.update(&version.sub.to_le_bytes());
        if let Some(live) = version.live {
            crc.update(&live.create_revision.0.to_le_bytes());
            crc.update(&live.version.to_le_bytes());
            crc.update(&live.lease.0.to_le_bytes());
            crc.update(live.value);
        }
        // Sums of checksums would cancel out as checksums do.
        self.0 = self.0.wrapping_add(mix(u64::from(crc.finalize())));
    }
}

/// A hash in the making, so that it can be made in slices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashScan {
    revision: Revision,
    compact_revision: Revision,
    sum: HashSum,
    next_key: Vec<u8>,
}

impl HashScan {
    /// Hashes what a reader between `compact_revision` and `revision` can see. The shard must not be compacted
    /// beyond `compact_revision` before the scan is done.
    #[must_use]
    pub fn new(revision: Revision, compact_revision: Revision) -> Self {
        Self { revision, compact_revision, sum: HashSum::default(), next_key: Vec::new() }
    }

    /// The compaction revision that it was begun with.
    #[must_use]
    pub fn compact_revision(&self) -> Revision {
        self.compact_revision
    }

    /// Goes through at most `keys` keys of `shard`; the sum, once there are no more.
    pub fn step(&mut self, shard: &Shard, keys: usize) -> Option<HashSum> {
        let from = std::mem::take(&mut self.next_key);
        let mut ids = shard.ids(KeyRange::From(&from));
        for id in ids.by_ref().take(keys) {
            let slot = shard.slots.get(id);
            // The same rule as in compaction: everything at exactly the revision stays.
            let below = |r: &&Record| r.is_live() && r.stamp.revision < self.compact_revision;
            let kept = slot.chain.at(self.compact_revision).filter(below);
            let before = (Revision(self.compact_revision.0 - 1), u32::MAX);
            let later = slot.chain.after(Some(before)).take_while(|r| r.stamp.revision <= self.revision);
            for record in kept.into_iter().chain(later) {
                self.sum.add(&record.to_wal(slot.key.as_slice()));
            }
        }
        match ids.next() {
            Some(id) => {
                self.next_key = shard.slots.key(id).to_vec();
                None
            }
            None => Some(self.sum),
        }
    }
}
