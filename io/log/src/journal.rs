//! The writing half of a log of frames: flights of flushes over segments, durable in order, opaque bodies.
//!
//! Contract, per frame: (1) the owner asks [`Journal::can_submit`], (2) [`Journal::submit`] emits one
//! `Op::WriteDurable`, (3) [`Journal::complete`] takes the backend's answer and reports ids **in the order of
//! submission**, whatever the order of completion. A failed write is fatal and is never tried again. The first
//! write into a segment carries its block 0 too, and waits until everything before it is durable: a segment
//! that exists proves that the one before it is whole.

use std::collections::VecDeque;

use windlass_types::ByteOffset;

use crate::buffer::{BLOCK_BYTES, Buffer};
use crate::error::{Error, Repair};
use crate::folder::Folder;
use crate::frame::{self, HEADER_BYTES, Stamp, frame_bytes};
use crate::ids::{Epoch, Identity, Nonce, SegmentNumber, Sequence};
use crate::op::{Completion, Failure, FileSlot, Op, Ticket};
use crate::scan::{LiveSegment, Scan, Sought, Visit, scan};
use crate::segment::{FIRST_FRAME_AT, SegmentHeader};
use crate::slots::{Slots, Tickets};

/// Most flushes that a journal may have in flight. Each takes a registered buffer of a frame's size.
pub const FLUSH_DEPTH_MAX: usize = 32;

/// How a journal is laid out and driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a segment file; a multiple of the block size. May differ from an earlier start's.
    pub segment_bytes: usize,
    /// Most flushes in flight, 1 to [`FLUSH_DEPTH_MAX`].
    pub flush_depth: usize,
    /// Largest frame that the registered buffers take; a larger one gets memory of its own.
    pub frame_bytes_max: usize,
    /// Room at the end of each segment for frames that must go out when the disk is full.
    pub reserve_bytes: usize,
    /// What helps if this log is damaged; only changes the advice that an error gives.
    pub repair: Repair,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            flush_depth: 1,
            frame_bytes_max: 2 << 20,
            reserve_bytes: 1 << 20,
            repair: Repair::FromBackup,
        }
    }
}

impl Options {
    /// Largest body in bytes that a frame can take at all.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        (self.segment_bytes - FIRST_FRAME_AT - self.reserve_bytes - HEADER_BYTES).min(frame::BODY_BYTES_MAX)
    }

    /// The buffers that a log with these options registers: memory that the process must be allowed to lock.
    #[must_use]
    pub fn buffers(&self) -> Vec<Buffer> {
        let bytes = FIRST_FRAME_AT + self.frame_bytes_max;
        (0..=self.flush_depth as u16).map(|i| Buffer::zeroed(bytes, Some(i))).collect()
    }

    fn check(&self) {
        assert!(
            self.segment_bytes.is_multiple_of(BLOCK_BYTES) && self.reserve_bytes.is_multiple_of(BLOCK_BYTES)
        );
        assert!(self.frame_bytes_max.is_multiple_of(BLOCK_BYTES) && self.frame_bytes_max > 0);
        assert!(self.segment_bytes >= FIRST_FRAME_AT + self.frame_bytes_max + self.reserve_bytes);
        assert!((1..=FLUSH_DEPTH_MAX).contains(&self.flush_depth));
    }
}

/// Which room a frame may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All but the reserve.
    Ordinary,
    /// The reserve too.
    Reserve,
}

/// The disk failed; what is on it is unknown, so the process must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing} of the log failed: {failure}")]
pub struct Fatal {
    /// The operation.
    pub doing: &'static str,
    /// What the disk said.
    pub failure: Failure,
}

#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    sequence: Sequence,
    id: Option<u64>,
    oldest: SegmentNumber,
    done: bool,
}

/// A log of frames, open for writing.
#[derive(Debug)]
pub struct Journal {
    options: Options,
    identity: Identity,
    slots: Slots,
    tickets: Tickets,
    epoch: Epoch,
    next: Sequence,
    /// Where in the current segment the next frame goes.
    offset: usize,
    /// Submitted and not yet reported, in order of sequence. At most `flush_depth`.
    flights: VecDeque<Flight>,
    /// Free registered buffers: with one more than the depth that the journal began with, one is always free to be filled
    /// up to that depth.
    buffers: Vec<Buffer>,
    failed: bool,
}

