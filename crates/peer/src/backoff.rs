//! How long to wait before the next attempt to connect.

use std::time::Duration;

use windlass_types::splitmix::SplitMix64;

const FIRST_MS: u64 = 20;
/// A peer that comes back is noticed within this; attempts beyond this rate would only cost.
const LONGEST_MS: u64 = 1000;

/// Doubles from attempt to attempt, with chance in it so that members do not try in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    attempts: u32,
    chance: SplitMix64,
}

impl Backoff {
    pub fn new(seed: u64) -> Self {
        Self { attempts: 0, chance: SplitMix64::new(seed) }
    }

    /// The next attempt is the first again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The wait before the next attempt: between half of the step and all of it.
    pub fn next(&mut self) -> Duration {
        let step = FIRST_MS.checked_shl(self.attempts).unwrap_or(LONGEST_MS).min(LONGEST_MS);
        self.attempts = (self.attempts + 1).min(16);
        Duration::from_millis(step / 2 + self.chance.bits() % (step / 2 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_no_further() {
        let mut backoff = Backoff::new(7);
        for attempt in 0..40 {
            let step = (FIRST_MS << attempt.min(20)).min(LONGEST_MS);
            let wait = backoff.next().as_millis() as u64;
            assert!((step / 2..=step).contains(&wait), "attempt {attempt} waits {wait} ms");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(FIRST_MS));
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..10).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
