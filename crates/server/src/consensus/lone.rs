//! Whether a write of the log is carried out at once, while the thread sleeps, instead of through the ring.
//!
//! The ring lets the thread work while the disk does. A single client that waits for each answer leaves nothing to work
//! on, and then the ring costs wakes: of the kernel's worker that flushes, and of the thread through its event loop. On some
//! disks it is the quicker way all the same (where flushes count against a limit of the process, say). So both ways are
//! timed, by such writes alone, and the quicker one is taken; now and then the other one is tried. See
//! `docs/adr/0009-a-lone-client.md`.

use std::time::Duration;

use windlass_io_log::op::Op;

use crate::net::ArbiterId;

/// Largest write that is carried out at once: more than one small put is a batch, which pays for its wakes.
const WRITE_BYTES_MAX: usize = 16 << 10;

/// How many lone writes go the quicker way before the other one is tried; doubled by each trial that finds it no quicker, so
/// that a slow disk seldom holds the thread up.
const TRIAL_MIN: u32 = 16;
const TRIAL_MAX: u32 = 1024;

/// How many writes a trial is: where writes are rationed, each alone may be lucky.
const TRIAL_WRITES: u32 = 8;

/// A time counts as no more than this many times the usual one, so that one stall does not decide alone.
const OUTLIER: u32 = 4;

/// A new time makes up one part in this many of the usual one.
const SMOOTHING: u32 = 8;

/// How a lone write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AtOnce,
    Ring,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Self::AtOnce => Self::Ring,
            Self::Ring => Self::AtOnce,
        }
    }
}

/// Decides for each write.
#[derive(Debug)]
pub struct Lone {
    /// What is being proposed comes from the only call that its arbiter has open.
    announced: bool,
    /// The arbiter that was heard last.
    heard: Option<ArbiterId>,
    /// How the lone write goes that is under way.
    flight: Option<Way>,
    /// The quicker way, as far as is known. Nothing is known of a disk at first, so it is taken to be slow.
    chosen: Way,
    /// How long a write usually takes that way.
    usual: Option<Duration>,
    /// How many more go that way before the other one is tried,
    left: u32,
    /// and how many that was at first.
    between: u32,
    /// The trial under way: its writes, and the time they took together.
    tried: (u32, Duration),
}

impl Default for Lone {
    fn default() -> Self {
        Self {
            announced: false,
            heard: None,
            flight: None,
            chosen: Way::Ring,
            usual: None,
            left: TRIAL_MIN,
            between: TRIAL_MIN,
            tried: (0, Duration::ZERO),
        }
    }
}

impl Lone {
    /// An arbiter sent a command, and says whether it has no other call open.
    pub fn proposes(&mut self, arbiter: ArbiterId, alone: bool) {
        let same = self.heard.replace(arbiter) == Some(arbiter);
        self.announced = alone && same;
    }

    /// Somebody wants something else.
    pub fn disturb(&mut self) {
        self.heard = None;
        self.announced = false;
    }

    /// A write took this long.
    pub fn observe(&mut self, latency: Duration) {
        let Some(way) = self.flight.take() else { return };
        if way != self.chosen {
            return self.tried(latency);
        }
        self.left = self.left.saturating_sub(1);
        self.usual =
            Some(self.usual.map_or(latency, |usual| {
                (usual * (SMOOTHING - 1) + latency.min(usual * OUTLIER)) / SMOOTHING
            }));
    }

    /// A write of a trial took this long.
    fn tried(&mut self, latency: Duration) {
        self.tried.0 += 1;
        self.tried.1 += latency;
        if self.tried.0 < TRIAL_WRITES {
            return;
        }
        let found = self.tried.1 / TRIAL_WRITES;
        self.tried = (0, Duration::ZERO);
        if self.usual.is_some_and(|usual| usual <= found) {
            self.between = (self.between * 2).min(TRIAL_MAX);
        } else {
            self.chosen = self.chosen.other();
            self.usual = Some(found);
            self.between = TRIAL_MIN;
        }
        self.left = self.between;
    }

    /// Whether `op` is to be carried out at once, and is the next write that is observed. True at most once for each
    /// proposal.
    pub fn takes(&mut self, op: &Op) -> bool {
        match op {
            Op::WriteDurable { buffer, .. } => {
                let announced = std::mem::take(&mut self.announced);
                let is_lone = announced && buffer.bytes().len() <= WRITE_BYTES_MAX;
                self.flight = is_lone.then(|| self.next());
                self.flight == Some(Way::AtOnce)
            }
            Op::Prepare { .. } | Op::Remove { .. } => false,
        }
    }

