//! SplitMix64: numbers that look random and are the same for the same seed on every machine. Never for secrets.
//!
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.

/// The distance between two states.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that depends on every bit of `x`, each of which moves half of its bits. No two `x` have the same.
///
/// Logs and hashes that members compare rest on it: it must never change.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of a seed. Those of two seeds are unrelated if the seeds are.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        let bits = mix(self.0);
        self.0 = self.0.wrapping_add(STEP);
        bits
    }

    /// A number below `bound`, which is not 0. Its bias is below `bound` / 2^64.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.bits() as u128 * bound as u128) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_reference() {
        // The first outputs of the reference implementation for the state 0.
        let mut numbers = SplitMix64::new(0);
        assert_eq!(numbers.bits(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(numbers.bits(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn numbers_stay_below_the_bound_and_reach_all_of_it() {
        let mut numbers = SplitMix64::new(7);
        let mut seen = [0_u32; 10];
        (0..1000).for_each(|_| seen[numbers.below(10) as usize] += 1);
        assert!(seen.iter().all(|&n| n > 50), "{seen:?}");
    }
}
