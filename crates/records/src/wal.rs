//! Records of a shard's WAL and checkpoints (`schema/wal.fbs`): versions of keys, and system records.

use bytes::Bytes;
use windlass_types::{LeaseId, LogIndex, Revision};

use crate::generated::wal::windlass::wal as wire;
use crate::{Error, TABLE_BYTES_MAX, builder_in, range_in};

/// One version of one key, as it is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// The log entry that wrote it.
    pub index: LogIndex,
    /// The revision that wrote it.
    pub revision: Revision,
    /// Ordinal of the operation within that revision.
    pub sub: u32,
    /// The key; never empty.
    pub key: &'a [u8],
    /// What the operation left; `None` is a tombstone.
    pub live: Option<Live<'a>>,
}

/// A version that is not a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live<'a> {
    /// Revision of the put that created the key.
    pub create_revision: Revision,
    /// Number of puts since then, from 1.
    pub version: i64,
    /// The attached lease; zero is none.
    pub lease: LeaseId,
    /// The value; may be empty.
    pub value: &'a [u8],
}

/// A piece of the member's own replicated state, which lies in the shards beside the keys: only the newest one of a
/// name counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemRecord<'a> {
    /// The log entry that wrote it. An entry writes a name once.
    pub index: LogIndex,
    /// Its name; never empty.
    pub name: &'a [u8],
    /// Its value; `None` deletes the name.
    pub value: Option<&'a [u8]>,
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A version of a key.
    Version(Version<'a>),
    /// A system record.
    System(SystemRecord<'a>),
}

impl Record<'_> {
    /// The log entry that wrote it.
    #[must_use]
    pub fn index(&self) -> LogIndex {
        match self {
            Self::Version(version) => version.index,
            Self::System(record) => record.index,
        }
    }
}

const TOMBSTONE: u32 = 1;
const SYSTEM: u32 = 2;

/// Gathers versions for one frame. Reused: [`finish`](Self::finish) leaves it empty with its memory.
#[derive(Default)]
pub struct FrameBuilder {
    versions: Vec<wire::Version>,
    bytes: Vec<u8>,
    /// Memory of the last frame that was finished here.
    memory: Vec<u8>,
}

impl FrameBuilder {
    /// Appends one version.
    pub fn push(&mut self, v: &Version<'_>) {
        let (create, version, lease, value, flags) = match v.live {
            Some(l) => (l.create_revision.0, l.version, l.lease.0, l.value, 0),
            None => (0, 0, 0, &[][..], TOMBSTONE),
        };
        let (key_len, value_len) = (u32_len(v.key.len()), u32_len(value.len()));
        self.versions.push(wire::Version::new(
            v.index.0,
            v.revision.0,
            create,
            version,
            lease,
            v.sub,
            key_len,
            value_len,
            flags,
        ));
        self.bytes.extend_from_slice(v.key);
        self.bytes.extend_from_slice(value);
    }

    /// Appends one system record.
    pub fn push_system(&mut self, record: &SystemRecord<'_>) {
        let value = record.value.unwrap_or_default();
        let flags = SYSTEM | if record.value.is_none() { TOMBSTONE } else { 0 };
        let (name_len, value_len) = (u32_len(record.name.len()), u32_len(value.len()));
        self.versions.push(wire::Version::new(record.index.0, 0, 0, 0, 0, 0, name_len, value_len, flags));
        self.bytes.extend_from_slice(record.name);
        self.bytes.extend_from_slice(value);
    }

    /// Bytes that the finished frame will take, within a few dozen.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len() + self.versions.len() * size_of::<wire::Version>()
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// The finished frame, valid until the next call; the builder is empty afterwards.
    pub fn finish(&mut self, complete_index: LogIndex) -> &[u8] {
        let memory = std::mem::take(&mut self.memory);
        let (memory, at) = self.finish_in(memory, 0, complete_index);
        self.memory = memory;
        &self.memory[at..]
    }

    /// As [`finish`](Self::finish), but the frame is the end of `memory`, of which whatever it held is gone and which is
    /// replaced if it is too small. Returns it and where in it the frame begins, which is not before `front_bytes`.
    #[must_use]
    pub fn finish_in(
        &mut self,
        mut memory: Vec<u8>,
        front_bytes: usize,
        complete_index: LogIndex,
    ) -> (Vec<u8>, usize) {
        let bytes_max = front_bytes + TABLE_BYTES_MAX + self.len_bytes();
        if memory.len() < bytes_max {
            memory = vec![0; bytes_max];
        }
        let mut fbb = builder_in(memory, self.len_bytes());
        let bytes = fbb.create_vector(&self.bytes);
        let versions = fbb.create_vector(&self.versions);
        let args = wire::FrameArgs {
            complete_index: complete_index.0,
            versions: Some(versions),
            bytes: Some(bytes),
        };
        let root = wire::Frame::create(&mut fbb, &args);
        fbb.finish(root, None);
        self.versions.clear();
        self.bytes.clear();
        let (memory, at) = fbb.collapse();
        assert!(at >= front_bytes, "a frame is not larger than its bound");
        (memory, at)
    }
}

/// A verified frame.
pub struct Frame {
    data: Bytes,
    complete_index: LogIndex,
    versions: std::ops::Range<usize>,
    bytes: std::ops::Range<usize>,
}

const VERSION_BYTES: usize = size_of::<wire::Version>();

