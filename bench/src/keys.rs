//! Which key a request is about: a pure function of the seed and the request's number, written as zero-padded decimal.
//!
//! etcd's benchmark writes binary varints and leaves the end of an earlier, longer key in place, so that its key space
//! is not the size that was asked for. Here it is.

use crate::random::Random;

/// The exponent of the Zipf distribution: YCSB's.
const ZIPF_EXPONENT: f64 = 0.99;

/// How requests spread over the keys 0 to `space` - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Spread {
    /// One after the other, from the first again after the last.
    Sequential,
    /// Each as likely as any other.
    Uniform,
    /// The n-th key is 1 / n^0.99 times as likely as the first.
    Zipf,
}

/// Chooses keys.
#[derive(Clone, Debug)]
pub struct Keys {
    space: u64,
    spread: Spread,
    seed: u64,
    zipf: Zipf,
}

impl Keys {
    /// Keys below `space`, which is not 0.
    pub fn new(space: u64, spread: Spread, seed: u64) -> Self {
        assert!(space > 0, "flags refuse an empty key space");
        Self { space, spread, seed, zipf: Zipf::new(space) }
    }

    /// The key that request `number` is about.
    pub fn key_of(&self, number: u64) -> u64 {
        match self.spread {
            Spread::Sequential => number % self.space,
            Spread::Uniform => Random::at(self.seed, number).below(self.space),
            Spread::Zipf => self.zipf.draw(&mut Random::at(self.seed, number)) - 1,
        }
    }
}

/// Digits that the keys of a space need.
pub fn digits(space: u64) -> usize {
    (space.max(1) - 1).checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Writes `key` in decimal over the whole of `into`, with leading zeros.
///
/// # Panics
/// If it is longer than `into`: flags refuse that.
pub fn write(key: u64, into: &mut [u8]) {
    let mut rest = key;
    for byte in into.iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    assert!(rest == 0, "the key has room");
}

/// Draws from a Zipf distribution by rejection-inversion (Hörmann and Derflinger 1996): no table, and rarely more than
/// one try.
#[derive(Clone, Debug)]
struct Zipf {
    count: f64,
    /// The integral of the density's hat, at the first rank's left end and at the last rank's right end.
    low: f64,
    high: f64,
    /// A rank whose distance to the drawn point is at most this is taken without a further look.
    sure: f64,
}

impl Zipf {
    fn new(count: u64) -> Self {
        let count = count as f64;
        let (low, high) = (integral(1.5) - 1.0, integral(count + 0.5));
        Self { count, low, high, sure: 2.0 - inverse_integral(integral(2.5) - density(2.0)) }
    }

    /// A rank, from 1.
    fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.high + random.unit() * (self.low - self.high);
            let point = inverse_integral(area);
            let rank = point.round().clamp(1.0, self.count);
            if rank - point <= self.sure || area >= integral(rank + 0.5) - density(rank) {
                return rank as u64;
            }
        }
    }
}

fn density(x: f64) -> f64 {
    x.powf(-ZIPF_EXPONENT)
}

/// The antiderivative of [`density`].
fn integral(x: f64) -> f64 {
    (x.powf(1.0 - ZIPF_EXPONENT) - 1.0) / (1.0 - ZIPF_EXPONENT)
}

fn inverse_integral(area: f64) -> f64 {
    (1.0 + area * (1.0 - ZIPF_EXPONENT)).powf(1.0 / (1.0 - ZIPF_EXPONENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 200_000;

    fn counts(spread: Spread, space: u64, seed: u64) -> Vec<u64> {
        let keys = Keys::new(space, spread, seed);
        let mut counts = vec![0; space as usize];
        (0..DRAWS).for_each(|number| counts[keys.key_of(number) as usize] += 1);
        counts
    }

    /// Pearson's statistic of `counts` against `weights`.
    fn chi_square(counts: &[u64], weights: &[f64]) -> f64 {
        let sum: f64 = weights.iter().sum();
        let term = |(&count, &weight): (&u64, &f64)| {
            let expected = DRAWS as f64 * weight / sum;
            (count as f64 - expected).powi(2) / expected
        };
        counts.iter().zip(weights).map(term).sum()
    }

    #[test]
    fn sequential_keys_go_round() {
        let keys = Keys::new(3, Spread::Sequential, 0);
        assert_eq!((0..7).map(|n| keys.key_of(n)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn uniform_keys_are_uniform() {
        // 99 degrees of freedom: one seed in a hundred thousand is above 170.
        let statistic = chi_square(&counts(Spread::Uniform, 100, 7), &[1.0; 100]);
        assert!(statistic < 170.0, "{statistic}");
    }

    #[test]
    fn zipf_keys_have_zipfs_frequencies() {
        for space in [1u32, 2, 100] {
            let weights: Vec<f64> = (1..=space).map(|rank| f64::from(rank).powf(-ZIPF_EXPONENT)).collect();
            let statistic = chi_square(&counts(Spread::Zipf, u64::from(space), 7), &weights);
            assert!(statistic < 170.0, "{space} keys: {statistic}");
        }
    }

    #[test]
    fn the_seed_decides() {
        for spread in [Spread::Uniform, Spread::Zipf] {
            assert_eq!(counts(spread, 50, 1), counts(spread, 50, 1));
            assert_ne!(counts(spread, 50, 1), counts(spread, 50, 2));
        }
    }

    #[test]
    fn keys_are_padded_and_overwrite_what_was_there() {
        let mut text = *b"99999";
        write(42, &mut text);
        assert_eq!(&text, b"00042");
        for (space, want) in [(1, 1), (10, 1), (11, 2), (1_000_000, 6), (1_000_001, 7), (u64::MAX, 20)] {
            assert_eq!(digits(space), want, "{space}");
        }
    }
}