    fn next(&self) -> Way {
        if self.left == 0 { self.chosen.other() } else { self.chosen }
    }
}

#[cfg(test)]
mod tests {
    use windlass_io_log::buffer::{BLOCK_BYTES, Buffer};
    use windlass_io_log::op::{FileSlot, Ticket};
    use windlass_types::ByteOffset;

    use super::*;

    const ME: ArbiterId = ArbiterId(0);

    fn write(bytes: usize) -> Op {
        let mut buffer = Buffer::zeroed(bytes, None);
        buffer.set_len(bytes);
        Op::WriteDurable { ticket: Ticket(1), slot: FileSlot(0), offset: ByteOffset(0), buffer }
    }

    /// Lone writes on a disk on which either way takes so many microseconds; how many were carried out at once.
    fn writes(lone: &mut Lone, count: u32, at_once_us: u64, ring_us: u64) -> u32 {
        let mut taken = 0;
        for _ in 0..count {
            lone.proposes(ME, true);
            let takes = lone.takes(&write(BLOCK_BYTES));
            taken += u32::from(takes);
            lone.observe(Duration::from_micros(if takes { at_once_us } else { ring_us }));
        }
        taken
    }

    fn trusting() -> Lone {
        let mut lone = Lone::default();
        lone.proposes(ME, true);
        writes(&mut lone, TRIAL_MIN + TRIAL_WRITES, 100, 150);
        assert_eq!(lone.chosen, Way::AtOnce);
        lone
    }

    #[test]
    fn only_the_second_command_of_one_client_alone_is_written_at_once() {
        let mut lone = trusting();
        lone.disturb();
        lone.proposes(ME, true);
        assert!(!lone.takes(&write(BLOCK_BYTES)), "nobody knows yet who else is there");
        lone.proposes(ME, true);
        assert!(lone.takes(&write(BLOCK_BYTES)));
        assert!(!lone.takes(&write(BLOCK_BYTES)), "once for each proposal");
        lone.proposes(ME, false);
        assert!(!lone.takes(&write(BLOCK_BYTES)), "another call is open");
        lone.proposes(ArbiterId(1), true);
        assert!(!lone.takes(&write(BLOCK_BYTES)), "another arbiter is at work");
        lone.proposes(ArbiterId(1), true);
        lone.disturb();
        assert!(!lone.takes(&write(BLOCK_BYTES)), "somebody reads");
        lone.proposes(ME, true);
        lone.proposes(ME, true);
        assert!(!lone.takes(&write(WRITE_BYTES_MAX + BLOCK_BYTES)), "a batch");
    }

    #[test]
    fn the_quicker_way_is_taken_and_the_other_one_tried_ever_less_often() {
        let trials = 8 * TRIAL_WRITES..20 * TRIAL_WRITES;
        let mut lone = trusting();
        let tried = 10_000 - writes(&mut lone, 10_000, 100, 150);
        assert!(trials.contains(&tried), "{tried} of 10,000 through a slower ring");
        let mut lone = Lone::default();
        let tried = writes(&mut lone, 10_000, 4000, 2000);
        assert!(trials.contains(&tried), "{tried} of 10,000 at once where the ring is quicker");
    }

    #[test]
    fn a_disk_that_changes_is_judged_anew_and_one_stall_changes_nothing() {
        let mut lone = trusting();
        writes(&mut lone, 1, 1_000_000, 150);
        assert_eq!(lone.chosen, Way::AtOnce, "a stall counts as a slow write");
        assert!(writes(&mut lone, 1000, 4000, 2000) < 300, "it became slow");
        writes(&mut lone, 3 * TRIAL_MAX, 100, 150);
        assert_eq!(lone.chosen, Way::AtOnce, "and quick again");
    }

    #[test]
    fn a_lucky_write_where_they_are_rationed_decides_nothing() {
        let mut lone = Lone::default();
        let mut taken = 0;
        for i in 0..1000 {
            // Every other write at once finds a share left over, and the next one pays for it.
            taken += writes(&mut lone, 1, if i % 2 == 0 { 100 } else { 8000 }, 2000);
        }
        assert!(taken < 100, "{taken} of 1,000 at once");
    }

    #[test]
    fn what_is_not_alone_says_nothing_of_either_way() {
        let mut lone = trusting();
        for _ in 0..1000 {
            lone.proposes(ME, false);
            assert!(!lone.takes(&write(BLOCK_BYTES)));
            lone.observe(Duration::from_micros(1));
        }
        assert_eq!(lone.chosen, Way::AtOnce);
    }
}
