//! A timer wheel: when to look at which lease again.
//!
//! A lease stands in one slot at a time. A renewal leaves it where it is, since looking too early costs a look and no
//! more; so renewing is no work for the wheel, however many leases there are.

use std::collections::BTreeMap;

use windlass_types::{LeaseId, LogIndex};

/// A lease, told from an earlier one with its id.
pub(super) type Granted = (LeaseId, LogIndex);

/// What one slot spans, in nanoseconds. A lease is looked at by at most this too late, never too early.
const SLOT_NS: u64 = 100_000_000;

/// The wheel. Only slots that hold a lease take memory, so it has no end.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    slots: BTreeMap<u64, Vec<Granted>>,
}

impl Wheel {
    /// Looks at the lease at `at_ns` or a little later.
    pub fn insert(&mut self, lease: Granted, at_ns: u64) {
        self.slots.entry(at_ns.div_ceil(SLOT_NS)).or_default().push(lease);
    }

    /// Takes out up to `max` leases that are to be looked at by now.
    pub fn take_due(&mut self, now_ns: u64, max: usize, due: &mut Vec<Granted>) {
        while due.len() < max
            && let Some(mut slot) = self.slots.first_entry()
            && *slot.key() <= now_ns / SLOT_NS
        {
            let leases = slot.get_mut();
            let rest = leases.len().saturating_sub(max - due.len());
            due.extend(leases.drain(rest..));
            if leases.is_empty() {
                slot.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_early_and_all_of_it_in_bounded_pieces() {
        let mut wheel = Wheel::default();
        let lease = |i| (LeaseId(i), LogIndex(1));
        (0..10).for_each(|i| wheel.insert(lease(i), SLOT_NS + 1));
        wheel.insert(lease(10), SLOT_NS);
        let mut due = Vec::new();
        wheel.take_due(SLOT_NS - 1, 100, &mut due);
        assert!(due.is_empty());
        wheel.take_due(SLOT_NS + 1, 100, &mut due);
        assert_eq!(due, [lease(10)]);
        for left in [6, 2] {
            due.clear();
            wheel.take_due(2 * SLOT_NS, 4, &mut due);
            assert_eq!((due.len(), wheel.slots.values().map(Vec::len).sum()), (4, left));
        }
        due.clear();
        wheel.take_due(u64::MAX, 4, &mut due);
        assert_eq!((due.len(), wheel.slots.len()), (2, 0));
    }
}
