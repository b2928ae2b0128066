//! The consensus core of one member, pure: Raft, its log and the sequencer joined.
//!
//! It never touches a disk, a socket, a clock or a thread. The life of a write:
//!
//! 1. [`Input::Propose`] adds commands to those that are *gathered* (`gather`).
//! 2. [`Consensus::flush`] makes all gathered commands one entry as soon as the log can flush: natural group commit. A
//!    member that does not lead sends them to the leader instead, whose clients they then share an entry with.
//! 3. Raft hands the entry out to be persisted; the log turns it into one disk write, together with whatever else waits
//!    by then (`persist`). Appends to the followers travel meanwhile.
//! 4. [`Input::Disk`] reports it durable; Raft commits it once a quorum has; the sequencer numbers it; the replies and
//!    the shards' tasks come out (`apply`).
//!
//! Invariant: a reply to a write leaves only after Raft committed its entry, and Raft counts this member only for what
//! its log reported durable.
//!
//! Invariant: a command is proposed at most once. What was sent to a leader that is gone is answered by the entry, if
//! it turns up, or with the first entry of a later term, before which it would have to stand (`unsettled`).

mod api;
mod apply;
mod changes;
mod gather;
mod leases;
mod persist;
mod unsettled;

use std::collections::VecDeque;
use std::sync::Arc;

use windlass_io_log::raft_log::{RaftLog, Space};
use windlass_io_log::stream::Stable;
use windlass_raft::{Action, Persist, Raft, ReadId, TraceEvent};
use windlass_records::batch::{BatchBuilder, Origin};
use windlass_records::state::State;
use windlass_types::{LogIndex, MemberId, RequestError, RequestId, Term};

pub use api::{
    BATCH_COMMANDS_MAX, CATCH_UP_RETRY_NS, CHANGES_MAX, Error, FORWARDED_BYTES_MAX, GATHERED_BYTES_MAX,
    HANDED_BYTES_MAX, Input, Linger, Options, Output, RestoreError,
};

use crate::alarm::Alarms;
use crate::auth::Auth;
use crate::lease::{self, Action as LeaseAction, Lessor};
use crate::membership::Members;
use crate::sequencer::{self, Sequencer};
use crate::system::System;
use crate::task::SnapshotId;
use apply::Applying;
use changes::Changes;
use gather::Gathered;
use unsettled::Unsettled;

/// One member's consensus core.
pub struct Consensus {
    us: Origin,
    options: Options,
    raft: Raft,
    log: RaftLog,
    sequencer: Sequencer,
    lessor: Lessor,
    stable: Stable,
    gathered: Gathered,
    unsettled: Unsettled,
    changes: Changes,
    /// Raft's writes that the log has not taken yet, in order.
    persists: VecDeque<Persist>,
    applying: Applying,
    /// Reads whose index is known but not yet numbered, in order of index.
    reads: VecDeque<(LogIndex, ReadId)>,
    /// Reads that found no leader, and the tick at which each gives up.
    leaderless_reads: VecDeque<(ReadId, u64)>,
    /// State after the last numbered entry.
    numbered: State,
    /// First index of each term that may still be asked for, ascending.
    terms: VecDeque<(LogIndex, Term)>,
    /// Members that need a snapshot, until the next entry is numbered whole.
    snapshots_due: Vec<MemberId>,
    /// Snapshots that clients wait for. Bounded by whoever feeds [`Input::Backup`].
    backups_due: usize,
    next_snapshot: SnapshotId,
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
    lease_actions: Vec<LeaseAction>,
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
    /// The system records at the stable index.
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
    /// Joins the parts, as the run `us` of a member. The caller has used [`check_restore`].
    #[must_use]
    pub fn new(us: Origin, options: Options, parts: Parts) -> Self {
        let Parts { raft, log, state, system, shards } = parts;
        Self {
            us,
            options,
            raft,
            log,
            sequencer: Sequencer::new(us, shards, state, system),
            lessor: Lessor::new(lease::Options { extension_ns: options.election_timeout_ns }),
            stable: Stable::new(usize::from(shards) + 1, state.index),
            gathered: Gathered::default(),
            unsettled: Unsettled::default(),
            changes: Changes::default(),
            persists: VecDeque::new(),
            applying: Applying::default(),
            reads: VecDeque::new(),
            leaderless_reads: VecDeque::new(),
            numbered: state,
            terms: VecDeque::from([(state.index, state.term)]),
            snapshots_due: Vec::new(),
            backups_due: 0,
            next_snapshot: SnapshotId::default(),
            shards_full: false,
            reported_full: false,
            scratch: Scratch::default(),
        }
    }

