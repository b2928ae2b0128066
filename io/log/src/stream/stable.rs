//! What all streams of one member have: the index from which a start would continue.

use std::collections::VecDeque;

use windlass_types::LogIndex;

/// The newest of `states` (ascending; where the sequencer's state is known) at or below `shards`, the least of the
/// shards' durable indexes.
///
/// Not simply the minimum of all: shards can be cut at any index, but the sequencer's state is known only where it
/// was flushed.
#[must_use]
pub fn stable_at(states: impl DoubleEndedIterator<Item = LogIndex>, shards: LogIndex) -> Option<LogIndex> {
    states.rev().find(|&index| index <= shards)
}

/// Follows the durable index of every stream while the member runs.
///
/// Invariant: [`index`](Self::index) never falls, and a start would find it again or a higher one. Entries at or below
/// it are not needed from the Raft log by this member.
#[derive(Debug)]
pub struct Stable {
    shards: Vec<LogIndex>,
    /// Where the sequencer's state is durable, from the stable index on. Bounded by how far the slowest shard lags,
    /// one for each flush.
    states: VecDeque<LogIndex>,
}

impl Stable {
    /// All `streams`, the shards' and then the sequencer's (so at least 2), were recovered at `start`.
    #[must_use]
    pub fn new(streams: usize, start: LogIndex) -> Self {
        assert!(streams >= 2, "at least one shard and the sequencer");
        Self { shards: vec![start; streams - 1], states: VecDeque::from([start]) }
    }

    /// Notes that `stream` (0-based, the sequencer's is the last) is durable up to `index`; the new stable index if
    /// it rose.
    pub fn advance(&mut self, stream: usize, index: LogIndex) -> Option<LogIndex> {
        let last = if stream == self.shards.len() {
            *self.states.back().expect("never empty")
        } else {
            std::mem::replace(&mut self.shards[stream], index)
        };
        assert!(last <= index, "a stream's durable index fell from {last} to {index}");
        if stream == self.shards.len() && last < index {
            self.states.push_back(index);
        }
        let before = self.index();
        let shards = *self.shards.iter().min().expect("at least one shard");
        let stable = stable_at(self.states.iter().copied(), shards).expect("the current one is among them");
        self.states.retain(|&state| state >= stable);
        (stable > before).then_some(stable)
    }

    /// The current stable index.
    #[must_use]
    pub fn index(&self) -> LogIndex {
        *self.states.front().expect("never empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_shard_decides_among_known_states() {
        let mut stable = Stable::new(3, LogIndex(4));
        assert_eq!(stable.advance(0, LogIndex(9)), None);
        assert_eq!(stable.advance(1, LogIndex(6)), None);
        assert_eq!(stable.advance(2, LogIndex(5)), Some(LogIndex(5)));
        assert_eq!(stable.advance(2, LogIndex(7)), None);
        assert_eq!(stable.advance(2, LogIndex(9)), None);
        assert_eq!(stable.advance(1, LogIndex(8)), Some(LogIndex(7)));
        assert_eq!(stable.advance(1, LogIndex(20)), Some(LogIndex(9)));
        assert_eq!(stable.index(), LogIndex(9));
    }

    #[test]
    #[should_panic(expected = "fell")]
    fn a_durable_index_that_falls_is_a_bug() {
        let mut stable = Stable::new(2, LogIndex(4));
        stable.advance(1, LogIndex(9));
        stable.advance(1, LogIndex(8));
    }
}
