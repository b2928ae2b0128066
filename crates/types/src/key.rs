//! etcd's key ranges and the placement of keys on shards.

use crate::ShardId;

/// A half-open range of keys as etcd's API writes it. Source: etcd `RangeRequest.range_end`.
///
/// An empty `end` names the single key `key`; an `end` of one zero byte is open, "all keys from `key` on".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRange<'a> {
    /// Exactly this key.
    Point(&'a [u8]),
    /// `start <= key < end`.
    Bounded(&'a [u8], &'a [u8]),
    /// `start <= key`.
    From(&'a [u8]),
}

impl<'a> KeyRange<'a> {
    /// Reads the pair `(key, range_end)` of a request.
    #[must_use]
    pub fn new(key: &'a [u8], end: &'a [u8]) -> Self {
        match end {
            [] => Self::Point(key),
            // A lone zero byte is "no end"; with it, the key "\0" means the whole key space since no key is empty.
            [0] => Self::From(key),
            _ => Self::Bounded(key, end),
        }
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match *self {
            Self::Point(point) => key == point,
            Self::Bounded(start, end) => start <= key && key < end,
            Self::From(start) => start <= key,
        }
    }

    /// The first key that can lie in the range.
    #[must_use]
    pub fn start(&self) -> &'a [u8] {
        match *self {
            Self::Point(key) | Self::Bounded(key, _) | Self::From(key) => key,
        }
    }
}

/// Number of shards of one member, at least 1.
pub const SHARDS_MAX: u16 = 64;

/// The shard of `key` among `shards` (1..=[`SHARDS_MAX`]).
///
/// FNV-1a over the key with a final avalanche, then a multiply-shift. It is part of the data folder's layout: it
/// must never change for a given folder, though members may differ in `shards`.
#[must_use]
pub fn shard_of(key: &[u8], shards: u16) -> ShardId {
    debug_assert!(shards >= 1);
    if shards == 1 {
        return ShardId(0);
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in key {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ShardId(((u128::from(hash) * u128::from(shards)) >> 64) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_forms_follow_etcd() {
        assert_eq!(KeyRange::new(b"a", b""), KeyRange::Point(b"a"));
        assert_eq!(KeyRange::new(b"a", b"\0"), KeyRange::From(b"a"));
        assert!(KeyRange::new(b"\0", b"\0").contains(b"\0"));
        assert!(KeyRange::new(b"a", b"c").contains(b"b"));
        assert!(!KeyRange::new(b"a", b"c").contains(b"c"));
        assert!(!KeyRange::new(b"c", b"a").contains(b"b"));
    }

    #[test]
    fn keys_spread_over_all_shards() {
        for shards in [2_u16, 3, 8] {
            let mut counts = vec![0_u32; usize::from(shards)];
            for i in 0..8000 {
                counts[usize::from(shard_of(format!("/registry/pods/{i}").as_bytes(), shards).0)] += 1;
            }
            let fair = 8000 / u32::from(shards);
            assert!(counts.iter().all(|&n| n > fair * 8 / 10 && n < fair * 12 / 10), "{counts:?}");
        }
    }
}
