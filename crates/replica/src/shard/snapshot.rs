//! A shard's share of a snapshot for a member that cannot be served from the log: what the shard holds of all entries up to
//! one, in chunks, while it goes on with later ones.
//!
//! Versions of keys stay until they are compacted, so they are walked where they are, those of later entries left out;
//! nothing is compacted meanwhile. System records are replaced, so they are taken at once. A chunk is a frame of the
//! WAL's format, and made only when it is asked for: whoever sends the snapshot sets the pace.

use bytes::Bytes;
use windlass_mvcc::{Cursor, Shard};
use windlass_records::wal;
use windlass_types::LogIndex;

use super::records::Records;
use crate::task::SnapshotId;

/// Bytes of a chunk, about: some hundred microseconds of work, which a read can wait. One larger value still goes whole.
const CHUNK_BYTES: usize = 256 << 10;

/// One share under way.
pub(super) struct Share {
    id: SnapshotId,
    index: LogIndex,
    records: std::vec::IntoIter<(LogIndex, Bytes, Bytes)>,
    /// Behind the last version that was handed out.
    cursor: Option<Cursor>,
    builder: wal::FrameBuilder,
}

/// A piece of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The snapshot.
    pub id: SnapshotId,
    /// A [`wal::Frame`].
    pub frame: Bytes,
    /// Whether nothing follows.
    pub last: bool,
}

impl Share {
    /// Begins the share of a shard that is complete up to `index` and has begun no later entry.
    pub fn begin(id: SnapshotId, index: LogIndex, records: &Records) -> Self {
        let copy = |r: wal::SystemRecord<'_>| {
            let value = r.value.expect("deleted records are not listed");
            (r.index, Bytes::copy_from_slice(r.name), Bytes::copy_from_slice(value))
        };
        let records = records.iter().map(copy).collect::<Vec<_>>().into_iter();
        Self { id, index, records, cursor: None, builder: wal::FrameBuilder::default() }
    }

    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// The next chunk.
    pub fn next(&mut self, shard: &Shard) -> Chunk {
        while self.builder.len_bytes() < CHUNK_BYTES {
            let Some((index, name, value)) = self.records.next() else { break };
            self.builder.push_system(&wal::SystemRecord { index, name: &name, value: Some(&value) });
        }
        let last = self.push_versions(shard);
        let frame = Bytes::copy_from_slice(self.builder.finish(self.index));
        Chunk { id: self.id, frame, last }
    }

    /// Whether that was all.
    fn push_versions(&mut self, shard: &Shard) -> bool {
        let mut versions = shard.versions(self.cursor.as_ref());
        let mut newest = None;
        let through = loop {
            if self.builder.len_bytes() >= CHUNK_BYTES {
                break false;
            }
            let Some(version) = versions.next() else { break true };
            if version.index <= self.index {
                self.builder.push(&version);
            }
            newest = Some(version);
        };
        let cursor = newest.map(|version| Cursor::after(&version));
        drop(versions);
        if cursor.is_some() {
            self.cursor = cursor;
        }
        through
    }
}