impl Frame {
    /// Verifies `data`, every version included.
    pub fn parse(data: Bytes) -> Result<Self, Error> {
        let root = wire::root_as_frame(&data)?;
        let versions = root.versions().ok_or(Error::Invalid("frame without versions"))?;
        let bytes = root.bytes().ok_or(Error::Invalid("frame without bytes"))?;
        let mut used = 0_u64;
        for v in versions {
            if v.key_length() == 0 {
                return Err(Error::Invalid("version with an empty key"));
            }
            if v.flags() & !(TOMBSTONE | SYSTEM) != 0 {
                return Err(Error::Invalid("version with unknown flags"));
            }
            used += u64::from(v.key_length()) + u64::from(v.value_length());
        }
        if used != bytes.len() as u64 {
            return Err(Error::Invalid("keys and values do not fill the frame's bytes"));
        }
        let complete_index = LogIndex(root.complete_index());
        let (versions, bytes) = (range_in(&data, versions.bytes()), range_in(&data, bytes.bytes()));
        Ok(Self { complete_index, versions, bytes, data })
    }

    /// Everything up to this entry is in this frame or an earlier one.
    #[must_use]
    pub fn complete_index(&self) -> LogIndex {
        self.complete_index
    }

    /// Everything in it, in the order in which it was pushed.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.data[self.bytes.clone()];
        self.data[self.versions.clone()].chunks_exact(VERSION_BYTES).map(move |bytes| {
            let wire = wire::Version(bytes.try_into().expect("chunk of the struct's size"));
            let (key, tail) = rest.split_at(wire.key_length() as usize);
            let (value, tail) = tail.split_at(wire.value_length() as usize);
            rest = tail;
            record(&wire, key, value)
        })
    }

    /// The versions of keys among the [`records`](Self::records).
    pub fn versions(&self) -> impl Iterator<Item = Version<'_>> {
        self.records().filter_map(|record| match record {
            Record::Version(version) => Some(version),
            Record::System(_) => None,
        })
    }
}

fn record<'a>(wire: &wire::Version, key: &'a [u8], value: &'a [u8]) -> Record<'a> {
    let index = LogIndex(wire.index());
    let is_live = wire.flags() & TOMBSTONE == 0;
    if wire.flags() & SYSTEM != 0 {
        return Record::System(SystemRecord { index, name: key, value: is_live.then_some(value) });
    }
    let live = is_live.then(|| Live {
        create_revision: Revision(wire.create()),
        version: wire.version(),
        lease: LeaseId(wire.lease()),
        value,
    });
    Record::Version(Version { index, revision: Revision(wire.main()), sub: wire.sub(), key, live })
}

fn u32_len(len: usize) -> u32 {
    u32::try_from(len).expect("keys and values are bounded far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>, noise: Vec<u8>) {
            let want: Vec<Version<'_>> = pairs.iter().filter(|p| !p.0.is_empty()).map(|(key, value)| Version {
                index: LogIndex(7), revision: Revision(9), sub: 2, key,
                live: value.as_ref().map(|v| Live { create_revision: Revision(3), version: 4, lease: LeaseId(5), value: v }),
            }).collect();
            let mut builder = FrameBuilder::default();
            want.iter().for_each(|v| builder.push(v));
            let frame = Frame::parse(Bytes::copy_from_slice(builder.finish(LogIndex(11)))).unwrap();
            prop_assert_eq!(frame.complete_index(), LogIndex(11));
            prop_assert_eq!(frame.versions().collect::<Vec<_>>(), want);
            prop_assert!(builder.is_empty());
            let _ = Frame::parse(Bytes::from(noise));
        }

        #[test]
        fn system_records_keep_their_place_among_versions(
            pairs: Vec<(Vec<u8>, Option<Vec<u8>>, bool)>,
        ) {
            let want: Vec<Record<'_>> = pairs.iter().filter(|p| !p.0.is_empty()).map(|(key, value, system)| {
                let value = value.as_deref();
                if *system {
                    return Record::System(SystemRecord { index: LogIndex(3), name: key, value });
                }
                let live = value.map(|value| Live { create_revision: Revision(3), version: 4, lease: LeaseId(5), value });
                Record::Version(Version { index: LogIndex(3), revision: Revision(9), sub: 0, key, live })
            }).collect();
            let mut builder = FrameBuilder::default();
            for record in &want {
                match record {
                    Record::Version(version) => builder.push(version),
                    Record::System(record) => builder.push_system(record),
                }
            }
            let frame = Frame::parse(Bytes::copy_from_slice(builder.finish(LogIndex(11)))).unwrap();
            prop_assert_eq!(frame.records().collect::<Vec<_>>(), want);
        }

        #[test]
        fn memory_may_hold_anything(value: Vec<u8>, spare_bytes in 0_usize..500, front_bytes in 0_usize..100) {
            let live = Live { create_revision: Revision(1), version: 1, lease: LeaseId(0), value: &value };
            let want = Version { index: LogIndex(1), revision: Revision(2), sub: 0, key: b"k", live: Some(live) };
            let mut builder = FrameBuilder::default();
            builder.push(&want);
            let (memory, at) = builder.finish_in(vec![0xaa; spare_bytes], front_bytes, LogIndex::ZERO);
            prop_assert!(at >= front_bytes);
            let frame = Frame::parse(Bytes::from(memory).slice(at..)).unwrap();
            prop_assert_eq!(frame.complete_index(), LogIndex::ZERO);
            prop_assert_eq!(frame.versions().collect::<Vec<_>>(), [want]);
        }

        #[test]
        fn flipped_bytes_cannot_panic(key in prop::collection::vec(any::<u8>(), 1..20), at: prop::sample::Index, with: u8) {
            let mut builder = FrameBuilder::default();
            builder.push(&Version { index: LogIndex(1), revision: Revision(2), sub: 0, key: &key, live: None });
            let mut data = builder.finish(LogIndex(1)).to_vec();
            let at = at.index(data.len());
            data[at] = with;
            if let Ok(frame) = Frame::parse(Bytes::from(data)) {
                frame.versions().count();
            }
        }
    }
}
