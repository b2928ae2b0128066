//! The clocks of a member's machine. One only goes on, at a rate of its own that changes now and then: timers and leases are
//! measured by it. The one on the wall is wrong from the start, and jumps: nothing that is promised may depend on it.

use crate::agenda::{MILLISECOND_NS, SECOND_NS};
use crate::random::{Random, between};

/// Time of one tick by the clock's own measure, in nanoseconds.
pub const TICK_NS: u64 = 100 * MILLISECOND_NS;

/// By how much a clock on the wall is wrong, or jumps, at most: a hundred years, in nanoseconds.
const WRONG_NS_MAX: u64 = 100 * 365 * 86_400 * SECOND_NS;

/// See the module.
#[derive(Clone, Debug)]
pub struct Clock {
    /// True time of one tick, in nanoseconds.
    tick_ns: u64,
    /// Whether all that is told of the time goes at that rate, and not ticks alone.
    skewed: bool,
    /// True time when the rate changed or a process began,
    since_ns: u64,
    /// and what the clock showed then.
    shown_ns: u64,
    /// Jumps of the clock on the wall, and when: the first is by how much it is wrong from the start.
    jumps: Vec<(u64, i64)>,
}

impl Clock {
    /// A clock one of whose ticks takes this much true time.
    #[must_use]
    pub fn of_ticks(tick_ns: u64) -> Self {
        Self { tick_ns, skewed: false, since_ns: 0, shown_ns: 0, jumps: Vec::new() }
    }

    /// All that is told of the time is by this clock, which is wrong on the wall, too.
    #[must_use]
    pub fn skewed(self, random: &mut Random) -> Self {
        let wrong_by_ns = jump(random);
        Self { skewed: true, jumps: vec![(0, wrong_by_ns)], ..self }
    }

    /// True time of one tick, in nanoseconds.
    #[must_use]
    pub fn tick_ns(&self) -> u64 {
        self.tick_ns
    }

    /// What the clock that only goes on shows, in nanoseconds.
    #[must_use]
    pub fn shows_ns(&self, now_ns: u64) -> u64 {
        if !self.skewed {
            return now_ns;
        }
        self.shown_ns + scaled(now_ns - self.since_ns, TICK_NS, self.tick_ns)
    }

    /// The true time at which it shows this, and not before.
    #[must_use]
    pub fn true_ns(&self, shown_ns: u64) -> u64 {
        if !self.skewed {
            return shown_ns;
        }
        // A division that is rounded down may show one less, twice.
        self.since_ns + scaled(shown_ns.saturating_sub(self.shown_ns) + 1, self.tick_ns, TICK_NS) + 1
    }

    /// A process begins: it measures from now on.
    pub fn begin(&mut self, now_ns: u64) {
        (self.since_ns, self.shown_ns) = (now_ns, 0);
    }

    /// From now on a tick takes this much true time.
    pub fn set_tick_ns(&mut self, now_ns: u64, tick_ns: u64) {
        (self.shown_ns, self.since_ns) = (self.shows_ns(now_ns), now_ns);
        self.tick_ns = tick_ns;
    }

    /// The clock on the wall jumps, forwards or back; by how much, in nanoseconds.
    pub fn jump(&mut self, now_ns: u64, random: &mut Random) -> i64 {
        let by_ns = jump(random);
        self.jumps.push((now_ns, by_ns));
        by_ns
    }

    /// How much time passed between two moments by the clock on the wall, in nanoseconds.
    #[must_use]
    pub fn passed_on_wall_ns(&self, from_ns: u64, to_ns: u64) -> i64 {
        let jumped = self.jumps.iter().filter(|(at_ns, _)| (from_ns + 1..=to_ns).contains(at_ns));
        jumped.fold((to_ns - from_ns) as i64, |passed, (_, by_ns)| passed.saturating_add(*by_ns))
    }
}

/// As likely by seconds as by years.
fn jump(random: &mut Random) -> i64 {
    let most = WRONG_NS_MAX >> random.below(32);
    let by = between(random, most / 2, most) as i64;
    if random.one_in(2) { by } else { -by }
}

/// `ns * to / from`, of any length.
fn scaled(ns: u64, to: u64, from: u64) -> u64 {
    (u128::from(ns) * u128::from(to) / u128::from(from)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_never_ends_early_and_hardly_late() {
        let random = &mut Random::new(1);
        for tick_ns in [90, 97, 100, 103, 110].map(|ms| ms * MILLISECOND_NS) {
            let mut clock = Clock::of_ticks(TICK_NS).skewed(random);
            clock.begin(1234);
            clock.set_tick_ns(5 * SECOND_NS + 7, tick_ns);
            for after in 0..1000 {
                let shown = clock.shows_ns(6 * SECOND_NS) + after * after * 977;
                let at_ns = clock.true_ns(shown);
                assert!((shown..shown + 4).contains(&clock.shows_ns(at_ns)), "{tick_ns} {after}");
            }
        }
    }

    #[test]
    fn a_rate_changes_and_nothing_is_repeated() {
        let mut clock = Clock::of_ticks(TICK_NS).skewed(&mut Random::new(1));
        let before = clock.shows_ns(SECOND_NS);
        clock.set_tick_ns(SECOND_NS, 110 * MILLISECOND_NS);
        assert_eq!(clock.shows_ns(SECOND_NS), before);
        assert_eq!(clock.shows_ns(SECOND_NS + 110 * MILLISECOND_NS), before + TICK_NS);
    }

    #[test]
    fn only_jumps_between_two_moments_pass_on_the_wall() {
        let mut clock = Clock::of_ticks(TICK_NS).skewed(&mut Random::new(1));
        let by = clock.jump(500, &mut Random::new(2));
        assert_eq!(clock.passed_on_wall_ns(0, 499), 499);
        assert_eq!(clock.passed_on_wall_ns(0, 500), 500 + by);
        assert_eq!(clock.passed_on_wall_ns(500, 700), 200);
    }
}
