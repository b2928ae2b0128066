//! Which of two ways is the cheaper one on this machine, found out while it is used.
//!
//! The way that proved cheaper is taken; now and then a few uses go the other way, ever more seldom while that does not
//! pay. So a disk that changes is judged anew, and a bad way costs little.

use std::time::Duration;

/// A way is judged by at least this many uses,
const USES: u32 = 8;

/// which took this long together: where the kernel rations writes it gives a tenth of a second's share at once, and then
/// nothing until the next, so that fewer of them see one or the other.
const WINDOW: Duration = Duration::from_millis(100);

/// How many such windows go the cheaper way before the other one is tried; doubled by each trial that finds it no cheaper.
const BETWEEN_MIN: u32 = 1;
const BETWEEN_MAX: u32 = 64;

/// A use counts as no more than this: what takes longer is not how the disk usually is.
const STALL: Duration = Duration::from_millis(250);

/// Two ways, and what is known of them.
#[derive(Debug)]
pub struct Trials<W> {
    /// The cheaper way, as far as is known.
    chosen: W,
    other: W,
    /// What a use of the chosen way usually costs.
    usual: Option<Duration>,
    /// How many more windows go that way before the other one is tried,
    left: u32,
    /// and how many that were at first.
    between: u32,
    /// The uses of the present window, and what they cost together.
    uses: u32,
    cost: Duration,
}

impl<W: Copy + PartialEq> Trials<W> {
    /// Takes `first` to be the cheaper way until more is known.
    pub fn new(first: W, other: W) -> Self {
        let (left, between) = (BETWEEN_MIN, BETWEEN_MIN);
        Self { chosen: first, other, usual: None, left, between, uses: 0, cost: Duration::ZERO }
    }

    /// The way to go now.
    pub fn way(&self) -> W {
        if self.left == 0 { self.other } else { self.chosen }
    }

    /// A use of `way` cost this much.
    pub fn observe(&mut self, way: W, cost: Duration) {
        // What began before a change says nothing of the way after it.
        if way != self.way() {
            return;
        }
        self.uses += 1;
        self.cost += cost.min(STALL);
        if self.uses < USES || self.cost < WINDOW {
            return;
        }
        let cost = self.cost / self.uses;
        (self.uses, self.cost) = (0, Duration::ZERO);
        if self.left > 0 {
            self.usual = Some(cost);
            self.left -= 1;
            return;
        }
        if self.usual.is_some_and(|usual| usual <= cost) {
            self.between = (self.between * 2).min(BETWEEN_MAX);
        } else {
            std::mem::swap(&mut self.chosen, &mut self.other);
            self.usual = Some(cost);
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

    /// Uses that cost so many microseconds on either way, for so many milliseconds; which part of that time, in thousandths,
    /// went the way `true`.
    fn run(trials: &mut Trials<bool>, ms: u64, mut cost_us: impl FnMut(bool) -> u64) -> u64 {
        let (mut all_us, mut true_us) = (0, 0);
        while all_us < ms * 1000 {
            let way = trials.way();
            let us = cost_us(way);
            trials.observe(way, Duration::from_micros(us));
            all_us += us;
            true_us += if way { us } else { 0 };
        }
        true_us * 1000 / all_us
    }

    #[test]
    fn the_cheaper_way_is_taken_and_the_other_one_tried_ever_less_often() {
        let mut trials = Trials::new(false, true);
        let taken = run(&mut trials, 60_000, |way| if way { 100 } else { 150 });
        assert!((950..1000).contains(&taken), "{taken} of 1000");
        let mut trials = Trials::new(false, true);
        let taken = run(&mut trials, 60_000, |way| if way { 4000 } else { 2000 });
        assert!((1..50).contains(&taken), "{taken} of 1000, for trials");
    }

    #[test]
    fn what_changes_is_judged_anew() {
        let mut trials = Trials::new(false, true);
        run(&mut trials, 20_000, |way| if way { 100 } else { 150 });
        assert!(trials.chosen());
        run(&mut trials, 20_000, |way| if way { 4000 } else { 2000 });
        assert!(!trials.chosen(), "it became dear");
        run(&mut trials, 20_000, |way| if way { 100 } else { 150 });
        assert!(trials.chosen(), "and cheap again");
    }

    #[test]
    fn where_writes_are_rationed_the_way_with_fewer_of_them_is_taken() {
        let mut trials = Trials::new(false, true);
        // Fifty writes in each tenth of a second are quick, the next one waits for its end. One way is a little quicker, and
        // takes two of them.
        let mut left = 50;
        let taken = run(&mut trials, 60_000, |way| {
            let (writes, us) = if way { (2, 80) } else { (1, 100) };
            if left < writes {
                left = 50 - writes;
                return 100_000 - 50 * us / writes;
            }
            left -= writes;
            us
        });
        assert!(!trials.chosen() && taken < 50, "{taken} of 1000");
    }
}
