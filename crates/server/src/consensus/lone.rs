//! Whether a write of the log is carried out at once, while the thread sleeps, instead of through the ring.
//!
//! The ring lets the thread work while the disk does. A single client that waits for each answer leaves nothing to work
//! on, and then the ring costs wakes: of the kernel's worker that flushes, and of the thread through its event loop. On some
//! disks it is the quicker way all the same (where flushes count against a limit of the process, say). So both ways are
//! timed, by such writes alone, and the quicker one is taken; now and then the other one is tried. See
//! `docs/adr/0009-a-lone-client.md`.

use std::time::Duration;

use windlass_io_log::op::Op;
use windlass_types::nanoseconds;

use super::trials::{Flush, Trials};
use crate::net::ArbiterId;

/// Largest write that is carried out at once: more than one small put is a batch, which pays for its wakes.
const WRITE_BYTES_MAX: usize = 16 << 10;

/// How a lone write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AtOnce,
    Ring,
}

/// Nothing is known of a disk at first, so it is taken to be slow.
const WAYS: &[Way] = &[Way::Ring, Way::AtOnce];

/// Decides for each write.
#[derive(Debug)]
pub struct Lone {
    /// What is being proposed comes from the only call that its arbiter has open.
    announced: bool,
    /// The arbiter that was heard last.
    heard: Option<ArbiterId>,
    /// How the lone write goes that is under way.
    flight: Option<Way>,
    /// Which way is the quicker one.
    trials: Trials<Way>,
}

impl Default for Lone {
    fn default() -> Self {
        Self { announced: false, heard: None, flight: None, trials: Trials::new(WAYS) }
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
    pub fn observe(&mut self, took: Duration, now_ns: u64) {
        if let Some(way) = self.flight.take() {
            let took_ns = nanoseconds(took);
            self.trials.observe(way, Flush { commands: 1, took_ns, waited_ns: 0, late_ns: 0 }, now_ns);
        }
    }

    /// Whether `op` is to be carried out at once, and is the next write that is observed. True at most once for each
    /// proposal.
    pub fn takes(&mut self, op: &Op) -> bool {
        match op {
            Op::WriteDurable { buffer, .. } => {
                let announced = std::mem::take(&mut self.announced);
                let is_lone = announced && buffer.bytes().len() <= WRITE_BYTES_MAX;
                self.flight = is_lone.then(|| self.trials.way());
                self.flight == Some(Way::AtOnce)
            }
            Op::Prepare { .. } | Op::Remove { .. } => false,
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

    fn trusting() -> Lone {
        let mut lone = Lone::default();
        lone.proposes(ME, true);
        let mut now_ns = 0;
        for _ in 0..100 {
            lone.proposes(ME, true);
            let took = Duration::from_millis(if lone.takes(&write(BLOCK_BYTES)) { 10 } else { 15 });
            now_ns += took.as_nanos() as u64;
            lone.observe(took, now_ns);
            if lone.trials.best() == Way::AtOnce {
                return lone;
            }
        }
        panic!("it is quicker at once");
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
    fn what_is_not_alone_says_nothing_of_either_way() {
        let mut lone = trusting();
        for n in 0..1000 {
            lone.proposes(ME, false);
            assert!(!lone.takes(&write(BLOCK_BYTES)));
            lone.observe(Duration::from_micros(1), n * 1_000_000_000);
        }
        assert_eq!(lone.trials.best(), Way::AtOnce);
    }
}
