//! Whether a write of the log is carried out at once, while the thread sleeps, instead of through the ring.
//!
//! The ring lets the thread work while the disk does. A single client that waits for each answer leaves nothing to work
//! on, and then the ring costs wakes: of the kernel's worker that flushes, and of the thread through its event loop.
//! Nobody may wait for the sleeping thread, so everything here errs on the side of the ring. See
//! `docs/adr/0009-a-lone-client.md`.

use std::time::Duration;

use windlass_io_log::op::Op;

use crate::net::ArbiterId;

/// Largest write that is carried out at once: more than one small put is a batch, which pays for its wakes.
const WRITE_BYTES_MAX: usize = 16 << 10;

/// A write that puts the thread to sleep for longer than this is a stall: whoever comes meanwhile waits.
const STALL: Duration = Duration::from_millis(5);

/// How many writes go through the ring after a stall, and at a start; doubled by each stall that follows, until one
/// write is fast. So a slow disk holds the thread up once in a thousand writes.
///
/// How long the ring takes says nothing: on a machine whose CPUs are wanted by others it waits for the kernel's
/// workers, and the system call does not.
const DETOUR_MIN: u32 = 16;
const DETOUR_MAX: u32 = 1024;

/// Decides for each write.
#[derive(Debug)]
pub struct Lone {
    /// What is being proposed comes from the only call that its arbiter has open.
    announced: bool,
    /// The arbiter that was heard last.
    heard: Option<ArbiterId>,
    /// A write is being carried out at once.
    writing: bool,
    /// How many more writes go through the ring.
    detour: u32,
    /// How many went after the last stall.
    detour_last: u32,
}

impl Default for Lone {
    /// Nothing is known of the disk, so it is taken to be slow.
    fn default() -> Self {
        Self { announced: false, heard: None, writing: false, detour: DETOUR_MIN, detour_last: DETOUR_MIN }
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
        if !std::mem::take(&mut self.writing) {
            self.detour = self.detour.saturating_sub(1);
        } else if latency > STALL {
            self.detour = self.detour_last;
            self.detour_last = (self.detour_last * 2).min(DETOUR_MAX);
        } else {
            self.detour_last = DETOUR_MIN;
        }
    }

    /// Whether `op` is to be carried out at once, and is the next write that is observed. True at most once for each
    /// proposal.
    pub fn takes(&mut self, op: &Op) -> bool {
        match op {
            Op::WriteDurable { buffer, .. } => {
                let announced = std::mem::take(&mut self.announced);
                self.writing = announced && self.detour == 0 && buffer.bytes().len() <= WRITE_BYTES_MAX;
                self.writing
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

    const FAST: Duration = Duration::from_micros(100);
    const ME: ArbiterId = ArbiterId(0);

    fn write(bytes: usize) -> Op {
        let mut buffer = Buffer::zeroed(bytes, None);
        buffer.set_len(bytes);
        Op::WriteDurable { ticket: Ticket(1), slot: FileSlot(0), offset: ByteOffset(0), buffer }
    }

    fn trusting() -> Lone {
        let mut lone = Lone::default();
        (0..DETOUR_MIN).for_each(|_| lone.observe(FAST));
        lone.proposes(ME, true);
        lone
    }

    #[test]
    fn only_the_second_command_of_one_client_alone_is_written_at_once() {
        let mut lone = trusting();
        assert!(!lone.takes(&write(BLOCK_BYTES)), "nobody knows yet who else is there");
        lone.proposes(ME, true);
        assert!(lone.takes(&write(BLOCK_BYTES)));
        lone.observe(FAST);
        assert!(!lone.takes(&write(BLOCK_BYTES)), "once for each proposal");
        lone.proposes(ME, false);
        assert!(!lone.takes(&write(BLOCK_BYTES)), "another call is open");
        lone.proposes(ArbiterId(1), true);
        assert!(!lone.takes(&write(BLOCK_BYTES)), "another arbiter is at work");
        lone.proposes(ArbiterId(1), true);
        lone.disturb();
        assert!(!lone.takes(&write(BLOCK_BYTES)), "somebody reads");
    }

    #[test]
    fn large_writes_and_slow_disks_go_through_the_ring() {
        let mut lone = trusting();
        lone.proposes(ME, true);
        assert!(!lone.takes(&write(WRITE_BYTES_MAX + BLOCK_BYTES)));
        for detour in [DETOUR_MIN, DETOUR_MIN * 2, DETOUR_MIN * 4] {
            lone.proposes(ME, true);
            assert!(lone.takes(&write(BLOCK_BYTES)));
            lone.observe(Duration::from_secs(1));
            for _ in 0..detour {
                lone.proposes(ME, true);
                assert!(!lone.takes(&write(BLOCK_BYTES)), "each stall is followed by a longer detour");
                lone.observe(Duration::from_secs(1));
            }
        }
        lone.proposes(ME, true);
        assert!(lone.takes(&write(BLOCK_BYTES)), "it is tried again");
        lone.observe(FAST);
        lone.proposes(ME, true);
        assert!(lone.takes(&write(BLOCK_BYTES)), "and trusted");
    }
}
