//! The buckets of an etcd backend, and how their keys look. Source: etcd `storage/schema`, `storage/mvcc/revision.go`.

use prost::Message;
use windlass_types::Revision;

/// Every version of every key, by revision.
pub const KEY: &[u8] = b"key";
/// Leases.
pub const LEASE: &[u8] = b"lease";
/// Alarms.
pub const ALARM: &[u8] = b"alarm";
/// Whether clients must say who they are, and since when.
pub const AUTH: &[u8] = b"auth";
/// Users.
pub const AUTH_USERS: &[u8] = b"authUsers";
/// Roles.
pub const AUTH_ROLES: &[u8] = b"authRoles";
/// What the cluster has agreed on.
pub const CLUSTER: &[u8] = b"cluster";
/// Members.
pub const MEMBERS: &[u8] = b"members";
/// Ids that were members.
pub const MEMBERS_REMOVED: &[u8] = b"members_removed";
/// Where the backend stands.
pub const META: &[u8] = b"meta";

/// Of [`META`]: the last log index that the backend holds.
pub const CONSISTENT_INDEX: &[u8] = b"consistent_index";
/// Of [`META`]: its term.
pub const TERM: &[u8] = b"term";
/// Of [`META`]: who votes.
pub const CONF_STATE: &[u8] = b"confState";
/// Of [`META`]: the revision that was to be compacted last.
pub const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
/// Of [`META`]: the revision that was compacted last.
pub const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";

/// Of [`AUTH`]: one byte, 1 if clients must say who they are.
pub const AUTH_ENABLED: &[u8] = b"authEnabled";

/// Of [`AUTH`]: 8 bytes, counts the changes of users and roles.
pub const AUTH_REVISION: &[u8] = b"authRevision";

/// Bytes of a revision as a key; a tombstone has one more.
const REVISION_BYTES: usize = 17;

/// What a tombstone's key ends with.
const TOMBSTONE: u8 = b't';

/// One version's place, as a key of [`KEY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The revision.
    pub revision: Revision,
    /// Its ordinal there.
    pub sub: u32,
    /// Whether it deletes its key.
    pub is_tombstone: bool,
}

impl Place {
    /// The key.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut key = Vec::with_capacity(REVISION_BYTES + 1);
        key.extend_from_slice(&self.revision.0.to_be_bytes());
        key.push(b'_');
        key.extend_from_slice(&u64::from(self.sub).to_be_bytes());
        key.extend(self.is_tombstone.then_some(TOMBSTONE));
        key
    }

    /// The place that a key says; none if it is no such key.
    #[must_use]
    pub fn decode(key: &[u8]) -> Option<Self> {
        let (main, rest) = key.split_first_chunk()?;
        let (sub, rest) = rest.strip_prefix(b"_")?.split_first_chunk()?;
        let is_tombstone = match rest {
            [] => false,
            [TOMBSTONE] => true,
            _ => return None,
        };
        let revision = Revision(i64::from_be_bytes(*main));
        let sub = u32::try_from(u64::from_be_bytes(*sub)).ok()?;
        (revision > Revision::ZERO).then_some(Self { revision, sub, is_tombstone })
    }
}

/// A lease, as a value of [`LEASE`]. Source: etcd `leasepb/lease.proto`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Lease {
    /// Its id.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Its time to live in seconds.
    #[prost(int64, tag = "2")]
    pub ttl_s: i64,
    /// What was left of it in seconds at its last checkpoint; 0 is all.
    #[prost(int64, tag = "3")]
    pub remaining_ttl_s: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_look_as_in_etcd() {
        let place = Place { revision: Revision(0x1_02), sub: 3, is_tombstone: false };
        assert_eq!(place.encode(), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        let dead = Place { is_tombstone: true, ..place };
        assert_eq!(dead.encode(), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t");
        for place in [place, dead] {
            assert_eq!(Place::decode(&place.encode()), Some(place));
            let key = place.encode();
            for len in 0..REVISION_BYTES {
                assert_eq!(Place::decode(&key[..len]), None, "{len} bytes");
            }
        }
        for wrong in
            [&b"\0\0\0\0\0\0\x01\x02-\0\0\0\0\0\0\0\x03"[..], b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03x"]
        {
            assert_eq!(Place::decode(wrong), None);
        }
        assert_eq!(Place::decode(&[0xff; 17]), None, "a negative revision");
    }
}
