//! What both kinds of stream share: frames with preambles into a journal, one in flight, retries for room.

use windlass_records::wal::FrameBuilder;
use windlass_types::LogIndex;

use super::preamble::{Base, Kind, Ordinal, PREAMBLE_BYTES, Preamble};
use super::{Options, Priority, RETRY_NS, Request};
use crate::error::Error;
use crate::folder::Folder;
use crate::journal::{Fatal, Journal, Room};
use crate::op::{Completion, Op};

/// A frame that waits for its turn.
pub(super) struct Draft {
    pub kind: Kind,
    pub index: LogIndex,
    /// The record is the end of it, behind room for the preamble.
    memory: Vec<u8>,
    record_at: usize,
}

impl Draft {
    pub fn new(kind: Kind, index: LogIndex, record: &[u8]) -> Self {
        let memory = [&[0; PREAMBLE_BYTES], record].concat();
        Self { kind, index, memory, record_at: PREAMBLE_BYTES }
    }

    /// Of all that `builder` holds, in memory that an earlier draft left.
    pub fn finish(builder: &mut FrameBuilder, memory: Vec<u8>, kind: Kind, index: LogIndex) -> Self {
        let (memory, record_at) = builder.finish_in(memory, PREAMBLE_BYTES, index);
        Self { kind, index, memory, record_at }
    }

    /// Bytes of preamble and record.
    pub fn bytes(&self) -> usize {
        self.memory.len() - self.begin()
    }

    fn begin(&self) -> usize {
        self.record_at - PREAMBLE_BYTES
    }

    /// Preamble and record.
    fn body(&mut self, ordinal: Ordinal, base: Base) -> &[u8] {
        let preamble = Preamble { kind: self.kind, ordinal, index: self.index, base };
        let begin = self.begin();
        self.memory[begin..self.record_at].copy_from_slice(&preamble.encode());
        &self.memory[begin..]
    }
}

/// The frame in flight.
#[derive(Clone, Copy)]
pub(super) struct Flight {
    pub kind: Kind,
    pub index: LogIndex,
    pub ordinal: Ordinal,
}

pub(super) struct Writer {
    journal: Journal,
    next: Ordinal,
    flight: Option<Flight>,
    /// A frame waits for the next segment.
    waiting: bool,
    now_ns: u64,
    /// While the disk has no room: when to try again.
    retry_at_ns: Option<u64>,
    ops: Vec<Op>,
    durable: Vec<u64>,
    /// Memory of the last draft.
    spare: Vec<u8>,
}

impl Writer {
    /// Begins a start: `boot` becomes durable before anything else.
    pub fn boot(
        mut journal: Journal,
        folder: &mut dyn Folder,
        next: Ordinal,
        base: Base,
        mut boot: Draft,
    ) -> Result<Self, Error> {
        journal.boot(folder, boot.body(next, base))?;
        Ok(Self {
            journal,
            next: Ordinal(next.0 + 1),
            flight: None,
            waiting: false,
            now_ns: 0,
            retry_at_ns: None,
            ops: Vec::new(),
            durable: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Position that the next frame takes.
    pub fn next(&self) -> Ordinal {
        self.next
    }

    pub fn is_writing(&self) -> bool {
        self.flight.is_some()
    }

    /// Whether a frame waits for the next segment.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    pub fn retry_at_ns(&self) -> Option<u64> {
        self.retry_at_ns
    }

    /// Segments that hold only frames before `frame` are not needed; whether a frame should say so soon.
    pub fn retire_before(&mut self, frame: Ordinal) -> bool {
        self.journal.retire(frame.0 - 1)
    }

    /// Takes the time, and looks again for room if that is due.
    pub fn tick(&mut self, now_ns: u64, out: &mut Vec<Request>) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.retry_at_ns.is_some_and(|at| at <= self.now_ns) {
            self.retry_at_ns = None;
            self.journal.retry();
        }
        self.upkeep(out);
    }

    /// Memory for the next draft.
    pub fn take_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// Submits the frame if nothing is in flight and there is room; hands it back otherwise.
    pub fn submit(&mut self, mut draft: Draft, base: Base, out: &mut Vec<Request>) -> Result<(), Draft> {
        if !self.journal.can_submit(draft.bytes(), Room::Ordinary) {
            self.waiting = self.flight.is_none();
            self.upkeep(out);
            return Err(draft);
        }
        self.waiting = false;
        let ordinal = self.next;
        let body = draft.body(ordinal, base);
        self.journal.submit(Some(ordinal.0), ordinal.0, body, Room::Ordinary, &mut self.ops);
        let Draft { kind, index, memory, .. } = draft;
        self.spare = memory;
        self.next = Ordinal(ordinal.0 + 1);
        self.flight = Some(Flight { kind, index, ordinal });
        let priority = if kind == Kind::Chunk { Priority::Background } else { Priority::Flush };
        out.extend(self.ops.drain(..).map(|op| Request { op, priority }));
        self.upkeep(out);
        Ok(())
    }

    /// Takes the end of one operation; the frame that became durable, if it was that.
    pub fn complete(
        &mut self,
        completion: Completion,
        out: &mut Vec<Request>,
    ) -> Result<Option<Flight>, Fatal> {
        self.journal.complete(completion, &mut self.durable)?;
        self.upkeep(out);
        let Some(ordinal) = self.durable.pop() else { return Ok(None) };
        let flight = self.flight.take().expect("only a frame in flight becomes durable");
        assert!(self.durable.is_empty() && flight.ordinal.0 == ordinal, "one frame in flight");
        Ok(Some(flight))
    }

    fn upkeep(&mut self, out: &mut Vec<Request>) {
        self.journal.upkeep(self.waiting, &mut self.ops);
        out.extend(self.ops.drain(..).map(|op| Request { op, priority: Priority::Background }));
        if !self.journal.is_starved() {
            self.retry_at_ns = None;
        } else if self.retry_at_ns.is_none() {
            self.retry_at_ns = Some(self.now_ns + RETRY_NS);
        }
    }
}

/// Opens the journal, reading all of it; `visit` gets each frame's preamble and record.
pub(super) fn open_journal(
    options: &Options,
    folder: &mut dyn Folder,
    visit: &mut dyn FnMut(Preamble, bytes::Bytes) -> Result<(), String>,
) -> Result<Journal, Error> {
    Journal::open(folder, options.journal(), options.identity, &mut |body| {
        let preamble = Preamble::decode(&body)?;
        visit(preamble, body.slice(PREAMBLE_BYTES..))?;
        Ok(preamble.ordinal.0)
    })
}
