//! The judge: the log as it was written, the sequential model over it, and what clients were told.
//!
//! It sees every frame of the Raft log when it is submitted, so it knows the log without asking the code under test.
//! What was submitted and is found after a restart takes effect in that order; what was told to a client must be what
//! the model says at that place.

mod leases;
mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use windlass_io_log::raft_log::Recovered;
use windlass_mvcc::HashSum;
use windlass_records::batch::CommandKind;
use windlass_records::state::State;
use windlass_replica::oracle::Oracle;
use windlass_replica::sequencer::Response;
use windlass_types::{LogIndex, RequestError, RequestId, Revision};

use crate::check::{Check, Violation, ensure};
use crate::report::{Count, Totals};
use leases::{Leases, Place};
use log::{Log, Logged, model_answer};

/// An answer to a write.
pub type Answer = Result<Response, RequestError>;

/// The store after an entry, as the model has it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    state: State,
    hash: HashSum,
}

/// What the model says to a write of the present life.
struct Expected {
    index: LogIndex,
    kind: CommandKind,
    answer: Answer,
}

/// The judge.
pub struct Checker {
    log: Log,
    oracle: Rc<Oracle>,
    leases: Leases,
    /// The store after each entry that was ever applied, from 0.
    marks: Vec<Mark>,
    /// The newest entry of which a client was told something.
    told: LogIndex,
    /// The newest entry that a client has seen the effects of.
    seen: LogIndex,
    stable: LogIndex,
    /// Revisions that clients were told their puts made.
    revisions: BTreeSet<Revision>,
    /// Number of the process's present life; ids of requests mean something within one only.
    life: u32,
    /// Writes of this life without an answer, and what was seen when they began.
    open: BTreeMap<RequestId, LogIndex>,
    expected: BTreeMap<RequestId, Expected>,
    /// Writes of this life that were refused.
    refused: BTreeSet<RequestId>,
}

impl Default for Checker {
    fn default() -> Self {
        let oracle = Oracle::default();
        let mark = Mark { state: State::EMPTY, hash: oracle.hash() };
        Self {
            log: Log::default(),
            oracle: Rc::new(oracle),
            leases: Leases::default(),
            marks: vec![mark],
            told: LogIndex(0),
            seen: LogIndex(0),
            stable: LogIndex(0),
            revisions: BTreeSet::new(),
            life: 0,
            open: BTreeMap::new(),
            expected: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }
}

impl Checker {
    /// The newest entry that was ever applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.marks.len() as u64 - 1)
    }

    /// The model after that entry.
    #[must_use]
    pub fn oracle(&self) -> Rc<Oracle> {
        Rc::clone(&self.oracle)
    }

    /// The highest revision that may be compacted by now: a shard hears of it before the entry is applied whole.
    #[must_use]
    pub fn newest_compaction(&self) -> Revision {
        let entries = self.log.from(self.applied().next());
        let under_way = entries.flat_map(Logged::compactions).max();
        self.oracle.compact_revision().max(under_way.unwrap_or_default())
    }

    /// The newest entry that a client has seen the effects of.
    #[must_use]
    pub fn seen(&self) -> LogIndex {
        self.seen
    }

    /// A client sees the effects of everything up to here.
    pub fn see(&mut self, index: LogIndex) {
        self.seen = self.seen.max(index);
    }

    /// Number of writes without an answer.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The process died: what was not answered never will be.
    pub fn died(&mut self, totals: &mut Totals) {
        totals.add(Count::WritesUnknown, self.open.len() as u64);
        self.life += 1;
        self.open.clear();
        self.expected.clear();
        self.refused.clear();
    }

    /// A client asks for a write.
    pub fn begin(&mut self, id: RequestId) {
        let twice = self.open.insert(id, self.seen);
        assert!(twice.is_none(), "ids of requests differ");
    }

    /// The process submits a write to the Raft log.
    ///
    /// # Errors
    /// If it holds what must not be in the log.
    pub fn submitted(&mut self, bytes: &[u8], begins_segment: bool) -> Result<(), Violation> {
        let applied = self.applied();
        let first = self.log.submit(bytes, begins_segment, self.life)?;
        let Some(first) = first else { return Ok(()) };
        ensure(first > applied, Check::Missing, || {
            format!("entry {first} is replaced after it was applied")
        })?;
        for entry in self.log.from(first) {
            for id in entry.requests() {
                ensure(!self.refused.contains(&id), Check::RefusedHadEffect, || {
                    format!("request {id} was refused, and is in the log")
                })?;
            }
        }
        Ok(())
    }

    /// A start found this log.
    ///
    /// # Errors
    /// If something is missing.
    pub fn recovered(&mut self, found: &Recovered, totals: &mut Totals) -> Result<(), Violation> {
        let last = found.entries.last().map_or(found.start_index, |e| e.index);
        let known = self.told.max(self.applied());
        ensure(last >= known, Check::Missing, || {
            format!("the log ends at {last}, but entry {known} was acknowledged or applied")
        })?;
        let lost = self.log.recover(found)?;
        totals.add(Count::EntriesLost, lost);
        Ok(())
    }

    /// The shards were loaded as of `state`, and have this hash.
    ///
    /// # Errors
    /// If the model has another one.
    pub fn restored(&mut self, state: &State, hash: HashSum) -> Result<(), Violation> {
        ensure(state.index >= self.stable, Check::Missing, || {
            format!("the shards start at {}, but {} was stable", state.index, self.stable)
        })?;
        self.compare(state, hash)
    }

    /// The log was cut here.
    pub fn cut(&mut self, index: LogIndex) {
        self.stable = self.stable.max(index);
    }

