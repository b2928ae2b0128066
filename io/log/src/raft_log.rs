//! The Raft log: entries and hard state over a [`Journal`].
//!
//! One append is one frame and one flush, unless it is larger than a frame: then it becomes several, and is reported
//! durable with the last. Every frame repeats the hard state and the log's start, so any segment can go without
//! taking them along. Nothing here touches a file.

use std::collections::VecDeque;

use flatbuffers::FlatBufferBuilder;
use windlass_records::log::{Entry, Frame, FrameRef, HardState};
use windlass_types::{LogIndex, Term};

use crate::buffer::Buffer;
use crate::error::Error;
use crate::folder::Folder;
use crate::frame::{HEADER_BYTES, frame_bytes};
use crate::ids::Identity;
pub use crate::journal::{FLUSH_DEPTH_MAX, Fatal, Options};
use crate::journal::{Journal, Room};
use crate::op::{Completion, Op};
pub use crate::replay::Recovered;
use crate::replay::Replay;

/// The log has no room, and neither has the disk: see [`RaftLog::space`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no space left for the log")]
pub struct Full;

/// Whether the log takes entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// It does.
    Ok,
    /// The disk had no room for the next segment and the current one is full but for the reserve: refuse writes
    /// with etcd's `NoSpace`, and call [`RaftLog::retry`] now and then.
    Full,
}

/// A part of an append that has to wait for its predecessors.
#[derive(Debug)]
struct Part {
    /// With the last part only.
    id: Option<u64>,
    /// With the last part only, so that its commit index is never ahead of the durable entries.
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
}

/// The Raft log of one member.
pub struct RaftLog {
    journal: Journal,
    start_index: LogIndex,
    start_term: Term,
    last_index: LogIndex,
    /// As last submitted.
    hard_state: HardState,
    /// The rest of one append that did not fit one frame; no further append is taken meanwhile.
    pending: VecDeque<Part>,
    /// A cut retired segments and no frame has been submitted since.
    announce: bool,
    /// The newest append was refused for want of room.
    refused: bool,
    /// The disk was asked for room since there is too little for the next frame. It may have had none long before that, when
    /// the spare segment was to be made, and have some now.
    asked: bool,
    /// What the first frame of this start holds beside the hard state.
    boot_entries: Vec<Entry>,
    /// The newest append has no frame behind it that proves it was durable.
    unproven: bool,
    fbb: FlatBufferBuilder<'static>,
}

impl RaftLog {
    /// Reads the log of `identity`, or makes a new one in an empty folder, and begins this start: [`open`](Self::open),
    /// then [`start`](Self::start).
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Panics
    /// If `options` contradict themselves.
    pub fn recover(
        folder: &mut dyn Folder,
        options: Options,
        identity: Identity,
    ) -> Result<(Self, Recovered), Error> {
        let (mut log, recovered) = Self::open(folder, options, identity)?;
        log.start(folder)?;
        Ok((log, recovered))
    }

