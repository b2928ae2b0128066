//! How soon after the end of one thing the next one usually comes.

use std::time::{Duration, Instant};

/// A single long gap counts as this much, so that a pause does not make a quick client a slow one for long.
const GAP_MAX: Duration = Duration::from_millis(2);

/// The usual gap, of the last eight or so.
#[derive(Debug)]
pub struct Habit {
    /// When the last one ended, if none has begun since.
    ended: Option<Instant>,
    gap: Duration,
}

impl Default for Habit {
    /// Nothing is known: taken to be slow.
    fn default() -> Self {
        Self { ended: None, gap: GAP_MAX }
    }
}

impl Habit {
    /// One begins. Says whether it is the first since one ended.
    pub fn begins(&mut self, now: Instant) -> bool {
        let Some(ended) = self.ended.take() else { return false };
        self.gap = (self.gap * 7 + now.saturating_duration_since(ended).min(GAP_MAX)) / 8;
        true
    }

    /// One ends, and nothing else is going on.
    pub fn ends(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// Whether the next one usually comes within this time.
    #[must_use]
    pub fn is_within(&self, limit: Duration) -> bool {
        self.gap <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(200);

    fn once(habit: &mut Habit, now: &mut Instant, gap: Duration) {
        habit.ends(*now);
        *now += gap;
        assert!(habit.begins(*now));
    }

    #[test]
    fn it_takes_a_dozen_to_be_quick_and_a_pause_or_two_to_be_slow() {
        let (mut habit, mut now) = (Habit::default(), Instant::now());
        assert!(!habit.begins(now), "nothing has ended");
        once(&mut habit, &mut now, Duration::ZERO);
        assert!(!habit.is_within(QUICK), "once is not yet a habit");
        (0..30).for_each(|_| once(&mut habit, &mut now, QUICK / 2));
        assert!(habit.is_within(QUICK));
        (0..2).for_each(|_| once(&mut habit, &mut now, Duration::from_secs(1)));
        assert!(!habit.is_within(QUICK));
        (0..20).for_each(|_| once(&mut habit, &mut now, QUICK / 2));
        assert!(habit.is_within(QUICK), "it is quick again");
    }
}
