//! How far the shards' own files have caught up with the Raft log.

use windlass_types::LogIndex;

/// Tracks the durable index of every stream (each shard's WAL, and the sequencer's state).
///
/// Invariant: `stable` is the minimum over all streams and never falls. Entries at or below it are no longer needed
/// from the Raft log by this member.
#[derive(Debug)]
pub struct Stable {
    durable: Vec<LogIndex>,
    stable: LogIndex,
}

impl Stable {
    /// All `streams` (at least 1) recovered up to `start`.
    #[must_use]
    pub fn new(streams: usize, start: LogIndex) -> Self {
        assert!(streams >= 1, "the sequencer's state is always a stream");
        Self { durable: vec![start; streams], stable: start }
    }

    /// Notes that `stream` (0-based) is durable up to `index`; the new stable index if it rose.
    pub fn advance(&mut self, stream: usize, index: LogIndex) -> Option<LogIndex> {
        let slot = &mut self.durable[stream];
        assert!(*slot <= index, "a stream's durable index fell from {slot} to {index}");
        *slot = index;
        let stable = *self.durable.iter().min().expect("at least one stream");
        (stable > self.stable).then(|| {
            self.stable = stable;
            stable
        })
    }

    /// The current stable index.
    #[must_use]
    pub fn index(&self) -> LogIndex {
        self.stable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_stream_decides() {
        let mut stable = Stable::new(3, LogIndex(4));
        assert_eq!(stable.advance(0, LogIndex(9)), None);
        assert_eq!(stable.advance(1, LogIndex(6)), None);
        assert_eq!(stable.advance(2, LogIndex(7)), Some(LogIndex(6)));
        assert_eq!(stable.advance(1, LogIndex(8)), Some(LogIndex(7)));
        assert_eq!(stable.index(), LogIndex(7));
    }
}
