//! What all flushes of a run add up to: for readers that look now and then, and compare.

use super::Flush;
use super::histogram::{BUCKETS, bucket_of};

/// Sizes are counted by powers of two; those beyond count in the last one.
pub const SIZES: usize = 32;

/// Sums over all flushes since the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Flushes.
    pub flushes: u64,
    /// Commands in those that were this member's to commit.
    pub commands: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Nanoseconds from the oldest command's arrival until the answer, of all that were this member's to commit.
    pub answered_ns: u64,
    /// The same by bucket of the stages' histograms.
    pub answered: [u64; BUCKETS],
    /// Flushes by commands in them: the i-th counts those of 2^i and more; those without are not counted.
    pub by_commands: [u64; SIZES],
    /// Flushes by bytes written, in the same way.
    pub by_bytes: [u64; SIZES],
}

impl Default for Sums {
    fn default() -> Self {
        let (by_commands, by_bytes) = ([0; SIZES], [0; SIZES]);
        Self {
            flushes: 0,
            commands: 0,
            bytes: 0,
            answered_ns: 0,
            answered: [0; BUCKETS],
            by_commands,
            by_bytes,
        }
    }
}

impl Sums {
    /// Counts a flush.
    pub fn add(&mut self, flush: &Flush) {
        self.flushes += 1;
        self.bytes += flush.bytes;
        count(&mut self.by_bytes, flush.bytes);
        if flush.index != 0 {
            self.commands += flush.commands;
            count(&mut self.by_commands, flush.commands);
            let answered_ns = flush.answered_ns();
            self.answered_ns += answered_ns;
            self.answered[bucket_of(answered_ns)] += 1;
        }
    }
}

fn count(sizes: &mut [u64; SIZES], size: u64) {
    if let Some(power) = size.checked_ilog2() {
        sizes[(power as usize).min(SIZES - 1)] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_another_members_commands_counts_as_a_write_alone() {
        let mut sums = Sums::default();
        let stages_ns = [300, 0, 0, 0, 0, 0, 0, 1 << 40];
        sums.add(&Flush { index: 7, commands: 3, bytes: 4096, stages_ns, ..Flush::default() });
        sums.add(&Flush { bytes: u64::MAX >> 8, stages_ns, ..Flush::default() });
        assert_eq!((sums.flushes, sums.commands, sums.answered_ns, sums.by_commands[1]), (2, 3, 300, 1));
        assert_eq!((sums.by_bytes[12], sums.by_bytes[SIZES - 1]), (1, 1));
        assert_eq!((sums.answered[0], sums.answered.iter().sum::<u64>()), (1, 1));
    }
}
