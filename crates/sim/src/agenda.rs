//! Virtual time: what happens when. Events of one moment happen in the order in which they were planned.

use std::collections::BTreeMap;

/// One microsecond in nanoseconds.
pub const MICROSECOND_NS: u64 = 1000;

/// One millisecond in nanoseconds.
pub const MILLISECOND_NS: u64 = 1_000_000;

/// One second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

/// The events to come.
pub struct Agenda<E> {
    events: BTreeMap<(u64, u64), E>,
    planned: u64,
    now_ns: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), planned: 0, now_ns: 0 }
    }
}

impl<E> Agenda<E> {
    /// The time, in nanoseconds since the run began.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Plans an event at a time, or now if that is past.
    pub fn at(&mut self, at_ns: u64, event: E) {
        self.planned += 1;
        self.events.insert((at_ns.max(self.now_ns), self.planned), event);
    }

    /// Plans an event after a delay.
    pub fn after(&mut self, delay_ns: u64, event: E) {
        self.at(self.now_ns + delay_ns, event);
    }

    /// Goes to the next event.
    pub fn advance(&mut self) -> Option<E> {
        let ((at_ns, _), event) = self.events.pop_first()?;
        self.now_ns = at_ns;
        Some(event)
    }

    /// Strikes out what does not pass.
    pub fn retain(&mut self, keep: impl Fn(&E) -> bool) {
        self.events.retain(|_, event| keep(event));
    }
}
