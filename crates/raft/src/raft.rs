//! The core's state and the frame of a step: an input goes to the module that it concerns, then what is due is handed
//! out. Rules of the protocol are not here but in the modules named after them.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_records::log::{Entry, EntryKind, HardState};
use windlass_types::splitmix::SplitMix64;
use windlass_types::{LogIndex, MemberId, Term};

use crate::log::{Log, entry_bytes};
use crate::persist::{Outbox, Pipeline};
use crate::progress::Progress;
use crate::read_index::Reads;
use crate::{
    Action, Body, ConfChange, Config, DropReason, Input, Membership, Message, PeerProgress, Persist,
    PersistId, Restored, Role, SnapshotMeta,
};

/// The Raft core of one member. See the crate's documentation for the contract.
#[derive(Clone, Debug)]
pub struct Raft {
    pub(crate) config: Config,
    /// For election timeouts only.
    pub(crate) random: SplitMix64,
    pub(crate) term: Term,
    /// Whom this member voted for in `term`.
    pub(crate) vote: MemberId,
    pub(crate) role: Role,
    /// The leader of `term`, zero if unknown.
    pub(crate) leader: MemberId,
    pub(crate) log: Log,
    pub(crate) membership: Membership,
    /// See [`Restored::forced`].
    pub(crate) forced: LogIndex,
    pub(crate) pipeline: Pipeline,
    /// Whether the commit index is worth a write of its own.
    pub(crate) commit_must_be_written: bool,
    /// A snapshot that this step's write has to carry.
    pub(crate) snapshot_to_write: Option<SnapshotMeta>,
    /// As leader: all members but this one.
    pub(crate) peers: BTreeMap<MemberId, Progress>,
    /// As candidate: the answers so far, its own included once it counts.
    pub(crate) votes: BTreeMap<MemberId, bool>,
    pub(crate) reads: Reads,
    /// As leader: no change of membership is taken until this is handed out.
    pub(crate) conf_change_index: LogIndex,
    /// As leader: whom leadership is being handed to, zero if nobody.
    pub(crate) transferee: MemberId,
    /// Ticks since a leader was heard of; as leader, since leadership began to be handed over.
    pub(crate) election_elapsed: u32,
    pub(crate) heartbeat_elapsed: u32,
    /// The present randomised timeout in ticks.
    pub(crate) election_timeout: u32,
    /// Whether this member, as a candidate that came to nothing, has stood again early since it last knew a leader.
    pub(crate) stood_again: bool,
    pub(crate) outbox: Outbox,
}

impl Raft {
    /// A follower with the state found on disk. Panics if the configuration is out of its ranges or the state
    /// contradicts itself, which reading the disk must have found.
    #[must_use]
    pub fn new(config: Config, restored: Restored) -> Self {
        assert!(config.id != MemberId::ZERO, "a member has an id");
        assert!(
            1 <= config.heartbeat_ticks && config.heartbeat_ticks < config.election_ticks,
            "ticks out of range"
        );
        assert!(config.inflight_appends_max >= 1, "a window of no appends");
        let Restored { hard_state, start_index, start_term, entries, applied, membership, forced } = restored;
        let log = Log::new((start_index, start_term), entries, hard_state.commit.max(start_index), applied);
        assert!(log.last_term() <= hard_state.term, "an entry of a term that was never entered");
        let mut raft = Self {
            random: SplitMix64::new(config.seed),
            term: hard_state.term,
            vote: hard_state.vote,
            role: Role::Follower,
            leader: MemberId::ZERO,
            log,
            membership,
            forced,
            pipeline: Pipeline::new(hard_state),
            commit_must_be_written: false,
            snapshot_to_write: None,
            peers: BTreeMap::new(),
            votes: BTreeMap::new(),
            reads: Reads::new(config.incarnation),
            conf_change_index: LogIndex::ZERO,
            transferee: MemberId::ZERO,
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            election_timeout: 0,
            stood_again: false,
            outbox: Outbox::new(config.trace),
            config,
        };
        raft.restart_election_timer();
        raft.note_start();
        raft
    }

