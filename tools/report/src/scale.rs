//! An axis of a plot: where values lie on it and where its ticks are.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use crate::units::Unit;

/// What an axis shows.
#[derive(Clone, Copy, Debug)]
pub struct Axis<'a> {
    /// Written beside it.
    pub label: &'a str,
    /// Of its ticks.
    pub unit: Unit,
    /// Equal ratios are equal distances; values below the least are drawn at it.
    pub log: bool,
}

impl<'a> Axis<'a> {
    /// An even axis.
    #[must_use]
    pub const fn linear(label: &'a str, unit: Unit) -> Self {
        Self { label, unit, log: false }
    }

    /// A logarithmic axis.
    #[must_use]
    pub const fn log(label: &'a str, unit: Unit) -> Self {
        Self { label, unit, log: true }
    }

    /// A scale that has room for `values`.
    pub(crate) fn over(&self, values: impl Iterator<Item = f64>) -> Scale {
        let binary = self.unit == Unit::Bytes;
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && (!self.log || *value > 0.0)) {
            (low, high) = (low.min(value), high.max(value));
        }
        match (low <= high, self.log) {
            (true, true) => Scale { range: low * 0.7..high * 1.4, log: true, binary },
            // Amounts begin at nothing, or differences look larger than they are.
            (true, false) => {
                Scale { range: low.min(0.0)..(high * 1.06).max(f64::MIN_POSITIVE), log: false, binary }
            }
            (false, log) => Scale { range: if log { 1.0..10.0 } else { 0.0..1.0 }, log, binary },
        }
    }
}

/// A range of values, even or logarithmic.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub range: Range<f64>,
    pub log: bool,
    /// Round values are powers of two.
    pub binary: bool,
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        let Range { start, end } = self.range;
        if self.log {
            (value.max(start) / start).ln() / (end / start).ln()
        } else {
            (value - start) / (end - start)
        }
    }

    /// Round values at which ticks are drawn, about `count` of them.
    fn ticks(&self, count: usize) -> Vec<f64> {
        let Range { start, end } = self.range;
        if !self.log {
            let raw = (end - start) / count.max(1) as f64;
            let step = if self.binary { raw.log2().ceil().exp2() } else { round_step(raw) };
            let first = (start / step).ceil() as i64;
            return (first..).map(|n| n as f64 * step).take_while(|tick| *tick <= end).collect();
        }
        if self.binary {
            let exponents = start.log2().floor() as i32 / 2..=end.log2().ceil() as i32 / 2 + 1;
            let all = exponents.map(|exponent| 4f64.powi(exponent));
            return all.filter(|tick| *tick >= start && *tick <= end).collect();
        }
        let decades = (end / start).log10();
        let steps: &[f64] = if decades * 3.0 <= count as f64 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let exponents = start.log10().floor() as i32..=end.log10().ceil() as i32;
        let all = exponents.flat_map(|e| steps.iter().map(move |step| step * 10f64.powi(e)));
        all.filter(|tick| *tick >= start && *tick <= end).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least `raw`.
fn round_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0].map(|step| step * power).into_iter().find(|step| *step >= raw).unwrap_or(10.0 * power)
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (f64::from(limit.1 - limit.0) * self.place(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.ticks(hint.max_num_points().min(12))
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let even = Axis::linear("", Unit::Count).over([3.0, 97.0].into_iter());
        assert_eq!(even.ticks(5), [0.0, 50.0, 100.0]);
        let log = Axis::log("", Unit::Ns).over([900.0, 2_000_000.0].into_iter());
        assert_eq!(log.ticks(5), [1e3, 1e4, 1e5, 1e6]);
        let bytes = Axis::log("", Unit::Bytes).over([4096.0, 1_048_576.0].into_iter());
        assert_eq!(bytes.ticks(5), [4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0]);
    }

    #[test]
    fn places_lie_between_the_ends() {
        let log = Scale { range: 1.0..100.0, log: true, binary: false };
        assert_eq!((log.place(0.0), log.place(10.0), log.place(100.0)), (0.0, 0.5, 1.0));
        let nothing = Axis::linear("", Unit::Count).over(std::iter::empty());
        assert_eq!(nothing.range, 0.0..1.0);
    }
}