    /// Whether the log is cut at its end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.stable == self.log.last()
    }

    /// The sequencer has numbered an entry.
    ///
    /// # Errors
    /// If its state is not the model's.
    pub fn applied_entry(&mut self, state: State, now_ns: u64, totals: &mut Totals) -> Result<(), Violation> {
        let applied = self.applied();
        if state.index <= applied {
            totals.count(Count::EntriesReplayed);
            let mark = self.marks[state.index.0 as usize].state;
            return ensure(state == mark, Check::State, || {
                format!("entry {} gives {state:?} the second time, {mark:?} before", state.index)
            });
        }
        ensure(state.index == applied.next(), Check::State, || {
            format!("entry {} is applied after entry {applied}", state.index)
        })?;
        let ended = self.advance(state.index, now_ns)?;
        totals.add(Count::LeasesEnded, ended);
        let mark = self.marks[state.index.0 as usize].state;
        ensure(state == mark, Check::State, || {
            format!("the state after entry {} is {state:?} instead of {mark:?}", state.index)
        })
    }

    /// A client of this life is answered; the entry of its write, unless that was refused.
    ///
    /// # Errors
    /// If the answer is wrong.
    pub fn answered(&mut self, id: RequestId, answer: &Answer) -> Result<Option<LogIndex>, Violation> {
        let began = self.open.remove(&id);
        let Some(began) = began else {
            return Err(Violation::new(
                Check::Unasked,
                format!("request {id} is answered, but nobody waits"),
            ));
        };
        if let Err(error) = answer
            && is_refusal(*error)
        {
            return self.note_refusal(id, *error).map(|()| None);
        }
        let Some(expected) = self.expected.remove(&id) else {
            let text = format!("request {id} is answered before its entry is applied: {answer:?}");
            return Err(Violation::new(Check::Answer, text));
        };
        if let (CommandKind::Put, Ok(Response::Put(put))) = (expected.kind, answer) {
            let revision = Revision(put.header.as_ref().map_or(0, |header| header.revision));
            ensure(self.revisions.insert(revision), Check::RevisionReused, || {
                format!("request {id} is told revision {revision}, like another one before")
            })?;
        }
        let Expected { index, answer: want, .. } = expected;
        ensure(*answer == want, Check::Answer, || {
            format!("request {id} in entry {index}\n  is told {answer:?}\n  instead of {want:?}")
        })?;
        ensure(index > began, Check::Order, || {
            format!("request {id} is in entry {index}, though entry {began} was seen before it began")
        })?;
        self.told = self.told.max(index);
        Ok(Some(index))
    }

    /// The shards are at rest after the last entry, and have this hash.
    ///
    /// # Errors
    /// If the model has another one.
    pub fn at_rest(&self, state: &State, hash: HashSum) -> Result<(), Violation> {
        let last = self.log.last();
        ensure(state.index == last, Check::State, || format!("at rest at {}, not at {last}", state.index))?;
        self.compare(state, hash)
    }

    fn compare(&self, state: &State, hash: HashSum) -> Result<(), Violation> {
        let index = state.index;
        let Some(mark) = self.marks.get(index.0 as usize) else {
            return Err(Violation::new(
                Check::State,
                format!("a state of entry {index}, which was never applied"),
            ));
        };
        ensure(*state == mark.state, Check::State, || format!("{state:?} instead of {:?}", mark.state))?;
        ensure(hash == mark.hash, Check::State, || {
            format!("the shards' hash at {index} is {hash:?} instead of {:?}", mark.hash)
        })
    }

    fn note_refusal(&mut self, id: RequestId, error: RequestError) -> Result<(), Violation> {
        let in_log = self
            .log
            .from(self.applied().next())
            .any(|e| e.life == self.life && e.requests().any(|r| r == id));
        ensure(!in_log && !self.expected.contains_key(&id), Check::RefusedHadEffect, || {
            format!("request {id} is refused ({error}), but is in the log")
        })?;
        self.refused.insert(id);
        Ok(())
    }

    /// Applies an entry to the model; number of leases that it ends because their time is over.
    fn advance(&mut self, index: LogIndex, now_ns: u64) -> Result<u64, Violation> {
        let Some(entry) = self.log.get(index) else {
            return Err(Violation::new(
                Check::State,
                format!("entry {index} is applied and was never written"),
            ));
        };
        let is_ours = entry.life == self.life;
        let (term, commands) = (entry.term, entry.commands());
        let oracle = Rc::make_mut(&mut self.oracle);
        let place = Place { index, term, now_ns };
        let mut ended = 0;
        for (command, payload) in commands {
            let answer = model_answer(oracle, command.kind, payload.clone());
            let succeeded = answer.as_ref().is_some_and(Result::is_ok);
            ended += self.leases.follow(oracle, command.kind, payload, succeeded, place)?;
            if let Some(answer) = answer.filter(|_| is_ours) {
                let expected = Expected { index, kind: command.kind, answer };
                self.expected.insert(command.id, expected);
            }
        }
        let (revision, compact_revision) = (oracle.revision(), oracle.compact_revision());
        let state = State { index, term, revision, compact_revision };
        self.marks.push(Mark { state, hash: oracle.hash() });
        Ok(ended)
    }
}

/// Whether the error says that the write is in no log.
#[must_use]
pub fn is_refusal(error: RequestError) -> bool {
    matches!(
        error,
        RequestError::NoSpace
            | RequestError::NoLeader
            | RequestError::LeaderChanged
            | RequestError::TooManyRequests
            | RequestError::Unhealthy
    )
}
