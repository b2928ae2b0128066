//! Names and positions within a log of segments.

use std::fmt;

use windlass_types::splitmix::mix;

/// Position of a frame in its log, from 1; no sequence is ever used for two different acknowledged frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Logical number of a segment, from 1, rising by one; independent of the slot (the file) that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u64);

/// Counts the starts of a log, from 1. Frames that an earlier start left behind a cut are told apart by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Whose log this is: a hash of cluster, member and kind of log, chosen by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity(pub u64);

/// Ties a frame to one use of one slot: derived from identity and segment number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nonce(pub u64);

impl Sequence {
    /// The sequence that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("sequence overflow"))
    }
}

impl SegmentNumber {
    /// The number that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("segment number overflow"))
    }
}

impl Epoch {
    /// The epoch of the next start.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("epoch overflow"))
    }
}

impl Nonce {
    /// The nonce of a segment. Equal inputs give equal nonces on every version of this software.
    #[must_use]
    pub const fn of(identity: Identity, segment: SegmentNumber) -> Self {
        // Two rounds: close inputs give nonces far apart.
        Self(mix(mix(identity.0).wrapping_add(segment.0)))
    }
}

macro_rules! display_inner {
    ($($name:ident),*) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        })*
    };
}

display_inner!(Sequence, SegmentNumber, Epoch);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_of_neighbours_differ() {
        let mut nonces: Vec<_> =
            (0..64).flat_map(|i| (0..64).map(move |s| Nonce::of(Identity(i), SegmentNumber(s)).0)).collect();
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), 64 * 64);
    }
}
