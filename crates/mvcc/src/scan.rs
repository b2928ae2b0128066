//! Going through all versions of a shard piece by piece: for checkpoints, snapshots and the hash.

use windlass_records::wal;
use windlass_types::Revision;
use windlass_types::key::KeyRange;

use crate::shard::Shard;

/// Where a scan stands: after this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    key: Box<[u8]>,
    order: (Revision, u32),
}

impl Cursor {
    /// After `version`.
    #[must_use]
    pub fn after(version: &wal::Version<'_>) -> Self {
        Self { key: version.key.into(), order: (version.revision, version.sub) }
    }
}

impl Shard {
    /// All versions after `cursor`, or from the first, by key and then oldest first. Writes and compactions between
    /// two pieces of a scan are seen or not, version by version.
    pub fn versions<'a>(&'a self, cursor: Option<&'a Cursor>) -> impl Iterator<Item = wal::Version<'a>> {
        let start = cursor.map_or(&[][..], |c| &c.key);
        self.ids(KeyRange::From(start)).flat_map(move |id| {
            let slot = self.slots.get(id);
            let key = slot.key.as_slice();
            let order = cursor.filter(|c| *c.key == *key).map(|c| c.order);
            slot.chain.after(order).map(move |record| record.to_wal(key))
        })
    }
}
