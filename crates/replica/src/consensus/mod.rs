//! The consensus core of one member, pure: Raft, its log and the sequencer joined.
//!
//! It never touches a disk, a socket, a clock or a thread. The life of a write:
//!
//! 1. [`Input::Propose`] adds commands to those that are *gathered*.
//! 2. [`Consensus::flush`] makes all gathered commands one entry as soon as the log can flush: natural group commit.
//! 3. Raft hands the entry out to be persisted; the log turns it into one disk write.
//! 4. [`Input::Disk`] reports it durable; Raft commits it; the sequencer numbers it; the replies and the shards' tasks
//!    come out.
//!
//! Invariant: a reply to a write leaves only after Raft committed its entry, and Raft counts this member only for what
//! its log reported durable.

mod api;

use std::collections::VecDeque;

use bytes::Bytes;
use windlass_io_log::raft_log::{RaftLog, Space};
use windlass_io_log::stream::Stable;
use windlass_raft::{Action, DropReason, Persist, PersistId, Raft, ReadId};
use windlass_records::batch::{Batch, BatchBuilder, Pool};
use windlass_records::log::{Entry, EntryKind};
use windlass_records::state::State;
use windlass_types::{LogIndex, MemberId, RequestError, RequestId, Term};

pub use api::{
    BATCH_COMMANDS_MAX, CATCH_UP_RETRY_NS, Error, GATHERED_BYTES_MAX, HANDED_BYTES_MAX, Input, Options,
    Output, RestoreError,
};

use crate::sequencer::{self, Sequencer};
use crate::system::System;

/// One member's consensus core.
pub struct Consensus {
    member: MemberId,
    options: Options,
    raft: Raft,
    log: RaftLog,
    sequencer: Sequencer,
    stable: Stable,
    /// Commands that wait for a flush, and since when.
    gathered: BatchBuilder,
    /// The last builder that was proposed, without its commands.
    emptied: Option<BatchBuilder>,
    /// Memory of entries.
    pool: Pool,
    gathered_since_ns: Option<u64>,
    /// Raft's writes that the log has not taken yet, in order.
    persists: VecDeque<Persist>,
    /// Reads whose index is known but not yet numbered, in order of index.
    reads: VecDeque<(LogIndex, ReadId)>,
    /// State after the last numbered entry.
    numbered: State,
    /// First index of each term that may still be asked for, ascending.
    terms: VecDeque<(LogIndex, Term)>,
    /// Entries that some shard has not performed, with their size, and the sum of those.
    handed: VecDeque<(LogIndex, usize)>,
    handed_bytes: usize,
    shards_full: bool,
    reported_full: bool,
    scratch: Scratch,
}

/// Vectors that are reused from step to step.
#[derive(Default)]
struct Scratch {
    actions: Vec<Action>,
    sequenced: Vec<sequencer::Output>,
    ops: Vec<windlass_io_log::op::Op>,
    durable: Vec<u64>,
    /// What Raft is to be told, in order; never fed from within one of its own steps.
    to_raft: VecDeque<windlass_raft::Input>,
}

/// The parts that a start found or made.
pub struct Parts {
    /// Raft, restored from the log, with [`Restored::applied`](windlass_raft::Restored) equal to `state.index`.
    pub raft: Raft,
    /// The log that Raft was restored from.
    pub log: RaftLog,
    /// The sequencer's state at the stable index.
    pub state: State,
    /// The system records of all shards at that index.
    pub system: System,
    /// Number of shards, at least 1.
    pub shards: u16,
}

/// Whether a log that covers `(start, last]` and shards that are stable at `stable` belong together.
pub fn check_restore(start: LogIndex, last: LogIndex, stable: LogIndex) -> Result<(), RestoreError> {
    if stable < start {
        return Err(RestoreError::Gap { stable, start });
    }
    if stable > last {
        return Err(RestoreError::LogBehind { stable, last });
    }
    Ok(())
}

