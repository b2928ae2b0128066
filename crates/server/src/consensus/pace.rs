//! Keeps the CPUs from deep sleep on a follower whose leader sends it one write after the other.
//!
//! There a lone client writes: its leader holds its own CPUs, and the client waits for those of a follower as well.

use std::time::{Duration, Instant};

use crate::waiting::{CpuLatency, Habit};

/// The longest usual time from the end of a write until the next one comes that is quick: the answer goes to the leader and on to
/// the client, and its next request comes back the same way.
const QUICK: Duration = Duration::from_millis(1);

/// Watches the writes of a follower's log.
#[derive(Debug)]
pub struct Pace {
    cpus: CpuLatency,
    habit: Habit,
}

impl Pace {
    /// Nothing is known of the leader's clients.
    pub fn new(hold_cpus: bool) -> Self {
        Self { cpus: CpuLatency::new(hold_cpus), habit: Habit::default() }
    }

    /// What is to run beside the actor, on its thread, for as long as that lives.
    pub fn spawn(&self) {
        self.cpus.spawn();
    }

    /// A write begins, and no other is under way.
    pub fn begins(&mut self, now: Instant) {
        if self.habit.begins(now) && self.habit.is_within(QUICK) {
            self.cpus.want(now);
        }
    }

    /// A write has ended, and no other is under way.
    pub fn ends(&mut self, now: Instant) {
        self.habit.ends(now);
    }
}
