//! `snapshot status`: what a snapshot holds, by etcd's count.

use windlass_bbolt::{Error, Reader};
use windlass_replica::backup::schema::{KEY, Place};

use crate::crc32c::Crc32c;
use crate::exit::Failure;
use crate::output::{Column, Figures, Format, human_bytes};
use crate::source::SnapshotFile;

/// Describes a file, every page of which is looked at.
///
/// # Errors
/// If it is damaged.
pub fn status(file: &SnapshotFile, format: Format) -> Result<String, Failure> {
    let (hash, revision, total_keys, size) =
        sum_up(file).map_err(|error| Failure::of(file.path(), &error))?;
    let number = |name, field, value: i64| Column { name, field, key: "", value: value.into(), text: None };
    let columns = vec![
        Column { key: "hash", text: Some(format!("{hash:x}")), ..number("HASH", "Hash", i64::from(hash)) },
        Column { key: "revision", ..number("REVISION", "Revision", revision) },
        Column { key: "totalKey", ..number("TOTAL KEYS", "Keys", total_keys) },
        Column {
            key: "totalSize",
            text: Some(human_bytes(size)),
            ..number("TOTAL SIZE", "Size", i64::try_from(size).unwrap_or(i64::MAX))
        },
    ];
    Figures(columns).print(format)
}

/// The hash of all buckets, the newest revision, the number of all keys, and the size. Source: etcd `v3_snapshot.go`
/// `Status`.
fn sum_up(file: &SnapshotFile) -> Result<(u32, i64, i64, u64), Error> {
    let reader = Reader::open(file)?;
    let (mut hash, mut revision, mut total_keys) = (Crc32c::new(), 0, 0);
    for name in reader.buckets()? {
        hash.update(&name);
        let mut cursor = reader.bucket(&name)?.ok_or(Error::NoMeta)?;
        while let Some((key, value)) = cursor.next_pair()? {
            hash.update(&key);
            hash.update(&value);
            total_keys += 1;
            if name == KEY {
                revision = Place::decode(&key).map_or(revision, |place| place.revision.0);
            }
        }
    }
    Ok((hash.finish(), revision, total_keys, reader.len_bytes()))
}
