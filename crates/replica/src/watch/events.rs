//! Events as they travel: encoded once by the shard that has the change, borrowed from then on.
//!
//! An event is kept as the bytes of its protobuf message, so that ten thousand watchers of one key cost ten thousand
//! copies and no encoding. The pair that a change replaced is a field of its own behind the rest, for those who want it.

use bytes::Bytes;
use windlass_mvcc::{Change, Pair};
use windlass_records::wal;
use windlass_types::Revision;

use crate::task::Span;
use crate::wire;

/// What one event is taken to cost in memory beside its bytes.
const ROW_BYTES: usize = size_of::<Row>();

/// Events in order of revision, sub-revision and key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events {
    data: Bytes,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    revision: Revision,
    sub: u32,
    is_delete: bool,
    key: Span,
    /// Type and pair.
    body: Span,
    /// The replaced pair; empty if there is none, or if it is not wanted.
    previous: Span,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The revision that it is part of.
    pub revision: Revision,
    /// Ordinal of its operation within that revision.
    pub sub: u32,
    /// Whether the key was deleted; put if not.
    pub is_delete: bool,
    /// The key.
    pub key: &'a [u8],
    body: &'a [u8],
    previous: &'a [u8],
}

impl Events {
    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What they occupy in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.len() + self.rows.len() * ROW_BYTES
    }

    /// The event at a position below [`len`](Self::len).
    #[must_use]
    pub fn get(&self, at: usize) -> Event<'_> {
        let Row { revision, sub, is_delete, key, body, previous } = self.rows[at];
        let of = |span: Span| span.of(&self.data);
        Event { revision, sub, is_delete, key: of(key), body: of(body), previous: of(previous) }
    }

    /// Number of events at or below a revision.
    #[must_use]
    pub fn position_after(&self, revision: Revision) -> usize {
        self.rows.partition_point(|row| row.revision <= revision)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        (0..self.len()).map(|at| self.get(at))
    }
}

impl Event<'_> {
    /// Size of the event's message.
    #[must_use]
    pub fn message_len(&self, with_previous: bool) -> usize {
        self.body.len() + if with_previous { self.previous.len() } else { 0 }
    }

    /// Appends the event's message, a `mvccpb.Event`.
    pub fn encode(&self, with_previous: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(self.body);
        if with_previous {
            out.extend_from_slice(self.previous);
        }
    }
}

/// Makes [`Events`].
#[derive(Default)]
pub struct EventsBuilder {
    data: Vec<u8>,
    rows: Vec<Row>,
}

impl EventsBuilder {
    /// Adds a change, which is not before the last one.
    pub fn push(&mut self, change: &Change<'_>, with_previous: bool) {
        let wal::Version { revision, sub, key, live, .. } = change.version;
        let start = self.data.len();
        if live.is_none() {
            wire::varint_field(wire::EVENT_TYPE, wire::TYPE_DELETE, &mut self.data);
        }
        let pair = PairView::of_version(&change.version);
        let key_start = pair.encode(wire::EVENT_KV, &mut self.data);
        let end = self.data.len();
        if let Some(previous) = change.previous.filter(|_| with_previous) {
            PairView::of_pair(&previous).encode(wire::EVENT_PREV_KV, &mut self.data);
        }
        self.rows.push(Row {
            revision,
            sub,
            is_delete: live.is_none(),
            key: span(key_start, key_start + key.len()),
            body: span(start, end),
            previous: span(end, self.data.len()),
        });
    }

    /// What was added occupies this much.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.len() + self.rows.len() * ROW_BYTES
    }

    /// The revision of the last event, if there is one.
    #[must_use]
    pub fn last_revision(&self) -> Option<Revision> {
        self.rows.last().map(|row| row.revision)
    }

    /// What was added.
    #[must_use]
    pub fn finish(self) -> Events {
        Events { data: Bytes::from(self.data), rows: self.rows }
    }
}

fn span(start: usize, end: usize) -> Span {
    let number = |n: usize| u32::try_from(n).expect("events are handed on in pieces far below 4 GiB");
    Span { start: number(start), len: number(end - start) }
}

/// A `mvccpb.KeyValue`.
pub(crate) struct PairView<'a> {
    key: &'a [u8],
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    value: &'a [u8],
    lease: i64,
}

impl<'a> PairView<'a> {
    /// Of a deleted key there is only its name and when.
    fn of_version(version: &wal::Version<'a>) -> Self {
        let live = version.live;
        Self {
            key: version.key,
            create_revision: live.map_or(0, |l| l.create_revision.0),
            mod_revision: version.revision.0,
            version: live.map_or(0, |l| l.version),
            value: live.map_or(&[], |l| l.value),
            lease: live.map_or(0, |l| l.lease.0),
        }
    }

    /// Of a live key.
    pub(crate) fn of_pair(pair: &Pair<'a>) -> Self {
        Self {
            key: pair.key,
            create_revision: pair.create_revision.0,
            mod_revision: pair.mod_revision.0,
            version: pair.version,
            value: pair.value,
            lease: pair.lease.0,
        }
    }

