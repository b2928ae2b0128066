//! The system records of one shard: the newest of each name, and how a checkpoint sees them.
//!
//! A version of a key is a fact that stays until it is compacted, so a checkpoint may walk the keys while they change. A
//! system record is replaced: while a checkpoint walks, a record may be overwritten by an entry above the index at which
//! the next start cuts all streams, and the start needs the one before. So a walk sees the records as they were when it
//! began: changes that come meanwhile are kept aside, and merged when it is through.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use windlass_mvcc::HashSum;
use windlass_records::wal;
use windlass_types::LogIndex;

/// What a record costs beside its name and its value, in bytes of [`Records::bytes`].
const RECORD_BYTES: u64 = 64;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    index: LogIndex,
    /// `None` deletes the name.
    value: Option<Bytes>,
}

impl Written {
    fn as_record<'a>(&'a self, name: &'a [u8]) -> wal::SystemRecord<'a> {
        wal::SystemRecord { index: self.index, name, value: self.value.as_deref() }
    }
}

/// System records by name.
#[derive(Clone, Debug, Default)]
pub struct Records {
    kept: BTreeMap<Bytes, Written>,
    /// What changed since the walk began.
    changed: BTreeMap<Bytes, Written>,
    /// Whether a walk is under way.
    frozen: bool,
    /// Logical size of `kept`.
    bytes: u64,
    /// Of the newest of each name, those in `changed` included.
    sum: HashSum,
}

impl Records {
    /// Adds one record as it was read from a stream, in any order. [`finish_load`](Self::finish_load) must follow.
    pub fn load(&mut self, record: &wal::SystemRecord<'_>) {
        if self.kept.get(record.name).is_none_or(|known| known.index < record.index) {
            let value = record.value.map(Bytes::copy_from_slice);
            self.keep(Bytes::copy_from_slice(record.name), Written { index: record.index, value });
        }
    }

    /// Ends loading: forgets the names that are deleted, which until here keep older records from coming back.
    pub fn finish_load(&mut self) {
        self.kept.retain(|_, written| written.value.is_some());
        self.bytes = self.kept.iter().map(|(name, written)| cost(name, written)).sum();
        let hashes = self.kept.iter().map(|(name, written)| hash(name, written));
        self.sum = hashes.fold(HashSum::default(), HashSum::and);
    }

    /// Writes one record; `None` deletes the name.
    pub fn write(&mut self, index: LogIndex, name: Bytes, value: Option<Bytes>) {
        let written = Written { index, value };
        let old = self.changed.get(&name).or_else(|| self.kept.get(&name));
        let old = old.map_or_else(HashSum::default, |old| hash(&name, old));
        self.sum = self.sum.without(old).and(hash(&name, &written));
        if self.frozen {
            self.changed.insert(name, written);
        } else {
            self.settle(name, written);
        }
    }

    /// The newest records, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = wal::SystemRecord<'_>> {
        let unchanged = self.kept.iter().filter(|(name, _)| !self.changed.contains_key(*name));
        let mut changed = self.changed.iter().filter(|(_, written)| written.value.is_some()).peekable();
        let mut unchanged = unchanged.peekable();
        std::iter::from_fn(move || {
            let first = match (unchanged.peek(), changed.peek()) {
                (Some(old), Some(new)) if new.0 < old.0 => changed.next(),
                (None, _) => changed.next(),
                (Some(_), _) => unchanged.next(),
            };
            first.map(|(name, written)| written.as_record(name))
        })
    }

    /// Logical size in bytes of what a checkpoint would write.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sum of the hashes of the newest records. Which entries wrote them is not in it.
    #[must_use]
    pub fn sum(&self) -> HashSum {
        self.sum
    }

    /// A walk begins.
    pub(super) fn freeze(&mut self) {
        assert!(!self.frozen, "one walk at a time");
        self.frozen = true;
    }

    /// The records behind `after` as they were when the walk began.
    pub(super) fn walk(
        &self,
        after: Option<&Bytes>,
    ) -> impl Iterator<Item = (&Bytes, wal::SystemRecord<'_>)> {
        assert!(self.frozen, "a walk was begun");
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.kept
            .range::<Bytes, _>((from, Bound::Unbounded))
            .map(|(name, written)| (name, written.as_record(name)))
    }

    /// The walk is through.
    pub(super) fn thaw(&mut self) {
        self.frozen = false;
        for (name, written) in std::mem::take(&mut self.changed) {
            self.settle(name, written);
        }
    }

    fn settle(&mut self, name: Bytes, written: Written) {
        if written.value.is_some() {
            self.keep(name, written);
        } else if let Some(old) = self.kept.remove(&name) {
            self.bytes -= cost(&name, &old);
        }
    }

    fn keep(&mut self, name: Bytes, written: Written) {
        self.bytes += cost(&name, &written);
        if let Some(old) = self.kept.insert(name.clone(), written) {
            self.bytes -= cost(&name, &old);
        }
    }
}

