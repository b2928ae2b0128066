//! Which of two ways is the cheaper one on this machine, found out while it is used.
//!
//! The way that proved cheaper is taken; now and then a few uses go the other way, ever more seldom while that does not
//! pay. So a disk that changes is judged anew, and a bad way costs little.

use std::time::Duration;

/// How many uses go the cheaper way before the other one is tried; doubled by each trial that finds it no cheaper.
pub(super) const BETWEEN_MIN: u32 = 16;
pub(super) const BETWEEN_MAX: u32 = 1024;

/// How many uses a trial is: where writes are rationed, each alone may be lucky.
pub(super) const TRIAL: u32 = 8;

/// A cost counts as no more than this many times the usual one, so that one stall does not decide alone.
const OUTLIER: u32 = 4;

/// A new cost makes up one part in this many of the usual one.
const SMOOTHING: u32 = 8;

/// Two ways, and what is known of them.
#[derive(Debug)]
pub struct Trials<W> {
    /// The cheaper way, as far as is known.
    chosen: W,
    other: W,
    /// What a use of the chosen way usually costs.
    usual: Option<Duration>,
    /// How many more go that way before the other one is tried,
    left: u32,
    /// and how many that was at first.
    between: u32,
    /// The trial under way: its uses, and what they cost together.
    tried: (u32, Duration),
}

impl<W: Copy + PartialEq> Trials<W> {
    /// Takes `first` to be the cheaper way until more is known.
    pub fn new(first: W, other: W) -> Self {
        let tried = (0, Duration::ZERO);
        Self { chosen: first, other, usual: None, left: BETWEEN_MIN, between: BETWEEN_MIN, tried }
    }

    /// The way to go now.
    pub fn way(&self) -> W {
        if self.left == 0 { self.other } else { self.chosen }
    }

    /// A use of `way` cost this much.
    pub fn observe(&mut self, way: W, cost: Duration) {
        if way != self.chosen {
            return self.tried(cost);
        }
        self.left = self.left.saturating_sub(1);
        self.usual = Some(
            self.usual
                .map_or(cost, |usual| (usual * (SMOOTHING - 1) + cost.min(usual * OUTLIER)) / SMOOTHING),
        );
    }

    fn tried(&mut self, cost: Duration) {
        self.tried.0 += 1;
        self.tried.1 += cost;
        if self.tried.0 < TRIAL {
            return;
        }
        let found = self.tried.1 / TRIAL;
        self.tried = (0, Duration::ZERO);
        if self.usual.is_some_and(|usual| usual <= found) {
            self.between = (self.between * 2).min(BETWEEN_MAX);
        } else {
            std::mem::swap(&mut self.chosen, &mut self.other);
            self.usual = Some(found);
            self.between = BETWEEN_MIN;
        }
        self.left = self.between;
    }

    #[cfg(test)]
    pub fn chosen(&self) -> W {
        self.chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses that cost so many microseconds on either way; how many went the way `true`.
    fn uses(trials: &mut Trials<bool>, count: u32, mut cost_us: impl FnMut(bool) -> u64) -> u32 {
        (0..count)
            .map(|_| {
                let way = trials.way();
                trials.observe(way, Duration::from_micros(cost_us(way)));
                u32::from(way)
            })
            .sum()
    }

    fn knowing() -> Trials<bool> {
        let mut trials = Trials::new(false, true);
        uses(&mut trials, BETWEEN_MIN + TRIAL, |way| if way { 100 } else { 150 });
        assert!(trials.chosen());
        trials
    }

    #[test]
    fn the_cheaper_way_is_taken_and_the_other_one_tried_ever_less_often() {
        let tries = 8 * TRIAL..20 * TRIAL;
        let mut trials = knowing();
        let tried = 10_000 - uses(&mut trials, 10_000, |way| if way { 100 } else { 150 });
        assert!(tries.contains(&tried), "{tried} of 10,000 the dearer way");
        let mut trials = Trials::new(false, true);
        let tried = uses(&mut trials, 10_000, |way| if way { 4000 } else { 2000 });
        assert!(tries.contains(&tried), "{tried} of 10,000 the dearer way");
    }

    #[test]
    fn what_changes_is_judged_anew_and_one_stall_changes_nothing() {
        let mut trials = knowing();
        uses(&mut trials, 1, |_| 1_000_000);
        assert!(trials.chosen(), "a stall is not the rule");
        let still = uses(&mut trials, 1000, |way| if way { 4000 } else { 2000 });
        assert!(still < 300, "it became dear, and {still} of 1,000 went on");
        uses(&mut trials, 3 * BETWEEN_MAX, |way| if way { 100 } else { 150 });
        assert!(trials.chosen(), "and cheap again");
    }

    #[test]
    fn a_lucky_use_where_they_are_rationed_decides_nothing() {
        let mut trials = Trials::new(false, true);
        let mut lucky = false;
        // Every other use finds a share left over, and the next one pays for it.
        let taken = uses(&mut trials, 1000, |way| {
            lucky ^= way;
            match (way, lucky) {
                (false, _) => 2000,
                (true, true) => 100,
                (true, false) => 8000,
            }
        });
        assert!(taken < 100, "{taken} of 1,000");
    }
}