    /// Most bytes that [`encode`](Self::encode) appends.
    pub(crate) fn bytes_max(&self) -> usize {
        self.key.len() + self.value.len() + wire::NUMBERS_BYTES_MAX
    }

    /// Appends itself as field `tag`; returns where the key's bytes begin.
    pub(crate) fn encode(&self, tag: u8, out: &mut Vec<u8>) -> usize {
        // All but key and value is put together first: appended byte by byte, it takes longer than they do.
        let mut numbers = wire::Numbers::default();
        wire::varint_field(wire::KV_CREATE_REVISION, self.create_revision as u64, &mut numbers);
        wire::varint_field(wire::KV_MOD_REVISION, self.mod_revision as u64, &mut numbers);
        wire::varint_field(wire::KV_VERSION, self.version as u64, &mut numbers);
        if !self.value.is_empty() {
            wire::message_field(wire::KV_VALUE, self.value.len(), &mut numbers);
        }
        let before_value = numbers.len();
        wire::varint_field(wire::KV_LEASE, self.lease as u64, &mut numbers);
        let after_value = numbers.len();
        // No key is empty.
        let len = wire::message_field_len(self.key.len()) + self.value.len() + after_value;
        wire::message_field(tag, len, &mut numbers);
        wire::message_field(wire::KV_KEY, self.key.len(), &mut numbers);
        out.reserve(self.key.len() + self.value.len() + numbers.len());
        out.extend_from_slice(&numbers.bytes()[after_value..]);
        let key_start = out.len();
        out.extend_from_slice(self.key);
        out.extend_from_slice(&numbers.bytes()[..before_value]);
        out.extend_from_slice(self.value);
        out.extend_from_slice(&numbers.bytes()[before_value..after_value]);
        key_start
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use windlass_api::mvccpb;
    use windlass_mvcc::{Shard, Stamp};
    use windlass_types::key::KeyRange;
    use windlass_types::{LeaseId, LogIndex};

    use super::*;

    #[test]
    fn a_pair_of_the_longest_numbers_has_room() {
        let (key, value) = (&[7; 200][..], &[8; 70_000][..]);
        let (create_revision, mod_revision, version, lease) = (i64::MIN, -1, i64::MIN + 1, -2);
        let pair = PairView { key, create_revision, mod_revision, version, value, lease };
        let mut bytes = vec![1];
        let key_start = pair.encode(wire::EVENT_KV, &mut bytes);
        assert_eq!(bytes[key_start..][..200], *key);
        assert!(bytes.len() <= 1 + pair.bytes_max());
        let (key, value) = (key.to_vec().into(), value.to_vec().into());
        let want = mvccpb::KeyValue { key, create_revision, mod_revision, version, value, lease };
        let want = mvccpb::Event { kv: Some(want), ..mvccpb::Event::default() };
        assert!(bytes[1..] == want.encode_to_vec());
    }

    #[test]
    fn events_are_the_protobuf_messages() {
        let mut shard = Shard::default();
        let stamp = |revision| Stamp { index: LogIndex(1), revision: Revision(revision), sub: 0 };
        let long = vec![7; 300];
        shard.put(stamp(2), b"a", &long, LeaseId(9));
        shard.put(stamp(3), b"a", b"", LeaseId(0));
        shard.delete(stamp(4), b"a");
        let mut builder = EventsBuilder::default();
        for (_, change) in shard.walk_changes(KeyRange::Point(b"a"), Revision(1)) {
            builder.push(&change.unwrap(), true);
        }
        let events = builder.finish();
        let kv = |mod_revision, version, value: &[u8], lease| mvccpb::KeyValue {
            key: "a".into(),
            create_revision: 2,
            mod_revision,
            version,
            value: value.to_vec().into(),
            lease,
        };
        let gone = mvccpb::KeyValue { key: "a".into(), mod_revision: 4, ..mvccpb::KeyValue::default() };
        let (put, delete) = (mvccpb::event::EventType::Put as i32, mvccpb::event::EventType::Delete as i32);
        let want = [
            mvccpb::Event { r#type: put, kv: Some(kv(2, 1, &long, 9)), prev_kv: None },
            mvccpb::Event { r#type: put, kv: Some(kv(3, 2, b"", 0)), prev_kv: Some(kv(2, 1, &long, 9)) },
            mvccpb::Event { r#type: delete, kv: Some(gone), prev_kv: Some(kv(3, 2, b"", 0)) },
        ];
        for (event, want) in events.iter().zip(want) {
            assert_eq!(event.key, b"a");
            assert_eq!(event.is_delete, want.r#type == delete);
            let mut bytes = Vec::new();
            event.encode(true, &mut bytes);
            assert_eq!(bytes, want.encode_to_vec());
            assert_eq!(event.message_len(true), bytes.len());
            bytes.clear();
            event.encode(false, &mut bytes);
            assert_eq!(bytes, mvccpb::Event { prev_kv: None, ..want }.encode_to_vec());
            assert_eq!(event.message_len(false), bytes.len());
        }
    }
}