fn cost(name: &[u8], written: &Written) -> u64 {
    RECORD_BYTES + (name.len() + written.value.as_ref().map_or(0, Bytes::len)) as u64
}

/// A name that is deleted counts as one that never was.
fn hash(name: &[u8], written: &Written) -> HashSum {
    written.value.as_ref().map_or_else(HashSum::default, |value| HashSum::of_named(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(records: &Records) -> Vec<(Vec<u8>, Vec<u8>)> {
        records.iter().map(|r| (r.name.to_vec(), r.value.unwrap().to_vec())).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        of.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn sum_of(pairs: &[(Vec<u8>, Vec<u8>)]) -> HashSum {
        let hashes = pairs.iter().map(|(name, value)| HashSum::of_named(name, value));
        hashes.fold(HashSum::default(), HashSum::and)
    }

    fn write(records: &mut Records, index: u64, name: &'static str, value: Option<&'static str>) {
        records.write(LogIndex(index), name.into(), value.map(Bytes::from));
    }

    #[test]
    fn a_walk_sees_the_records_of_its_beginning_and_readers_the_newest() {
        let mut records = Records::default();
        for name in ["b", "d", "f"] {
            write(&mut records, 1, name, Some("old"));
        }
        let (bytes, before) = (records.bytes(), records.sum());
        records.freeze();
        let first = records.walk(None).next().map(|(name, _)| name.clone());
        write(&mut records, 2, "d", Some("new"));
        write(&mut records, 2, "f", None);
        write(&mut records, 2, "a", Some("new"));
        let rest: Vec<_> =
            records.walk(first.as_ref()).map(|(name, r)| (name.clone(), r.value.unwrap())).collect();
        assert_eq!(rest, [("d".into(), &b"old"[..]), ("f".into(), b"old")]);
        let now = pairs(&[("a", "new"), ("b", "old"), ("d", "new")]);
        assert_eq!(values(&records), now);
        assert_eq!(records.sum(), sum_of(&now));
        records.thaw();
        assert_eq!(values(&records), now);
        assert_eq!(records.bytes(), bytes, "one came, one went");
        assert_eq!(records.sum(), sum_of(&now));
        assert_ne!(records.sum(), before);
    }

    #[test]
    fn the_newest_wins_in_whatever_order_records_are_loaded() {
        let history = [(1, "a", Some("1")), (2, "a", None), (3, "b", Some("3")), (4, "b", Some("4"))];
        for turn in 0..history.len() {
            let mut records = Records::default();
            let (front, back) = history.split_at(turn);
            for (index, name, value) in back.iter().chain(front).chain(history.iter().rev()) {
                let (name, value) = (name.as_bytes(), value.map(str::as_bytes));
                records.load(&wal::SystemRecord { index: LogIndex(*index), name, value });
            }
            records.finish_load();
            assert_eq!(values(&records), pairs(&[("b", "4")]));
            assert_eq!(records.bytes(), RECORD_BYTES + 2);
            assert_eq!(records.sum(), HashSum::of_named(b"b", b"4"));
        }
    }
}
