//! The Raft log of one member as the judge has it, read off the frames that the process submits.

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::CompactionRequest;
use windlass_io_log::frame::Header;
use windlass_io_log::raft_log::Recovered;
use windlass_io_log::segment::FIRST_FRAME_AT;
use windlass_raft::ConfChange;
use windlass_records::batch::{Batch, Command, CommandKind};
use windlass_records::log::{Entry, EntryKind, Frame};
use windlass_types::{LogIndex, MemberId, Revision, Term};

use super::{Asked, Identity};
use crate::check::{Check, Violation, ensure};
use crate::env::site_of;

pub(super) const ENCODED: &str = "the simulated clients encode what they send";

/// A command of an entry.
#[derive(Clone, Debug)]
pub struct Said {
    /// The request, if a client asked for it.
    pub asked: Option<Asked>,
    /// What it is.
    pub kind: CommandKind,
    /// Who asked, as it says.
    pub who: Identity,
    /// The request's bytes.
    pub payload: Bytes,
}

/// An entry that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its term.
    pub term: Term,
    /// What it is.
    pub kind: EntryKind,
    /// A batch, a change of the membership, or nothing.
    pub data: Bytes,
}

impl Logged {
    fn of(entry: Entry) -> Self {
        Self { term: entry.term, kind: entry.kind, data: entry.data }
    }

    fn batch(&self) -> Option<Batch> {
        let data = match self.kind {
            EntryKind::Normal => self.data.clone(),
            EntryKind::ConfChange => ConfChange::decode(&self.data).expect("just written").context,
        };
        (!data.is_empty()).then(|| Batch::parse(data).expect("just written"))
    }

    /// The commands in it.
    pub fn commands(&self) -> Vec<Said> {
        let Some(batch) = self.batch() else { return Vec::new() };
        let origin = batch.origin();
        let asked = |c: &Command| {
            (origin.member != MemberId::ZERO).then(|| Asked {
                site: site_of(origin.member),
                life: origin.incarnation as u32,
                id: c.id,
            })
        };
        let said = |c: Command| Said {
            asked: asked(&c),
            kind: c.kind,
            who: Identity::decode(&batch.data()[c.credential()]),
            payload: batch.data().slice(c.payload.clone()),
        };
        batch.commands().map(said).collect()
    }

    /// The requests in it.
    pub fn requests(&self) -> impl Iterator<Item = Asked> {
        self.commands().into_iter().filter_map(|said| said.asked)
    }

    /// The revisions that it may compact.
    pub fn compactions(&self) -> impl Iterator<Item = Revision> + use<> {
        let compactions = self.commands().into_iter().filter(|said| said.kind == CommandKind::Compaction);
        compactions.map(|said| Revision(CompactionRequest::decode(said.payload).expect(ENCODED).revision))
    }
}

/// An entry in the log of one member.
struct Written {
    entry: Logged,
    /// Whether the member may have got it in its term; in a later one it counts for no majority.
    in_term: bool,
}

impl Written {
    /// What a start found or wrote: nobody knows in which term it came.
    fn found(entry: Entry) -> Self {
        Self { entry: Logged::of(entry), in_term: true }
    }
}

/// What a write to the log replaces: entries from this one on.
pub struct Replaced {
    first: LogIndex,
    entries: Vec<Written>,
}

/// All entries from one index on.
#[derive(Default)]
pub struct Log {
    start: LogIndex,
    entries: Vec<Written>,
    /// The member's term as its writes tell it.
    term: Term,
}

impl Log {
    /// What a start wrote in place of everything.
    pub fn begun(content: &Recovered) -> Self {
        let entries = content.entries.iter().cloned().map(Written::found).collect();
        Self { start: content.start_index, entries, term: content.hard_state.term }
    }

    /// Everything up to here came with a snapshot.
    pub fn start(&self) -> LogIndex {
        self.start
    }

    /// Index of the last entry.
    pub fn last(&self) -> LogIndex {
        LogIndex(self.start.0 + self.entries.len() as u64)
    }

    /// One entry.
    pub fn get(&self, index: LogIndex) -> Option<&Logged> {
        let at = index.0.checked_sub(self.start.0 + 1)?;
        self.entries.get(at as usize).map(|written| &written.entry)
    }

    /// Whether an entry may have been written in its term.
    pub fn is_in_term(&self, index: LogIndex) -> bool {
        let at = index.0.checked_sub(self.start.0 + 1);
        at.and_then(|at| self.entries.get(at as usize)).is_none_or(|written| written.in_term)
    }

    /// The entries from here on.
    pub fn from(&self, index: LogIndex) -> impl Iterator<Item = &Logged> {
        let entries = self.entries.iter().map(|written| &written.entry);
        entries.skip(index.0.saturating_sub(self.start.0 + 1) as usize)
    }

    /// Takes what a write to the log holds; index of its first entry, if it holds any, and what that and the others replace.
    pub fn submit(&mut self, bytes: &[u8], begins: bool) -> Result<Option<(LogIndex, Replaced)>, Violation> {
        let bytes = if begins { &bytes[FIRST_FRAME_AT..] } else { bytes };
        let header = Header::read(bytes).expect("a write to the log is a frame");
        let body = header.body(bytes).expect("a write to the log is a whole frame");
        let frame = Frame::parse(&Bytes::copy_from_slice(body)).expect("a frame of the log parses");
        self.term = frame.hard_state.map_or(self.term, |hard_state| hard_state.term);
        let Some(first) = frame.entries.first().map(|e| e.index) else { return Ok(None) };
        ensure(first <= self.last().next() && first > self.start, Check::Missing, || {
            format!("entry {first} does not follow what is in the log, {} to {}", self.start, self.last())
        })?;
        let entries = self.entries.split_off((first.0 - self.start.0 - 1) as usize);
        let term = self.term;
        let written = |e: Entry| Written { in_term: e.term >= term, entry: Logged::of(e) };
        self.entries.extend(frame.entries.into_iter().map(written));
        Ok(Some((first, Replaced { first, entries })))
    }

    /// Keeps what a start found; number of entries that are lost. What was written last and not reported as durable may
    /// not be there, and what it was to replace is then.
    pub fn recover(&mut self, found: &Recovered, mut replaced: Vec<Replaced>) -> Result<u64, Violation> {
        let before = self.last();
        while let Err(violation) = self.check(found) {
            let Some(Replaced { first, entries }) = replaced.pop() else { return Err(violation) };
            self.entries.truncate((first.0 - self.start.0 - 1) as usize);
            self.entries.extend(entries);
        }
        let last = found.entries.last().map_or(found.start_index, |e| e.index);
        self.entries.truncate(last.0.saturating_sub(self.start.0) as usize);
        self.term = found.hard_state.term;
        Ok(before.0.saturating_sub(last.0))
    }

    /// Whether a start may find this.
    fn check(&self, found: &Recovered) -> Result<(), Violation> {
        let last = found.entries.last().map_or(found.start_index, |e| e.index);
        ensure(last <= self.last(), Check::State, || format!("entry {last} is found and was never written"))?;
        for entry in &found.entries {
            let Some(written) = self.get(entry.index) else { continue };
            ensure(entry.term == written.term && entry.data == written.data, Check::Missing, || {
                format!("entry {} is found other than it was written", entry.index)
            })?;
        }
        Ok(())
    }
}
