//! Numbers that look random and are a pure function of a seed and a position, so that a run can be repeated whatever its
//! threads do. Never for secrets.

use windlass_types::splitmix::{SplitMix64, mix};

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub struct Random(SplitMix64);

impl Random {
    /// The sequence that belongs to `position` of a run with `seed`. Sequences of different positions are unrelated.
    pub fn at(seed: u64, position: u64) -> Self {
        Self(SplitMix64::new(mix(mix(seed) ^ position)))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0.bits()
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A number in [0, 1) with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_seeds_differ() {
        let first = |seed, position| Random::at(seed, position).next();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(2, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 1));
    }
}
