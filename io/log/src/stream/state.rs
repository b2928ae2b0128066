//! The sequencer's stream: its whole state in each frame, the newest that `stable` allows wins.

use std::collections::VecDeque;

use flatbuffers::FlatBufferBuilder;
use windlass_records::state::State;
use windlass_types::LogIndex;

use super::preamble::{Base, Kind, Ordinal};
use super::writer::{Draft, Writer, open_journal};
use super::{Options, Request};
use crate::error::Error;
use crate::folder::Folder;
use crate::journal::{Fatal, Journal};
use crate::op::Completion;

/// The sequencer's stream as a start finds it; nothing was changed on the disk yet.
pub struct StateHistory {
    options: Options,
    journal: Journal,
    last: Ordinal,
    /// In order of index.
    states: Vec<State>,
}

impl StateHistory {
    /// Reads the stream in `folder`, which may be empty.
    ///
    /// # Errors
    /// See [`Error`]; damage names file and offset.
    pub fn open(options: Options, folder: &mut dyn Folder) -> Result<Self, Error> {
        let (mut last, mut states) = (Ordinal(0), Vec::<State>::new());
        let journal = open_journal(&options, folder, &mut |preamble, record| {
            let state = State::parse(&record).map_err(|e| e.to_string())?;
            if state.index != preamble.index {
                return Err("the frame and its state differ in index".into());
            }
            last = preamble.ordinal;
            match preamble.kind {
                Kind::Boot => states.retain(|s| s.index < state.index),
                Kind::Data if states.last().is_none_or(|s| s.index < state.index) => {}
                Kind::Data => return Err("the stream's index falls".into()),
                Kind::Chunk => return Err("a checkpoint among states".into()),
            }
            states.push(state);
            Ok(())
        })?;
        Ok(Self { options, journal, last, states })
    }

    /// Where the state is known, in order of index; the empty store's at 0 is not listed.
    #[must_use]
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// Cuts the stream at `state`, which is one of [`states`](Self::states) or [`State::EMPTY`], and opens it for
    /// writing. For a stream that was just made, `state` is what it begins with.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Disk`].
    pub fn start(self, folder: &mut dyn Folder, state: State) -> Result<StateStream, Error> {
        let mut fbb = FlatBufferBuilder::new();
        state.encode(&mut fbb);
        let boot = Draft::new(Kind::Boot, state.index, fbb.finished_data());
        let next = Ordinal(self.last.0 + 1);
        let writer = Writer::boot(self.journal, folder, next, Base::START, boot)?;
        Ok(StateStream {
            options: self.options,
            writer,
            fbb,
            newest: state,
            queued: state.index,
            durable: VecDeque::from([(state.index, next)]),
            waiting_since_ns: None,
            forced: false,
        })
    }
}

/// The sequencer's stream, open for writing.
pub struct StateStream {
    options: Options,
    writer: Writer,
    fbb: FlatBufferBuilder<'static>,
    newest: State,
    /// Index of the state that was submitted last.
    queued: LogIndex,
    /// The durable states from the stable one on, one for each flush, and the frames that hold them.
    durable: VecDeque<(LogIndex, Ordinal)>,
    waiting_since_ns: Option<u64>,
    forced: bool,
}

impl StateStream {
    /// Takes the state after another entry; what was not flushed before is forgotten.
    pub fn append(&mut self, state: State) {
        assert!(state.index >= self.newest.index, "log indexes rise");
        self.newest = state;
    }

    /// Every stream has everything up to `index`: earlier states are not needed.
    pub fn set_stable(&mut self, index: LogIndex) {
        while self.durable.get(1).is_some_and(|&(next, _)| next <= index) {
            self.durable.pop_front();
        }
        let (_, frame) = *self.durable.front().expect("never empty");
        // Whatever is written next will say so; a few KiB are in no hurry.
        let _ = self.writer.retire_before(frame);
    }

    /// Flushes with the next [`tick`](Self::tick), whatever its age.
    pub fn flush(&mut self) {
        self.forced = true;
    }

    /// Takes the time and starts what is due. Call after each group of other calls, and at
    /// [`deadline_ns`](Self::deadline_ns).
    pub fn tick(&mut self, now_ns: u64, out: &mut Vec<Request>) {
        self.writer.tick(now_ns, out);
        if self.newest.index <= self.queued {
            (self.waiting_since_ns, self.forced) = (None, false);
            return;
        }
        let since = *self.waiting_since_ns.get_or_insert(now_ns);
        if self.forced || now_ns.saturating_sub(since) >= self.options.flush_age_ns {
            self.submit(out);
        }
    }

    /// Takes the end of one operation.
    ///
    /// # Errors
    /// The disk failed; the process must end.
    pub fn complete(&mut self, completion: Completion, out: &mut Vec<Request>) -> Result<(), Fatal> {
        if let Some(flight) = self.writer.complete(completion, out)? {
            self.durable.push_back((flight.index, flight.ordinal));
        }
        if self.forced && self.newest.index > self.queued {
            self.submit(out);
        }
        Ok(())
    }

    /// The newest index whose state would survive a power failure.
    #[must_use]
    pub fn durable_index(&self) -> LogIndex {
        self.durable.back().expect("never empty").0
    }

    /// Whether the newest state is durable.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.durable_index() == self.newest.index
    }

    /// Whether the disk had no room for what waits to be written; tried again at [`deadline_ns`](Self::deadline_ns).
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.writer.retry_at_ns().is_some()
    }

    /// When [`tick`](Self::tick) is wanted at the latest; `None` while there is nothing to wait for.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        // The end of an operation comes first: of the write in flight, or of the preparation of a segment.
        let idle = !self.writer.is_writing() && !self.writer.is_waiting();
        let flush = self.waiting_since_ns.filter(|_| idle);
        let flush = flush.map(|since| since + self.options.flush_age_ns);
        // While there is no room, the time of the next attempt counts.
        self.writer.retry_at_ns().or(flush)
    }

    fn submit(&mut self, out: &mut Vec<Request>) {
        if self.writer.is_writing() {
            return;
        }
        self.newest.encode(&mut self.fbb);
        let draft = Draft::new(Kind::Data, self.newest.index, self.fbb.finished_data());
        if self.writer.submit(draft, Base::START, out).is_ok() {
            self.queued = self.newest.index;
            (self.waiting_since_ns, self.forced) = (None, false);
        }
    }
}