    /// Reads the log of `identity`; an empty folder holds an empty one. Writes nothing, so that a start which is
    /// refused for another reason leaves the log as it was. `identity` should depend on something that clients cannot
    /// know, see `docs/formats/log.md`.
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
    ) -> Result<(Self, Recovered), Error> {
        let mut replay = Replay::default();
        let journal = Journal::open(folder, options, identity, &mut |body| replay.apply(&body))?;
        let recovered = replay.finish()?;
        let log = Self {
            journal,
            start_index: recovered.start_index,
            start_term: recovered.start_term,
            last_index: recovered.entries.last().map_or(recovered.start_index, |e| e.index),
            hard_state: recovered.hard_state,
            pending: VecDeque::new(),
            announce: false,
            refused: false,
            asked: false,
            boot_entries: Vec::new(),
            unproven: false,
            fbb: FlatBufferBuilder::new(),
        };
        Ok((log, recovered))
    }

    /// Replaces what the log holds: with the first entries of a new cluster, or with the place of a snapshot. It is durable
    /// when [`start`](Self::start) returns, before which this must be called.
    ///
    /// # Panics
    /// If the entries do not follow the start.
    pub fn replace(&mut self, content: &Recovered) {
        let Recovered { hard_state, start_index, start_term, entries } = content;
        (self.hard_state, self.start_index, self.start_term) = (*hard_state, *start_index, *start_term);
        self.last_index = *start_index;
        self.check_entries(entries);
        self.last_index = entries.last().map_or(*start_index, |e| e.index);
        self.boot_entries.clone_from(entries);
    }

    /// Writes the frame that begins this start's epoch; to be called once, before anything else.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Disk`].
    pub fn start(&mut self, folder: &mut dyn Folder) -> Result<(), Error> {
        let entries = std::mem::take(&mut self.boot_entries);
        self.encode(None, &entries);
        self.journal.boot(folder, self.fbb.finished_data())
    }

    /// The buffers to register with the backend; call it before the first append.
    #[must_use]
    pub fn buffers(&self) -> &[Buffer] {
        self.journal.buffers()
    }

    /// Index of the last entry, durable or not.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.last_index
    }

    /// Number of segments that hold what is still needed.
    #[must_use]
    pub fn live_segments(&self) -> usize {
        self.journal.live_segments()
    }

    /// See [`Journal::set_flush_depth`]. What waits for a slot is submitted by the next call that takes `ops`.
    pub fn set_flush_depth(&mut self, flush_depth: usize) {
        self.journal.set_flush_depth(flush_depth);
    }

    /// Whether no flush is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.journal.is_idle()
    }

    /// Whether [`append`](Self::append) may be called now: a flush slot is free, and there is room for one frame in
    /// a prepared segment (or none to be had, which `append` then says).
    #[must_use]
    pub fn can_flush(&self) -> bool {
        let room = self.has_room_for_a_frame();
        self.pending.is_empty()
            && self.journal.slot_free()
            && (room || self.journal.has_spare() || self.journal.is_starved())
    }

    /// Writes entries and hard state (`None`: unchanged); `id` is reported by [`complete`](Self::complete) when all
    /// of it is durable. An entry at or below [`last_index`](Self::last_index) replaces the log from there on.
    ///
    /// # Errors
    /// [`Full`]: nothing was taken. Without entries only when the reserve is used up too.
    ///
    /// # Panics
    /// If [`can_flush`](Self::can_flush) says no, if the entries are not consecutive or leave a gap behind the log,
    /// or if one entry is larger than [`Options::body_bytes_max`].
    pub fn append(
        &mut self,
        id: u64,
        hard_state: Option<HardState>,
        entries: &[Entry],
        ops: &mut Vec<Op>,
    ) -> Result<(), Full> {
        assert!(self.can_flush(), "append without asking can_flush");
        self.check_entries(entries);
        let parts = split(entries, self.journal.options());
        if !self.has_room(&parts) {
            self.ask_for_room();
        }
        self.refused = !self.has_room(&parts);
        if self.refused {
            return Err(Full);
        }
        if let Some(last) = entries.last() {
            self.last_index = last.index;
        }
        if let [part] = parts[..]
            && self.can_submit(part)
        {
            self.submit(Some(id), hard_state, part, ops);
        } else {
            self.pending.extend(parts.iter().map(|p| Part {
                id: None,
                hard_state: None,
                entries: p.to_vec(),
            }));
            let last = self.pending.back_mut().expect("at least one part");
            (last.id, last.hard_state) = (Some(id), hard_state);
        }
        self.pump(ops);
        Ok(())
    }

    /// Takes the end of one operation. Ids of appends that became durable are added to `durable`, strictly in the
    /// order of the appends.
    ///
    /// # Errors
    /// The disk failed; the process must end, and nothing that was not reported may be acknowledged.
    ///
    /// # Panics
    /// If the operation is not this log's.
    pub fn complete(
        &mut self,
        completion: Completion,
        ops: &mut Vec<Op>,
        durable: &mut Vec<u64>,
    ) -> Result<(), Fatal> {
        self.journal.complete(completion, durable)?;
        self.pump(ops);
        Ok(())
    }

    /// Entries at or below `index` (of `term`) are not needed any more, their effects being durable elsewhere.
    /// An index beyond the last entry empties the log. Lower or equal to an earlier cut: nothing happens.
    pub fn cut(&mut self, index: LogIndex, term: Term, ops: &mut Vec<Op>) {
        if index <= self.start_index {
            return;
        }
        (self.start_index, self.start_term) = (index, term);
        self.last_index = self.last_index.max(index);
        self.announce |= self.journal.retire(index.0);
        self.pump(ops);
    }

    /// Whether the log takes entries.
    #[must_use]
    pub fn space(&self) -> Space {
        let room = self.has_room_for_a_frame();
        // One that is larger than a frame may lack room where others would have some.
        let waits = self.refused || !self.pending.is_empty();
        if self.journal.is_starved() && (waits || !room) { Space::Full } else { Space::Ok }
    }

    /// Tries again to get room after the disk had none. Cheap; meant for a timer.
    pub fn retry(&mut self, ops: &mut Vec<Op>) {
        self.journal.retry();
        self.pump(ops);
    }

    /// Asks for the room that the next append needs. Every other method does that too; this one is for an append that
    /// waits while nothing else happens, as after a start with a segment that is nearly full.
    pub fn make_room(&mut self, ops: &mut Vec<Op>) {
        self.pump(ops);
    }

    /// For a timer, when the log is idle: writes an empty frame behind the last append, unless there is one. It
    /// proves that the append was acknowledged, so that later damage to it cannot pass for a torn write.
    pub fn settle(&mut self, ops: &mut Vec<Op>) {
        if self.unproven && self.pending.is_empty() && self.journal.is_idle() && self.can_submit(&[]) {
            self.submit(None, None, &[], ops);
            self.unproven = false;
            self.journal.upkeep(false, ops);
        }
    }

    fn check_entries(&self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.start_index && first.index <= self.last_index.next(), "a gap in the log");
        assert!(entries.windows(2).all(|w| w[0].index.next() == w[1].index), "entries are not consecutive");
    }

    fn has_room_for_a_frame(&self) -> bool {
        self.journal.room_bytes() >= self.journal.options().frame_bytes_max
    }

    /// Asks the disk again, once for each time that the room runs out; after that it is the timer's to ask.
    fn ask_for_room(&mut self) {
        if self.journal.is_starved() && !self.asked {
            self.asked = true;
            self.journal.retry();
        }
    }

    fn has_room(&self, parts: &[&[Entry]]) -> bool {
        if !self.journal.is_starved() {
            return true;
        }
        let bytes: usize = parts.iter().map(|p| frame_bytes(Frame::encoded_bytes_max(p))).sum();
        let empty = parts.iter().all(|p| p.is_empty());
        if empty { self.can_submit(&[]) } else { self.journal.room_bytes() >= bytes }
    }

    fn can_submit(&self, entries: &[Entry]) -> bool {
        self.journal.can_submit(Frame::encoded_bytes_max(entries), room(entries))
    }

    /// Submits what waits, as far as flush slots and prepared segments go.
    fn pump(&mut self, ops: &mut Vec<Op>) {
        while let Some(part) = self.pending.pop_front() {
            if !self.can_submit(&part.entries) {
                self.pending.push_front(part);
                break;
            }
            self.submit(part.id, part.hard_state, &part.entries, ops);
        }
        if self.announce && self.pending.is_empty() && self.can_submit(&[]) {
            self.submit(None, None, &[], ops);
        }
        if !self.pending.is_empty() || !self.has_room_for_a_frame() {
            self.ask_for_room();
        } else {
            self.asked = false;
        }
        self.journal.upkeep(!self.pending.is_empty(), ops);
    }

    fn submit(
        &mut self,
        id: Option<u64>,
        hard_state: Option<HardState>,
        entries: &[Entry],
        ops: &mut Vec<Op>,
    ) {
        self.encode(hard_state, entries);
        let mark = entries.last().map_or(0, |e| e.index.0);
        self.journal.submit(id, mark, self.fbb.finished_data(), room(entries), ops);
        self.announce = false;
        self.unproven = true;
    }

    fn encode(&mut self, hard_state: Option<HardState>, entries: &[Entry]) {
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        let (start_index, start_term) = (self.start_index, self.start_term);
        FrameRef { hard_state: Some(self.hard_state), start_index, start_term, entries }
            .encode(&mut self.fbb);
        debug_assert!(self.fbb.finished_data().len() <= Frame::encoded_bytes_max(entries));
    }
}

fn room(entries: &[Entry]) -> Room {
    if entries.is_empty() { Room::Reserve } else { Room::Ordinary }
}

/// Cuts `entries` into parts that each fit a frame; an entry that is too large for a registered buffer is a part of
/// its own. At least one part, which may be empty.
fn split<'a>(entries: &'a [Entry], options: &Options) -> Vec<&'a [Entry]> {
    let body_max = options.frame_bytes_max - HEADER_BYTES;
    let mut parts = Vec::with_capacity(1);
    let mut rest = entries;
    while Frame::encoded_bytes_max(rest) > body_max && rest.len() > 1 {
        let fits = |&n: &usize| Frame::encoded_bytes_max(&rest[..n]) <= body_max;
        let count = (2..rest.len()).take_while(fits).last().unwrap_or(1);
        let (part, after) = rest.split_at(count);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    for part in &parts {
        assert!(
            Frame::encoded_bytes_max(part) <= options.body_bytes_max(),
            "an entry is larger than a segment"
        );
    }
    parts
}