impl Journal {
    /// Reads the log and hands each body to `visit`. Call [`boot`](Self::boot) next; nothing is written before.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Panics
    /// If `options` contradict themselves.
    pub fn open(
        folder: &mut dyn Folder,
        options: Options,
        identity: Identity,
        visit: &mut Visit<'_>,
    ) -> Result<Self, Error> {
        options.check();
        let sought = Sought { identity, repair: options.repair };
        let Scan { live, spares, next, end, epoch } = scan(folder, sought, visit)?;
        Ok(Self {
            options,
            identity,
            slots: Slots::new(options.segment_bytes, live, spares),
            tickets: Tickets::default(),
            epoch,
            next,
            offset: end,
            flights: VecDeque::new(),
            buffers: options.buffers(),
            failed: false,
        })
    }

    /// Starts a new epoch with a durable frame that holds `body`, so that whatever recovery cut off can never be
    /// taken for part of the log again.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Disk`].
    pub fn boot(&mut self, folder: &mut dyn Folder, body: &[u8]) -> Result<(), Error> {
        self.epoch = self.epoch.next();
        let length = frame_bytes(body.len());
        if !self.fits(length, Room::Reserve) && !self.slots.has_spare() {
            let (slot, size) = (self.slots.unused_slot(), self.options.segment_bytes);
            folder.prepare(slot, ByteOffset(size as u64)).map_err(|e| prepare_error(e, size))?;
            self.slots.add_spare(slot, size);
        }
        let mut buffer = self.buffers.pop().expect("all buffers are free");
        let (slot, offset) = self.fill(&mut buffer, body, true, Room::Reserve);
        folder
            .write_durable(slot, offset, buffer.bytes())
            .map_err(|source| Error::Disk { doing: "writing", source })?;
        self.buffers.push(buffer);
        Ok(())
    }

    /// The registered buffers, all of them right after [`boot`](Self::boot).
    #[must_use]
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// As given at the start.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many flushes may be in flight from now on; those that are go on. Nothing that was promised depends on it. Flushes
    /// beyond the depth that the journal began with take memory of their own, which is not registered.
    ///
    /// # Panics
    /// If it is not 1 to [`FLUSH_DEPTH_MAX`].
    pub fn set_flush_depth(&mut self, flush_depth: usize) {
        assert!((1..=FLUSH_DEPTH_MAX).contains(&flush_depth));
        self.options.flush_depth = flush_depth;
    }

    /// Whether a flush slot is free, and room for a frame of `body_bytes` in a prepared segment that may be written.
    #[must_use]
    pub fn can_submit(&self, body_bytes: usize, room: Room) -> bool {
        self.slot_free() && (self.fits(frame_bytes(body_bytes), room) || self.can_switch())
    }

    /// Whether another flush may be in flight.
    #[must_use]
    pub fn slot_free(&self) -> bool {
        !self.failed && self.flights.len() < self.options.flush_depth
    }

