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

/// How many lone writes go the quicker way before the other one is tried; doubled by each trial that finds it slower still,
/// so that a slow disk holds the thread up once in a thousand writes.
const TRIAL_MIN: u32 = 16;
const TRIAL_MAX: u32 = 1024;

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
    at_once: Option<Duration>,
    ring: Option<Duration>,
    /// How many more go the chosen way before the other one is tried,
    left: u32,
    /// and how many that was at first.
    between: u32,
}

impl Default for Lone {
    fn default() -> Self {
        Self {
            announced: false,
            heard: None,
            flight: None,
            chosen: Way::Ring,
            at_once: None,
            ring: None,
            left: TRIAL_MIN,
            between: TRIAL_MIN,
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
        let usual = match way {
            Way::AtOnce => &mut self.at_once,
            Way::Ring => &mut self.ring,
        };
        *usual = Some(match *usual {
            Some(usual) if way == self.chosen => {
                (usual * (SMOOTHING - 1) + latency.min(usual * OUTLIER)) / SMOOTHING
            }
            // What a trial found before may be long ago.
            _ => latency,
        });
        self.judge(way);
    }

    /// After a write that went `way`.
    fn judge(&mut self, way: Way) {
        let is_trial = way != self.chosen;
        if !is_trial {
            self.left = self.left.saturating_sub(1);
        }
        if let (Some(at_once), Some(ring)) = (self.at_once, self.ring) {
            let quicker = if at_once <= ring { Way::AtOnce } else { Way::Ring };
            if quicker != self.chosen {
                (self.chosen, self.between, self.left) = (quicker, TRIAL_MIN, TRIAL_MIN);
                return;
            }
        }
        if is_trial {
            self.between = (self.between * 2).min(TRIAL_MAX);
            self.left = self.between;
        }
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
        match (self.left, self.chosen) {
            (0, Way::Ring) => Way::AtOnce,
            (0, Way::AtOnce) => Way::Ring,
            (_, chosen) => chosen,
        }
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
        writes(&mut lone, TRIAL_MIN + 1, 100, 150);
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
        let mut lone = trusting();
        let tried = 10_000 - writes(&mut lone, 10_000, 100, 150);
        assert!((8..20).contains(&tried), "{tried} of 10,000 through a slower ring");
        let mut lone = Lone::default();
        let tried = writes(&mut lone, 10_000, 4000, 2000);
        assert!((8..20).contains(&tried), "{tried} of 10,000 at once where the ring is quicker");
    }

    #[test]
    fn a_disk_that_changes_is_judged_anew_and_one_stall_changes_nothing() {
        let mut lone = trusting();
        writes(&mut lone, 1, 1_000_000, 150);
        assert_eq!(lone.chosen, Way::AtOnce, "a stall counts as a slow write");
        assert!(writes(&mut lone, 1000, 4000, 2000) < 100, "it became slow");
        writes(&mut lone, 20_000, 100, 150);
        assert_eq!(lone.chosen, Way::AtOnce, "and quick again");
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
