//! A set of shards of one member.

use windlass_types::ShardId;
use windlass_types::key::{KeyRange, SHARDS_MAX, shard_of};

/// A set of shards, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

const _: () = assert!(SHARDS_MAX as u32 <= u64::BITS);

impl ShardSet {
    /// The first `shards` shards.
    #[must_use]
    pub fn all(shards: u16) -> Self {
        Self(u64::MAX >> (64 - u32::from(shards)))
    }

    /// Only `shard`.
    #[must_use]
    pub fn one(shard: ShardId) -> Self {
        Self(1 << shard.0)
    }

    /// The shards that may hold keys of `range`.
    #[must_use]
    pub fn touched(range: KeyRange<'_>, shards: u16) -> Self {
        match range {
            KeyRange::Point(key) => Self::one(shard_of(key, shards)),
            KeyRange::Bounded(..) | KeyRange::From(_) => Self::all(shards),
        }
    }

    /// The shards in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `shard` is in it.
    #[must_use]
    pub fn contains(self, shard: ShardId) -> bool {
        self.0 >> shard.0 & 1 == 1
    }

    /// Takes `shard` out; says whether it was in.
    pub fn remove(&mut self, shard: ShardId) -> bool {
        let was_in = self.contains(shard);
        self.0 &= !Self::one(shard).0;
        was_in
    }

    /// Whether no shard is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Number of shards in it.
    #[must_use]
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The shards in it, ascending.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        (0..64_u16).map(ShardId).filter(move |&shard| self.contains(shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_come_and_go() {
        for shards in [1, 2, SHARDS_MAX] {
            let mut set = ShardSet::all(shards);
            assert_eq!(set.len(), u32::from(shards));
            let ids: Vec<_> = set.iter().collect();
            assert_eq!(ids, (0..shards).map(ShardId).collect::<Vec<_>>());
            for shard in ids {
                assert!(set.contains(shard) && set.remove(shard) && !set.remove(shard));
            }
            assert!(set.is_empty());
        }
    }

    #[test]
    fn a_point_touches_one_shard_and_a_range_all() {
        let point = ShardSet::touched(KeyRange::Point(b"a"), 8);
        assert_eq!(point, ShardSet::one(shard_of(b"a", 8)));
        assert_eq!(ShardSet::touched(KeyRange::From(b"a"), 8), ShardSet::all(8));
        assert_eq!(point.or(ShardSet::all(8)), ShardSet::all(8));
    }
}