    /// Whether no flush is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// Bytes of ordinary room left in the current segment.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        let bytes = self.slots.current().map_or(0, |s| s.bytes);
        bytes.saturating_sub(self.options.reserve_bytes + self.offset)
    }

    /// Whether a spare segment is ready.
    #[must_use]
    pub fn has_spare(&self) -> bool {
        self.slots.has_spare()
    }

    /// Whether there is no spare segment and the disk had no room for one. See [`retry`](Self::retry).
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.slots.is_starved()
    }

    /// Number of segments that hold what is still needed.
    #[must_use]
    pub fn live_segments(&self) -> usize {
        self.slots.live_count()
    }

    /// Writes one frame. `id` is reported when it and everything before it is durable; `mark` is as in
    /// [`LiveSegment::mark`].
    ///
    /// # Panics
    /// If [`can_submit`](Self::can_submit) says no.
    pub fn submit(&mut self, id: Option<u64>, mark: u64, body: &[u8], room: Room, ops: &mut Vec<Op>) {
        assert!(self.can_submit(body.len(), room), "no flush slot or no room");
        let sequence = self.next;
        let mut buffer = self.take_buffer(FIRST_FRAME_AT + frame_bytes(body.len()));
        let (slot, offset) = self.fill(&mut buffer, body, false, room);
        self.slots.mark(mark);
        let ticket = self.tickets.take();
        self.flights.push_back(Flight { ticket, sequence, id, oldest: self.slots.oldest(), done: false });
        ops.push(Op::WriteDurable { ticket, slot, offset, buffer });
    }

    /// Takes the end of one operation. Ids that became durable are appended to `durable`, in order of submission.
    ///
    /// # Errors
    /// The disk failed: nothing that is not yet reported may be acknowledged any more, and the process must end.
    ///
    /// # Panics
    /// If the ticket is not in flight.
    pub fn complete(&mut self, completion: Completion, durable: &mut Vec<u64>) -> Result<(), Fatal> {
        let Completion { ticket, buffer, result } = completion;
        self.buffers.extend(buffer.filter(|b| b.registered().is_some()));
        if let Some(result) = self.slots.complete(ticket, &result) {
            return result.map_err(|failure| self.fail("preparing or removing", failure));
        }
        let flight = self.flights.iter_mut().find(|f| f.ticket == ticket).expect("a ticket in flight");
        flight.done = true;
        if let Err(failure) = result {
            return Err(self.fail("writing", failure));
        }
        if self.failed {
            return Err(Fatal { doing: "writing", failure: Failure::Io("an earlier write failed".into()) });
        }
        while let Some(flight) = self.flights.pop_front_if(|f| f.done) {
            self.slots.announce(flight.oldest);
            durable.extend(flight.id);
        }
        Ok(())
    }

    /// Retires the oldest segments whose mark is at most `mark`. They are reused once a frame submitted from now on
    /// is durable; returns whether the owner should therefore submit one soon.
    pub fn retire(&mut self, mark: u64) -> bool {
        self.slots.retire(mark)
    }

    /// Prepares a segment when none is spare and the current one is half full, or `waiting` for the next; removes
    /// spares beyond what is kept. To be called after every other call that takes `ops`.
    pub fn upkeep(&mut self, waiting: bool, ops: &mut Vec<Op>) {
        let bytes = self.slots.current().map_or(0, |s| s.bytes);
        let filling = self.offset * 2 > bytes || self.room_bytes() < self.options.frame_bytes_max;
        let prepare = !self.slots.has_spare() && (filling || waiting);
        if !self.failed {
            self.slots.upkeep(prepare, &mut self.tickets, ops);
        }
    }

    /// Lets the next [`upkeep`](Self::upkeep) try again to prepare a segment after the disk had no room.
    pub fn retry(&mut self) {
        self.slots.retry();
    }

    fn fits(&self, length: usize, room: Room) -> bool {
        let reserve = if room == Room::Ordinary { self.options.reserve_bytes } else { 0 };
        self.slots.current().is_some_and(|s| self.offset + length + reserve <= s.bytes)
    }

    fn can_switch(&self) -> bool {
        self.slots.has_spare() && self.flights.is_empty()
    }

    fn take_buffer(&mut self, bytes: usize) -> Buffer {
        if bytes > FIRST_FRAME_AT + self.options.frame_bytes_max {
            return Buffer::zeroed(bytes, None);
        }
        // None is free only where the depth was raised.
        self.buffers.pop().unwrap_or_else(|| Buffer::zeroed(bytes, None))
    }

    /// Puts the frame, and block 0 where a segment begins, into `buffer`; says where it goes.
    fn fill(&mut self, buffer: &mut Buffer, body: &[u8], boot: bool, room: Room) -> (FileSlot, ByteOffset) {
        let switch = !self.fits(frame_bytes(body.len()), room);
        let memory = buffer.memory();
        let head = if switch { self.start_segment(memory) } else { 0 };
        let segment = *self.slots.current().expect("a segment was started");
        let at = head + HEADER_BYTES;
        memory[at..at + body.len()].copy_from_slice(body);
        let length = frame::seal(&mut memory[head..], &self.stamp(&segment, boot), body.len());
        buffer.set_len(head + length);
        let offset = ByteOffset((self.offset - head) as u64);
        self.next = self.next.next();
        self.offset += length;
        assert!(self.offset <= segment.bytes, "a frame runs past its segment");
        (segment.slot, offset)
    }

    fn start_segment(&mut self, memory: &mut [u8]) -> usize {
        assert!(self.flights.is_empty(), "a segment begins when everything before it is durable");
        let segment = self.slots.start_next();
        let header = SegmentHeader {
            identity: self.identity,
            number: segment.number,
            first: self.next,
            // Not what this segment's first frame says: block 0 may survive a crash alone.
            oldest_segment: self.slots.oldest_announced(),
            epoch: self.epoch,
            blocks: (segment.bytes / BLOCK_BYTES) as u32,
        };
        header.seal(memory);
        self.offset = FIRST_FRAME_AT;
        FIRST_FRAME_AT
    }

    fn stamp(&self, segment: &LiveSegment, boot: bool) -> Stamp {
        Stamp {
            nonce: Nonce::of(self.identity, segment.number),
            sequence: self.next,
            durable_below: self.flights.front().map_or(self.next, |f| f.sequence),
            oldest_segment: self.slots.oldest(),
            epoch: self.epoch,
            boot,
        }
    }

    fn fail(&mut self, doing: &'static str, failure: Failure) -> Fatal {
        self.failed = true;
        Fatal { doing, failure }
    }
}

fn prepare_error(failure: Failure, size: usize) -> Error {
    match failure {
        Failure::NoSpace => Error::NoSpace { bytes: size as u64 },
        source => Error::Disk { doing: "preparing a segment", source },
    }
}
