//! `hashkv`: the hash by which etcd's members compare their keys, of a file.

use std::collections::{HashMap, HashSet};

use prost::Message;
use windlass_api::mvccpb::KeyValue;
use windlass_bbolt::Reader;
use windlass_replica::backup::schema::{KEY, Place};
use windlass_replica::backup::{Backend, Error};
use windlass_types::Revision;

use crate::crc32c::Crc32c;
use crate::exit::{ERROR, Failure};
use crate::output::{Column, Figures, Format};
use crate::source::SnapshotFile;

/// The hash up to `revision`, or the newest one if that is zero. Source: etcd `mvcc/hash.go`.
///
/// # Errors
/// If the file is damaged, or the revision compacted or in the future.
pub fn hash_kv(file: &SnapshotFile, revision: i64, format: Format) -> Result<String, Failure> {
    let failed = |error: Error| Failure::of(file.path(), &error);
    let backend = Backend::open(file).map_err(failed)?;
    let compacted = backend.compact_revision().map_err(failed)?;
    let newest = backend.versions(&mut |_| Ok(())).map_err(failed)?.max(compacted);
    let wanted = if revision == 0 { newest } else { Revision(revision) };
    if wanted > newest {
        return Err(Failure::new(ERROR, "mvcc: required revision is a future revision"));
    }
    if wanted < compacted {
        return Err(Failure::new(ERROR, "mvcc: required revision has been compacted"));
    }
    let hash = sum(backend.reader(), wanted, compacted).map_err(failed)?;
    let number = |name, field, key, value: i64| Column { name, field, key, value: value.into(), text: None };
    let columns = vec![
        number("HASH", "Hash", "hash", i64::from(hash)),
        number("HASH REVISION", "Hash revision", "hashRevision", wanted.0),
        number("COMPACT REVISION", "Compact revision", "compactRevision", compacted.0),
    ];
    Figures(columns).print(format)
}

fn sum(reader: &Reader<'_, SnapshotFile>, wanted: Revision, compacted: Revision) -> Result<u32, Error> {
    let kept = kept(reader, wanted, compacted)?;
    let mut hash = Crc32c::new();
    hash.update(KEY);
    let missing = Error::Schema { bucket: "key", what: "is missing" };
    let mut cursor = reader.bucket(KEY)?.ok_or(missing)?;
    while let Some((key, value)) = cursor.next_pair()? {
        let Some(place) = Place::decode(&key) else { continue };
        let is_dropped = place.revision <= compacted && !kept.is_empty() && !kept.contains(&key);
        let is_late_tombstone = place.revision == compacted && place.is_tombstone;
        if place.revision <= wanted && !is_dropped && !is_late_tombstone {
            hash.update(&key);
            hash.update(&value);
        }
    }
    Ok(hash.finish())
}

/// The places of the pairs that a reader at `wanted` sees, of those that a compaction has looked at. In memory: one place for
/// each key that was not written since.
fn kept(
    reader: &Reader<'_, SnapshotFile>,
    wanted: Revision,
    compacted: Revision,
) -> Result<HashSet<Vec<u8>>, Error> {
    let mut newest: HashMap<Vec<u8>, (Vec<u8>, bool)> = HashMap::new();
    let Some(mut cursor) = reader.bucket(KEY)?.filter(|_| compacted > Revision::ZERO) else {
        return Ok(HashSet::new());
    };
    while let Some((key, value)) = cursor.next_pair()? {
        let Some(place) = Place::decode(&key).filter(|place| place.revision <= wanted) else { continue };
        if let Ok(pair) = KeyValue::decode(&value[..]) {
            newest.insert(pair.key.to_vec(), (key, place.is_tombstone));
        }
    }
    Ok(newest.into_values().filter(|(_, is_dead)| !is_dead).map(|(place, _)| place).collect())
}