    /// Begins: applies what is known to be committed, and, where this member alone votes, stands for election at once,
    /// for it need not wait for a timeout. To be called once, before any input.
    pub fn begin(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        // Whatever is committed takes effect with the first step.
        self.tell_raft(windlass_raft::Input::Applied(self.numbered.index), out)?;
        if self.raft.membership().is_sole_voter(self.us.member) {
            self.tell_raft(windlass_raft::Input::Campaign, out)?;
        }
        Ok(())
    }

    /// Takes one input. Call [`flush`](Self::flush) after a group of them.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) -> Result<(), Error> {
        match input {
            Input::Propose(commands) => self.gather(commands, out),
            Input::Withdraw(ids) => self.gathered.withdraw(&ids),
            Input::Change { id, kind, member } => self.change_asked(id, kind, &member, out),
            Input::Read(id) => return self.tell_raft(windlass_raft::Input::ReadIndex(id), out),
            Input::Lease { asker, ask } => self.lease_asked(asker, ask, out),
            Input::Disk(completion) => return self.disk_done(completion, out),
            Input::Shard { shard, answer } => {
                return self.sequence(sequencer::Input::FromShard { shard, answer }, out);
            }
            Input::Durable { stream, index } => return self.stream_durable(stream, index, out),
            Input::Complete(index) => return self.shards_complete(index, out),
            Input::ShardsFull(full) => self.shards_full = full,
            Input::Receive(message) => return self.tell_raft(windlass_raft::Input::Receive(message), out),
            Input::Forwarded { from, term, data } => self.take_forwarded((from, term), data, out),
            // An earlier run's requests had the same ids.
            Input::Refused { of, .. } if of != self.us => {}
            Input::Refused { ids, error, .. } => {
                if self.unsettled.refused(&ids) {
                    refuse(ids.into_iter(), error, out);
                }
            }
            Input::Reachable(peer) => self.changes.reachable(peer),
            Input::Unreachable(peer) => {
                self.changes.unreachable(peer);
                return self.tell_raft(windlass_raft::Input::ReportUnreachable(peer), out);
            }
            Input::Dropped(peer) => {
                return self.tell_raft(windlass_raft::Input::ReportUnreachable(peer), out);
            }
            Input::TransferLeader(to) => {
                return self.tell_raft(windlass_raft::Input::TransferLeader(to), out);
            }
            Input::SnapshotWanted(to) => {
                if self.raft.is_leader_ready() && self.raft.membership().contains(to) {
                    self.snapshot_needed(to, out);
                    return self.tell_what_was_applied(out);
                }
            }
            Input::SnapshotSent { to, delivered } => {
                return self.tell_raft(windlass_raft::Input::SnapshotSent { to, delivered }, out);
            }
            Input::Backup => self.backup_wanted(out),
            Input::Tick => return self.tick(out),
            Input::RetrySpace => {
                self.log.retry(&mut self.scratch.ops);
                self.submit_persists(out);
            }
        }
        self.report_full(out);
        Ok(())
    }

    /// What gathered commands wait for from now on. It changes when they are flushed, never what is promised.
    pub fn set_linger(&mut self, linger: Linger) {
        self.options.linger = linger;
    }

    /// Most bytes of commands in one entry from now on. As with the linger, nothing that was promised depends on it.
    pub fn set_batch_bytes_max(&mut self, batch_bytes_max: usize) {
        self.options.batch_bytes_max = batch_bytes_max;
    }

    /// Most flushes of the log in flight from now on, 1 to `FLUSH_DEPTH_MAX` of the log.
    pub fn set_flush_depth(&mut self, flush_depth: usize) {
        self.log.set_flush_depth(flush_depth);
    }

    /// Starts as many flushes as the log can take. Returns when to call again although nothing happened, if a linger
    /// runs or the shards are behind. `now_ns` is any monotonic clock.
    pub fn flush(&mut self, now_ns: u64, out: &mut Vec<Output>) -> Result<Option<u64>, Error> {
        self.lease_turn(now_ns, out)?;
        self.propose_change(out)?;
        self.gathered.offered = self.gathered.commands.len();
        match self.raft.leader() {
            leader if leader == self.us.member => self.propose_due(now_ns, out),
            leader if self.changes.is_reachable(leader) => {
                self.forward(leader, out);
                Ok(None)
            }
            // Nobody leads, or nobody that can be reached, which comes to the same within an election timeout.
            _ => Ok(self.wait_for_leader(now_ns, out)),
        }
    }

    /// The memory of what was proposed last, for whoever proposed it to use again.
    pub fn take_emptied(&mut self) -> Option<BatchBuilder> {
        self.gathered.emptied.take().filter(BatchBuilder::is_empty)
    }

    /// Raft, for status.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// What Raft did since this was asked last, if its configuration says that it notes that.
    #[must_use]
    pub fn take_trace(&mut self) -> Vec<TraceEvent> {
        self.raft.take_trace()
    }

    /// State after the last numbered entry.
    #[must_use]
    pub fn numbered(&self) -> State {
        self.numbered
    }

    /// The members after the last numbered entry.
    #[must_use]
    pub fn members(&self) -> &Members {
        self.sequencer.members()
    }

    /// The alarms after the last numbered entry.
    #[must_use]
    pub fn alarms(&self) -> &Arc<Alarms> {
        self.sequencer.alarms()
    }

    /// Who may do what after the last numbered entry.
    #[must_use]
    pub fn auth(&self) -> &Arc<Auth> {
        self.sequencer.auth()
    }

    /// The system records after the last numbered entry; none while another one is under way.
    #[must_use]
    pub fn system(&self) -> Option<&System> {
        (self.sequencer.waiting() == 0).then(|| self.sequencer.system())
    }

    /// Commands that are gathered and not yet proposed.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.gathered.commands.len()
    }

    /// Commands that wait to be proposed here, those of other members included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gathered.waiting()
    }

    /// Commands that the last [`flush`](Self::flush) took of those that were gathered, its own about leases included.
    #[must_use]
    pub fn taken(&self) -> usize {
        // What it led to may have added some.
        self.gathered.offered.saturating_sub(self.gathered.commands.len())
    }

    fn tick(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        self.log.settle(&mut self.scratch.ops);
        self.changes.tick();
        self.tell_raft(windlass_raft::Input::Tick, out)?;
        self.ask_again(out)?;
        self.hand_over_if_stalled(out)
    }

    fn is_full(&self) -> bool {
        self.shards_full || self.log.space() == Space::Full
    }

    /// Tells the shell when writes begin or cease to be refused, and refuses what is gathered and cannot be written.
    fn report_full(&mut self, out: &mut Vec<Output>) {
        let full = self.is_full();
        if full {
            self.gathered.refuse_all(RequestError::NoSpace, out);
        }
        if full != self.reported_full {
            self.reported_full = full;
            out.push(Output::Full(full));
        }
    }

    /// Feeds Raft and carries out what it wants, until it wants nothing more; then writes what is to be written.
    fn tell_raft(&mut self, input: windlass_raft::Input, out: &mut Vec<Output>) -> Result<(), Error> {
        self.feed_raft(input, out)?;
        self.submit_persists(out);
        Ok(())
    }

    /// As [`tell_raft`](Self::tell_raft), without the writes.
    fn feed_raft(&mut self, input: windlass_raft::Input, out: &mut Vec<Output>) -> Result<(), Error> {
        self.scratch.to_raft.push_back(input);
        self.drain_to_raft(out)
    }

    fn drain_to_raft(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        while let Some(input) = self.scratch.to_raft.pop_front() {
            let mut actions = std::mem::take(&mut self.scratch.actions);
            self.raft.step(input, &mut actions);
            let outcome = actions.drain(..).try_for_each(|action| self.carry_out(action, out));
            self.scratch.actions = actions;
            outcome?;
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action, out: &mut Vec<Output>) -> Result<(), Error> {
        match action {
            Action::Persist(persist) => self.persists.push_back(persist),
            // The place of a snapshot travels with its bytes.
            Action::Send(message) if matches!(message.body, windlass_raft::Body::Snapshot(_)) => {}
            Action::Send(message) => out.push(Output::Send(message)),
            Action::Apply(entries) => return self.apply(entries, out),
            Action::ReadReady { id, index } => self.read_ready(id, index, out),
            Action::ReadDropped { id } if Lessor::is_question(id) => self.lease_dropped(id, out),
            Action::ReadDropped { id } => self.read_dropped(id, out),
            Action::ProposalDropped { kind, data, reason } => self.proposal_dropped(kind, data, reason, out),
            Action::RoleChanged { role, term, leader } => {
                self.role_changed(role, out);
                self.lease_role_changed(role, term, out);
                out.push(Output::RoleChanged { role, term, leader });
            }
            // The sequencer keeps who the members are, in log order.
            Action::MembershipChanged { .. } => {}
            Action::SnapshotNeeded { to } => self.snapshot_needed(to, out),
            Action::MessageRejected { from, fault } => out.push(Output::Rejected { from, fault }),
        }
        Ok(())
    }
}

fn refuse(ids: impl Iterator<Item = RequestId>, error: RequestError, out: &mut Vec<Output>) {
    let asked = ids.filter(|&id| id != lease::INTERNAL);
    out.extend(asked.map(|id| Output::Reply { id, result: Err(error) }));
}