    /// Takes one input and appends what follows from it to `actions`, which the caller owns and reuses.
    pub fn step(&mut self, input: Input, actions: &mut Vec<Action>) {
        std::mem::swap(&mut self.outbox.actions, actions);
        let before = (self.role, self.term, self.leader);
        let noted_before = self.noted();
        match input {
            Input::Propose { kind, data } => self.propose(kind, data),
            Input::Persisted(id) => self.persisted(id),
            Input::Applied(index) => self.log.applied_to(index),
            Input::Receive(message) => self.receive(message),
            Input::ReadIndex(id) => self.read(id),
            Input::Tick => self.tick(),
            Input::Campaign => self.campaign(false),
            Input::Compact(index) => self.compact(index),
            Input::TransferLeader(to) => self.transfer_leader(to),
            Input::ReportUnreachable(peer) => self.unreachable(peer),
            Input::SnapshotTaken { to, meta } => self.snapshot_taken(to, meta),
            Input::SnapshotSent { to, delivered } => self.snapshot_sent(to, delivered),
        }
        self.hand_out();
        if before != (self.role, self.term, self.leader) {
            let changed = Action::RoleChanged { role: self.role, term: self.term, leader: self.leader };
            self.outbox.actions.push(changed);
        }
        self.note_ready(noted_before);
        #[cfg(any(test, debug_assertions))]
        self.log.check();
        std::mem::swap(&mut self.outbox.actions, actions);
    }

    /// Applying comes first, because a change of membership that takes effect may append.
    fn hand_out(&mut self) {
        loop {
            let entries = self.log.take_applicable();
            if entries.is_empty() {
                break;
            }
            let conf_changes: Vec<Entry> =
                entries.iter().filter(|e| e.kind == EntryKind::ConfChange).cloned().collect();
            self.outbox.actions.push(Action::Apply(entries));
            conf_changes.into_iter().for_each(|e| self.conf_change_applied(&e));
        }
        self.leave_joint_when_due();
        self.write();
        self.pipeline.hold(&mut self.outbox);
    }

    /// Hands out what is not on its way to disk yet, as one write.
    fn write(&mut self) {
        let entries = self.log.take_unwritten();
        let snapshot = self.snapshot_to_write.take();
        let old = self.pipeline.hard_state;
        // The commit index is mostly a hint that spares a restarted member some waiting: worth a place in a write, not a
        // write. It never runs ahead of what is durable with it.
        let durable = snapshot.as_ref().map_or(self.log.durable(), |s| s.index);
        let commit = self.log.commit().min(durable).max(old.commit);
        let commits = std::mem::take(&mut self.commit_must_be_written) && commit > old.commit;
        let votes = (old.term, old.vote) != (self.term, self.vote);
        if entries.is_empty() && snapshot.is_none() && !votes && !commits {
            return;
        }
        let new = HardState { term: self.term, vote: self.vote, commit };
        self.pipeline.hard_state = new;
        let durable_to = entries.last().map(|e| e.index).or(snapshot.as_ref().map(|s| s.index));
        let candidacy = (votes && self.role == Role::Candidate).then_some(self.term);
        let id = self.pipeline.push(durable_to, candidacy);
        let hard_state = (new != old).then_some(new);
        self.outbox.actions.push(Action::Persist(Persist { id, hard_state, snapshot, entries }));
    }

    fn persisted(&mut self, id: PersistId) {
        let durable = self.pipeline.persisted(id, &mut self.outbox);
        let advances = durable.durable_to.is_some_and(|to| self.log.durable_to(to));
        if durable.candidacy == Some(self.term) && self.role == Role::Candidate {
            self.note_own_vote_durable();
            self.count_vote(self.config.id, true);
        }
        if advances && self.role == Role::Leader {
            self.note_own_append_durable();
            self.commit_and_tell();
        }
    }

    fn propose(&mut self, kind: EntryKind, data: Bytes) {
        match self.refuses(kind, &data) {
            Some(reason) => self.outbox.actions.push(Action::ProposalDropped { kind, data, reason }),
            None => {
                self.append_own(kind, data);
                self.broadcast_appends(false);
            }
        }
    }

    fn refuses(&mut self, kind: EntryKind, data: &Bytes) -> Option<DropReason> {
        if self.role != Role::Leader {
            return Some(DropReason::NotLeader);
        }
        if self.transferee != MemberId::ZERO || self.is_leaving() {
            return Some(DropReason::Transferring);
        }
        if !self.has_room_for(data.len()) {
            return Some(DropReason::TooManyUncommitted);
        }
        if !self.log.make_room(entry_bytes(data.len()), self.config.retained_bytes_max) {
            return Some(DropReason::LogFull);
        }
        if kind == EntryKind::ConfChange {
            return self.refuses_conf_change(data);
        }
        None
    }

