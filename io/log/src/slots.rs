//! The life of a log's slots: prepared ahead of need, live, retired, spare again, or removed.
//!
//! A retired slot becomes spare only when a durable frame says that its segment is no longer needed: until then
//! recovery would still look for it.

use std::collections::VecDeque;

use windlass_types::ByteOffset;

use crate::ids::SegmentNumber;
use crate::op::{Failure, FileSlot, Op, Ticket};
use crate::scan::LiveSegment;

/// Spare slots to keep for the next segments; what is above is removed. Two, because one may be taken at the very
/// moment when a burst of writes has filled the other.
const SPARES_MAX: usize = 2;

/// Hands out tickets, each once.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    next: u64,
}

impl Tickets {
    pub(crate) fn take(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }
}

#[derive(Debug)]
pub(crate) struct Slots {
    segment_bytes: usize,
    /// Oldest first; the last takes the writes. Never empty once the log is booted.
    live: VecDeque<LiveSegment>,
    /// Not needed, but no durable frame says so yet. Oldest first.
    retired: VecDeque<LiveSegment>,
    /// A durable frame says that segments below this are not needed.
    announced: SegmentNumber,
    /// Of full size, ready to become live.
    spares: Vec<FileSlot>,
    /// Of another size than wanted, to be removed.
    misfits: Vec<FileSlot>,
    preparing: Option<(Ticket, FileSlot)>,
    removing: Vec<(Ticket, FileSlot)>,
    /// The last preparation found no room, and no spare has appeared since.
    starved: bool,
}

impl Slots {
    pub(crate) fn new(segment_bytes: usize, live: Vec<LiveSegment>, spares: Vec<(FileSlot, usize)>) -> Self {
        let mut slots = Self {
            announced: live.first().map_or(SegmentNumber(1), |s| s.number),
            segment_bytes,
            live: live.into(),
            retired: VecDeque::new(),
            spares: Vec::new(),
            misfits: Vec::new(),
            preparing: None,
            removing: Vec::new(),
            starved: false,
        };
        for (slot, bytes) in spares {
            slots.add_spare(slot, bytes);
        }
        slots
    }

    /// The segment that takes the writes.
    pub(crate) fn current(&self) -> Option<&LiveSegment> {
        self.live.back()
    }

    /// Number of the oldest segment that is needed.
    pub(crate) fn oldest(&self) -> SegmentNumber {
        self.live.front().expect("a booted log has a live segment").number
    }

    /// Raises the current segment's mark.
    pub(crate) fn mark(&mut self, mark: u64) {
        let current = self.live.back_mut().expect("a booted log has a live segment");
        current.mark = current.mark.max(mark);
    }

    pub(crate) fn has_spare(&self) -> bool {
        !self.spares.is_empty()
    }

    /// Whether there is neither a spare slot nor room to make one.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Number of slots that hold needed entries.
    pub(crate) fn live_count(&self) -> usize {
        self.live.len()
    }

    /// Makes a spare slot the current segment.
    pub(crate) fn start_next(&mut self) -> LiveSegment {
        let slot = self.spares.pop().expect("the caller saw a spare");
        let number = self.live.back().map_or(SegmentNumber(1), |s| s.number.next());
        let segment = LiveSegment { slot, number, bytes: self.segment_bytes, mark: 0 };
        self.live.push_back(segment);
        segment
    }

    /// Retires the oldest segments whose mark is at most `mark`; never the current one. Returns whether any was.
    pub(crate) fn retire(&mut self, mark: u64) -> bool {
        let before = self.retired.len();
        while self.live.len() > 1 && self.live[0].mark <= mark {
            self.retired.extend(self.live.pop_front());
        }
        self.retired.len() > before
    }

    /// As the newest durable frame tells it; behind [`oldest`](Self::oldest) while a retirement is on its way.
    pub(crate) fn oldest_announced(&self) -> SegmentNumber {
        self.announced
    }

    /// A frame that says that segments below `oldest` are not needed has become durable.
    pub(crate) fn announce(&mut self, oldest: SegmentNumber) {
        self.announced = oldest;
        while let Some(segment) = self.retired.pop_front_if(|s| s.number < oldest) {
            self.add_spare(segment.slot, segment.bytes);
        }
    }

    /// Removes what is too much and, where `prepare`, makes a spare.
    pub(crate) fn upkeep(&mut self, prepare: bool, tickets: &mut Tickets, ops: &mut Vec<Op>) {
        while self.spares.len() > SPARES_MAX {
            self.misfits.push(self.spares.remove(0));
        }
        for slot in self.misfits.drain(..) {
            let ticket = tickets.take();
            self.removing.push((ticket, slot));
            ops.push(Op::Remove { ticket, slot });
        }
        if prepare && self.preparing.is_none() && !self.starved {
            let (ticket, slot) = (tickets.take(), self.unused_slot());
            self.preparing = Some((ticket, slot));
            ops.push(Op::Prepare { ticket, slot, size: ByteOffset(self.segment_bytes as u64) });
        }
    }

    /// Lets the next upkeep try again to prepare a slot.
    pub(crate) fn retry(&mut self) {
        self.starved = false;
    }

    /// A slot that no file has.
    pub(crate) fn unused_slot(&self) -> FileSlot {
        let segments = self.live.iter().chain(&self.retired).map(|s| s.slot);
        let busy = self.preparing.iter().chain(&self.removing).map(|&(_, slot)| slot);
        let taken: Vec<_> = segments
            .chain(busy)
            .chain(self.spares.iter().copied())
            .chain(self.misfits.iter().copied())
            .collect();
        (0..).map(FileSlot).find(|slot| !taken.contains(slot)).expect("fewer files than slot numbers")
    }

    /// Takes the completion of a preparation or removal; `None` if the ticket is of neither.
    pub(crate) fn complete(
        &mut self,
        ticket: Ticket,
        result: &Result<(), Failure>,
    ) -> Option<Result<(), Failure>> {
        if let Some((_, slot)) = self.preparing.take_if(|(t, _)| *t == ticket) {
            return Some(match result {
                Ok(()) => {
                    self.add_spare(slot, self.segment_bytes);
                    Ok(())
                }
                Err(Failure::NoSpace) => {
                    self.starved = self.spares.is_empty();
                    Ok(())
                }
                Err(failure) => Err(failure.clone()),
            });
        }
        let at = self.removing.iter().position(|(t, _)| *t == ticket)?;
        self.removing.swap_remove(at);
        // Room has come back.
        self.starved = false;
        Some(result.clone())
    }

    /// Adds a slot that nothing in use or in flight refers to.
    pub(crate) fn add_spare(&mut self, slot: FileSlot, bytes: usize) {
        if bytes == self.segment_bytes {
            self.spares.push(slot);
            self.starved = false;
        } else {
            self.misfits.push(slot);
        }
    }
}