impl Consensus {
    /// Joins the parts. The caller has used [`check_restore`].
    #[must_use]
    pub fn new(member: MemberId, options: Options, parts: Parts) -> Self {
        let Parts { raft, log, state, system, shards } = parts;
        let mut sequencer = Sequencer::new(member, shards, state, system);
        sequencer.recovered(log.last_index());
        Self {
            member,
            options,
            raft,
            log,
            sequencer,
            stable: Stable::new(usize::from(shards) + 1, state.index),
            gathered: BatchBuilder::default(),
            emptied: None,
            pool: Pool::default(),
            gathered_since_ns: None,
            persists: VecDeque::new(),
            reads: VecDeque::new(),
            numbered: state,
            terms: VecDeque::from([(state.index, state.term)]),
            handed: VecDeque::new(),
            handed_bytes: 0,
            shards_full: false,
            reported_full: false,
            scratch: Scratch::default(),
        }
    }

    /// Stands for election now: a sole voter need not wait for a timeout.
    pub fn campaign(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        self.tell_raft(windlass_raft::Input::Campaign, out)
    }

    /// Takes one input. Call [`flush`](Self::flush) after a group of them.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) -> Result<(), Error> {
        match input {
            Input::Propose(mut commands) => {
                self.gather(&mut commands, out);
                self.emptied = Some(commands);
            }
            Input::Withdraw(ids) => {
                self.gathered.withdraw(&ids);
                if self.gathered.is_empty() {
                    self.gathered_since_ns = None;
                }
            }
            Input::Read(id) => return self.tell_raft(windlass_raft::Input::ReadIndex(id), out),
            Input::Disk(completion) => return self.disk_done(completion, out),
            Input::Shard { shard, answer } => {
                return self.sequence(sequencer::Input::FromShard { shard, answer }, out);
            }
            Input::Durable { stream, index } => return self.stream_durable(stream, index, out),
            Input::Complete(index) => {
                while let Some((_, bytes)) = self.handed.pop_front_if(|entry| entry.0 <= index) {
                    self.handed_bytes -= bytes;
                }
            }
            Input::ShardsFull(full) => self.shards_full = full,
            Input::Receive(message) => return self.tell_raft(windlass_raft::Input::Receive(message), out),
            Input::Tick => {
                self.log.settle(&mut self.scratch.ops);
                return self.tell_raft(windlass_raft::Input::Tick, out);
            }
            Input::RetrySpace => {
                self.log.retry(&mut self.scratch.ops);
                self.submit_persists(out);
            }
        }
        self.report_full(out);
        Ok(())
    }

    /// Starts as many flushes as the log can take. Returns when to call again although nothing happened, if a linger
    /// runs or the shards are behind. `now_ns` is any monotonic clock.
    pub fn flush(&mut self, now_ns: u64, out: &mut Vec<Output>) -> Result<Option<u64>, Error> {
        while !self.gathered.is_empty() && self.persists.is_empty() && self.log.can_flush() {
            if self.handed_bytes >= HANDED_BYTES_MAX {
                return Ok(Some(now_ns + CATCH_UP_RETRY_NS));
            }
            let since = *self.gathered_since_ns.get_or_insert(now_ns);
            let due = since + self.options.linger_ns;
            if now_ns < due && self.gathered.payload_bytes() < self.options.batch_bytes_max {
                return Ok(Some(due));
            }
            self.gathered_since_ns = None;
            let data = self.next_batch();
            let proposal = windlass_raft::Input::Propose { kind: EntryKind::Normal, data };
            self.tell_raft(proposal, out)?;
        }
        Ok(None)
    }

    /// The memory of what was proposed last, for whoever proposed it to use again.
    pub fn take_emptied(&mut self) -> Option<BatchBuilder> {
        self.emptied.take().filter(BatchBuilder::is_empty)
    }

    /// Raft, for status.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// State after the last numbered entry.
    #[must_use]
    pub fn numbered(&self) -> State {
        self.numbered
    }

    /// Commands that are gathered and not yet proposed.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.gathered.len()
    }

    fn gather(&mut self, commands: &mut BatchBuilder, out: &mut Vec<Output>) {
        let refusal = if self.is_full() {
            Some(RequestError::NoSpace)
        } else if self.raft.leader() != self.member {
            Some(RequestError::NoLeader)
        } else if self.gathered.payload_bytes() + commands.payload_bytes() > GATHERED_BYTES_MAX {
            Some(RequestError::TooManyRequests)
        } else {
            None
        };
        match refusal {
            Some(error) => refuse(commands.request_ids(), error, out),
            None => self.gathered.take_front(commands, usize::MAX),
        }
    }

    fn next_batch(&mut self) -> Bytes {
        let count = self.gathered.fitting(self.options.batch_bytes_max).min(BATCH_COMMANDS_MAX);
        if count == self.gathered.len() {
            return self.gathered.finish_in(self.member, &self.pool);
        }
        let mut front = BatchBuilder::default();
        front.take_front(&mut self.gathered, count);
        front.finish_in(self.member, &self.pool)
    }

    fn is_full(&self) -> bool {
        self.shards_full || self.log.space() == Space::Full
    }

    /// Tells the shell when writes begin or cease to be refused, and refuses what is gathered and cannot be written.
    fn report_full(&mut self, out: &mut Vec<Output>) {
        let full = self.is_full();
        if full && !self.gathered.is_empty() {
            refuse(self.gathered.request_ids(), RequestError::NoSpace, out);
            self.gathered = BatchBuilder::default();
            self.gathered_since_ns = None;
        }
        if full != self.reported_full {
            self.reported_full = full;
            out.push(Output::Full(full));
        }
    }

    fn disk_done(
        &mut self,
        completion: windlass_io_log::op::Completion,
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let mut durable = std::mem::take(&mut self.scratch.durable);
        self.log.complete(completion, &mut self.scratch.ops, &mut durable).map_err(Error::Log)?;
        self.hand_out_ops(out);
        // One report covers all earlier ones, so Raft need only hear of the last.
        let newest = durable.drain(..).next_back();
        self.scratch.durable = durable;
        if let Some(id) = newest {
            self.tell_raft(windlass_raft::Input::Persisted(PersistId(id)), out)?;
        }
        self.submit_persists(out);
        self.report_full(out);
        Ok(())
    }

    fn stream_durable(&mut self, stream: usize, index: LogIndex, out: &mut Vec<Output>) -> Result<(), Error> {
        let Some(stable) = self.stable.advance(stream, index) else { return Ok(()) };
        let term = self.term_of(stable);
        self.log.cut(stable, term, &mut self.scratch.ops);
        self.hand_out_ops(out);
        out.push(Output::Stable(stable));
        self.tell_raft(windlass_raft::Input::Compact(stable), out)
    }

    /// Feeds Raft and carries out what it wants, until it wants nothing more.
    fn tell_raft(&mut self, input: windlass_raft::Input, out: &mut Vec<Output>) -> Result<(), Error> {
        self.scratch.to_raft.push_back(input);
        while let Some(input) = self.scratch.to_raft.pop_front() {
            let mut actions = std::mem::take(&mut self.scratch.actions);
            self.raft.step(input, &mut actions);
            let outcome = actions.drain(..).try_for_each(|action| self.carry_out(action, out));
            self.scratch.actions = actions;
            outcome?;
        }
        self.submit_persists(out);
        Ok(())
    }

    fn carry_out(&mut self, action: Action, out: &mut Vec<Output>) -> Result<(), Error> {
        match action {
            Action::Persist(persist) => self.persists.push_back(persist),
            Action::Send(message) => out.push(Output::Send(message)),
            Action::Apply(entries) => return entries.into_iter().try_for_each(|e| self.apply(e, out)),
            Action::ReadReady { id, index } => self.read_ready(id, index, out),
            Action::ReadDropped { id } => out.push(Output::ReadDropped(id)),
            Action::ProposalDropped { data, reason, .. } => drop_proposal(data, reason, out),
            Action::RoleChanged { role, term, leader } => {
                out.push(Output::RoleChanged { role, term, leader });
            }
            // Single-member clusters have no peers that change membership, lag or send nonsense.
            Action::MembershipChanged { .. }
            | Action::SnapshotNeeded { .. }
            | Action::MessageRejected { .. } => {}
        }
        Ok(())
    }

    fn apply(&mut self, entry: Entry, out: &mut Vec<Output>) -> Result<(), Error> {
        if self.terms.back().is_none_or(|&(_, term)| term != entry.term) {
            self.terms.push_back((entry.index, entry.term));
        }
        let data = match entry.kind {
            EntryKind::Normal => entry.data,
            // Raft itself acts on it; for the store it is an entry without commands.
            EntryKind::ConfChange => Bytes::new(),
        };
        self.handed.push_back((entry.index, data.len()));
        self.handed_bytes += data.len();
        self.sequence(sequencer::Input::Committed { index: entry.index, term: entry.term, data }, out)
    }

    fn sequence(&mut self, input: sequencer::Input, out: &mut Vec<Output>) -> Result<(), Error> {
        let mut sequenced = std::mem::take(&mut self.scratch.sequenced);
        let outcome = self.sequencer.step(input, &mut sequenced);
        for output in sequenced.drain(..) {
            match output {
                sequencer::Output::ToShard { shard, task } => out.push(Output::ToShard { shard, task }),
                sequencer::Output::Reply { id, result } => out.push(Output::Reply { id, result }),
                sequencer::Output::PutReplies { batch, commands, first_revision } => {
                    out.push(Output::PutReplies { batch, commands, first_revision });
                }
                sequencer::Output::Applied(state) => self.applied(state, out),
            }
        }
        self.scratch.sequenced = sequenced;
        outcome.map_err(|e| Error::Entry { index: self.numbered.index.next(), why: e.to_string() })
    }

    fn applied(&mut self, state: State, out: &mut Vec<Output>) {
        self.numbered = state;
        out.push(Output::Applied(state));
        self.scratch.to_raft.push_back(windlass_raft::Input::Applied(state.index));
        while let Some(&(index, id)) = self.reads.front()
            && index <= state.index
        {
            self.reads.pop_front();
            out.push(Output::ReadReady { id, index: state.index, revision: state.revision });
        }
    }

    fn read_ready(&mut self, id: ReadId, index: LogIndex, out: &mut Vec<Output>) {
        let State { index: numbered, revision, .. } = self.numbered;
        if index <= numbered {
            out.push(Output::ReadReady { id, index: numbered, revision });
        } else {
            self.reads.push_back((index, id));
        }
    }

    fn submit_persists(&mut self, out: &mut Vec<Output>) {
        if !self.persists.is_empty() && !self.log.can_flush() {
            self.log.make_room(&mut self.scratch.ops);
        }
        while !self.persists.is_empty() && self.log.can_flush() {
            let persist = self.persists.front().expect("checked just above");
            let Persist { id, hard_state, ref entries, .. } = *persist;
            if self.log.append(id.0, hard_state, entries, &mut self.scratch.ops).is_err() {
                // No room: it stays, in order, until a retry finds some.
                break;
            }
            self.persists.pop_front();
        }
        self.hand_out_ops(out);
    }

    fn hand_out_ops(&mut self, out: &mut Vec<Output>) {
        out.extend(self.scratch.ops.drain(..).map(Output::Disk));
    }

    /// Term of an entry between the stable index and the last applied one.
    fn term_of(&mut self, index: LogIndex) -> Term {
        while self.terms.len() > 1 && self.terms[1].0 <= index {
            self.terms.pop_front();
        }
        self.terms[0].1
    }
}

fn refuse(ids: impl Iterator<Item = RequestId>, error: RequestError, out: &mut Vec<Output>) {
    out.extend(ids.map(|id| Output::Reply { id, result: Err(error) }));
}

/// Answers the commands of a proposal that Raft did not take: they are in no log.
fn drop_proposal(data: Bytes, reason: DropReason, out: &mut Vec<Output>) {
    let error = match reason {
        DropReason::NotLeader => RequestError::NoLeader,
        DropReason::Transferring => RequestError::LeaderChanged,
        DropReason::TooManyUncommitted | DropReason::LogFull => RequestError::TooManyRequests,
        DropReason::ConfChangePending | DropReason::ConfChangeInvalid => RequestError::Unhealthy,
    };
    let batch = Batch::parse(data).expect("this core encoded it");
    refuse(batch.commands().map(|c| c.id), error, out);
}