    /// Appends an entry as the leader of the term.
    pub(crate) fn append_own(&mut self, kind: EntryKind, data: Bytes) {
        assert_eq!(self.role, Role::Leader, "only a leader makes entries");
        let index = self.log.last_index().next();
        let entry = Entry { term: self.term, index, kind, data };
        self.note_entry(&entry);
        self.log.append(entry);
        self.note_own_append();
        if kind == EntryKind::ConfChange {
            self.conf_change_index = index;
        }
    }

    fn refuses_conf_change(&self, data: &Bytes) -> Option<DropReason> {
        if self.conf_change_index > self.log.handed() {
            return Some(DropReason::ConfChangePending);
        }
        match ConfChange::decode(data).map(|change| self.membership.after(&change)) {
            Ok(Ok(_)) => None,
            _ => Some(DropReason::ConfChangeInvalid),
        }
    }

    pub(crate) fn send(&mut self, to: MemberId, body: Body) {
        self.send_in_term(to, self.term, body);
    }

    pub(crate) fn send_in_term(&mut self, to: MemberId, term: Term, body: Body) {
        let message = Message { from: self.config.id, to, term, body };
        self.note_sent(&message);
        self.outbox.send(message);
    }
}

/// What can be asked at any time, at no cost.
impl Raft {
    /// This member.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.config.id
    }

    /// The present term; it may not be durable yet.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// What this member is in the present term.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The leader of the present term as far as it is known; zero is unknown.
    #[must_use]
    pub fn leader(&self) -> MemberId {
        self.leader
    }

    /// The commit index as far as it is known.
    #[must_use]
    pub fn commit(&self) -> LogIndex {
        self.log.commit()
    }

    /// The highest index that is durable here.
    #[must_use]
    pub fn durable(&self) -> LogIndex {
        self.log.durable()
    }

    /// The highest index that was reported as applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.log.applied()
    }

    /// Entries at or below are not in memory.
    #[must_use]
    pub fn start_index(&self) -> LogIndex {
        self.log.start_index()
    }

    /// The newest entry, durable or not.
    #[must_use]
    pub fn last_index(&self) -> LogIndex {
        self.log.last_index()
    }

    /// Term of an entry, if it is in memory or the last one that was cut.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.log.term(index)
    }

    /// Whether this member leads and an entry of its own term is committed, so that its commit index is current and
    /// reads need not wait for it.
    #[must_use]
    pub fn is_leader_ready(&self) -> bool {
        self.role == Role::Leader && self.log.term(self.log.commit()) == Some(self.term)
    }

    /// As leader: no change of membership is taken before the entry at this index has taken effect.
    #[must_use]
    pub fn conf_change_index(&self) -> LogIndex {
        self.conf_change_index
    }

    /// The membership in effect.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Bytes of log in memory, with a flat cost for each entry.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        self.log.retained_bytes()
    }

    /// Bytes of log that are not known to be committed, with a flat cost for each entry.
    #[must_use]
    pub fn uncommitted_bytes(&self) -> usize {
        self.log.uncommitted_bytes()
    }

    /// Whether a leader takes a proposal of so many bytes of data beside what is not committed yet
    /// ([`Config::uncommitted_bytes_max`](crate::Config::uncommitted_bytes_max)).
    #[must_use]
    pub fn has_room_for(&self, data_len: usize) -> bool {
        let uncommitted = self.log.uncommitted_bytes();
        uncommitted == 0
            || uncommitted.saturating_add(entry_bytes(data_len)) <= self.config.uncommitted_bytes_max
    }

    /// Writes asked for and not reported as durable.
    #[must_use]
    pub fn persists_under_way(&self) -> usize {
        self.pipeline.len()
    }

    /// Whom leadership is being handed to, if to anybody.
    #[must_use]
    pub fn transferee(&self) -> Option<MemberId> {
        Some(self.transferee).filter(|&id| id != MemberId::ZERO)
    }

    /// As leader: what is known of each other member, by ascending id. Empty otherwise.
    pub fn peers(&self) -> impl Iterator<Item = PeerProgress> + '_ {
        self.peers.iter().map(|(&id, peer)| peer.describe(id))
    }
}
