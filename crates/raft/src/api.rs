//! What goes into the core and what comes out of it. Types only: nothing here decides anything.

use std::fmt;

use bytes::Bytes;
use windlass_records::log::{Entry, EntryKind, HardState};
use windlass_types::{LogIndex, MemberId, Term};

use crate::{Membership, Message};

/// Fixed properties of one member. Every field may differ between members, though ticks should not.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member, not zero.
    pub id: MemberId,
    /// Distinguishes this run of the process from its earlier ones: any value that no earlier run of this member
    /// used, such as the start time in nanoseconds. Contexts of reads carry it.
    pub incarnation: u64,
    /// Seed of the randomised election timeouts; members should differ.
    pub seed: u64,
    /// Ticks without a leader before a campaign, from 2; the real timeout is random in `n..n + n / 2`.
    pub election_ticks: u32,
    /// Ticks between a leader's heartbeats, at least 1 and less than `election_ticks`.
    pub heartbeat_ticks: u32,
    /// Whether to ask if an election could be won before raising the term. Source: Raft thesis 9.6.
    pub pre_vote: bool,
    /// Whether a leader without an active quorum steps down, and members that hear a leader refuse to vote.
    pub check_quorum: bool,
    /// Most bytes of entry data in one append message; one larger entry still goes alone.
    pub append_bytes_max: usize,
    /// Most appends with entries under way to one follower, at least 1. At the bound the follower is not sent
    /// entries until it acknowledges.
    pub inflight_appends_max: usize,
    /// Most bytes of entries that are proposed and not committed. At the bound proposals are dropped with
    /// [`DropReason::TooManyUncommitted`]; one proposal of any size is taken when nothing else is uncommitted.
    pub uncommitted_bytes_max: usize,
    /// Bytes of log that stay in memory although [`Input::Compact`] says that they are not needed, for peers that are a
    /// little behind; a member without peers keeps none.
    pub retained_bytes_min: usize,
    /// Most bytes of log kept in memory. At the bound applied entries are forgotten from the front, so that a
    /// follower that still needs them gets a snapshot; where too little is applied to make room, proposals are
    /// dropped with [`DropReason::LogFull`] and a leader's appends are taken in part until more is applied. It should
    /// be some times `uncommitted_bytes_max`, for entries that are not committed are never refused from a leader.
    pub retained_bytes_max: usize,
    /// Whether events are noted for [`Raft::take_trace`](crate::Raft::take_trace). They take memory until they are taken,
    /// so whoever asks for them must do so after each step.
    pub trace: bool,
}

impl Config {
    /// etcd's defaults (ten heartbeats to an election timeout, pre-vote and check-quorum on) with the given identity.
    #[must_use]
    pub fn new(id: MemberId, incarnation: u64, seed: u64) -> Self {
        Self {
            id,
            incarnation,
            seed,
            election_ticks: 10,
            heartbeat_ticks: 1,
            pre_vote: true,
            check_quorum: true,
            append_bytes_max: 1 << 20,
            inflight_appends_max: 256,
            uncommitted_bytes_max: 32 << 20,
            retained_bytes_min: 0,
            retained_bytes_max: 128 << 20,
            trace: false,
        }
    }
}

/// What was found on disk at start. [`Restored::founding`] is that of a new cluster's member; one that joins a cluster
/// has nothing (`default()`), and gets all of it, the membership too, by a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The newest durable hard state.
    pub hard_state: HardState,
    /// Entries at or below it are cut.
    pub start_index: LogIndex,
    /// Term of the entry at `start_index`.
    pub start_term: Term,
    /// The durable entries, consecutive from `start_index + 1`.
    pub entries: Vec<Entry>,
    /// The state machine holds the effects up to here; between `start_index` and the last entry.
    pub applied: LogIndex,
    /// The membership as of `applied`.
    pub membership: Membership,
    /// `membership` was decided by this member alone, and changes of entries up to here are void.
    pub forced: LogIndex,
}

impl Restored {
    /// The state of every founding member of a new cluster: as if entry 1 of term 1 had made the membership, and were
    /// cut. So a joining member's empty log never follows from a founder's, and it must begin with a snapshot.
    #[must_use]
    pub fn founding(membership: Membership) -> Self {
        let (index, term) = (LogIndex(1), Term(1));
        Self {
            hard_state: HardState { term, vote: MemberId::ZERO, commit: index },
            start_index: index,
            start_term: term,
            entries: Vec::new(),
            applied: index,
            membership,
            forced: LogIndex::ZERO,
        }
    }
}

/// Number of a [`Persist`], from 1, consecutive within one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// The caller's name for a read. The core only hands it back; it should not be reused within one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// The place of a snapshot in the log. The bytes are the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The snapshot holds the effects of all entries up to this one.
    pub index: LogIndex,
    /// Term of the entry at `index`.
    pub term: Term,
    /// The membership as of `index`.
    pub membership: Membership,
}

/// Everything that can wake the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// One tick of the caller's clock passed.
    Tick,
    /// Stand for election now, if this member is a voter.
    Campaign,
    /// Append an entry; answered by the entry in a [`Persist`] of the same step, or by [`Action::ProposalDropped`].
    /// The data of an [`EntryKind::ConfChange`] are an encoded [`ConfChange`](crate::ConfChange).
    Propose {
        /// What `data` is.
        kind: EntryKind,
        /// The payload.
        data: Bytes,
    },
    /// A message from a peer, not trusted.
    Receive(Message),
    /// The [`Persist`] of this id and all before it are durable.
    Persisted(PersistId),
    /// The state machine holds the effects of all entries up to here.
    Applied(LogIndex),
    /// A linearizable read wants an index; answered by [`Action::ReadReady`] or [`Action::ReadDropped`].
    ReadIndex(ReadId),
    /// Entries at or below are no longer needed here; not above what was reported as applied. A leader still keeps what
    /// a follower that it hears of has not got, and see [`Config::retained_bytes_min`].
    Compact(LogIndex),
    /// As leader: hand leadership to this voter. Gives up after an election timeout.
    TransferLeader(MemberId),
    /// The connection to this member is lost, what is under way to it may be too.
    ReportUnreachable(MemberId),
    /// The snapshot asked for by [`Action::SnapshotNeeded`] is there; answered by the message to send it with.
    SnapshotTaken {
        /// Who needs it.
        to: MemberId,
        /// Its place in the log; not above what was reported as applied.
        meta: SnapshotMeta,
    },
    /// The transfer of a snapshot to this member ended, well or not.
    SnapshotSent {
        /// Who was to get it.
        to: MemberId,
        /// Whether all bytes and the message arrived, as far as the sender can know.
        delivered: bool,
    },
}

/// Everything the core can ask for. Within one step's actions the order does not matter, but for `Apply` and
/// `MembershipChanged`, which come in log order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make this durable, in the order given, and report [`Input::Persisted`]. Several may be under way.
    Persist(Persist),
    /// Send this to `message.to`, at once. Losing it is allowed. Nothing in it promises what is not yet durable.
    Send(Message),
    /// Apply these committed, durable entries, in order, and report [`Input::Applied`].
    Apply(Vec<Entry>),
    /// The read may be served by a state machine that has applied `index`.
    ReadReady {
        /// The read.
        id: ReadId,
        /// Every write acknowledged before the read was asked is at or below.
        index: LogIndex,
    },
    /// The read got no answer and will get none; asking anew, with a new id, may.
    ReadDropped {
        /// The read.
        id: ReadId,
    },
    /// The proposal was not taken and is in no log.
    ProposalDropped {
        /// As proposed.
        kind: EntryKind,
        /// As proposed.
        data: Bytes,
        /// Why.
        reason: DropReason,
    },
    /// Role, term or leader differ from those before the step.
    RoleChanged {
        /// What this member is now.
        role: Role,
        /// Its term.
        term: Term,
        /// The leader of `term` as far as it knows; zero is unknown.
        leader: MemberId,
    },
    /// A membership change took effect.
    MembershipChanged {
        /// The entry (or snapshot) that made it.
        index: LogIndex,
        /// The membership from here on.
        membership: Membership,
    },
    /// This follower needs entries that are gone: take a snapshot and report [`Input::SnapshotTaken`], or give up
    /// with [`Input::SnapshotSent`]. Not repeated before one of them.
    SnapshotNeeded {
        /// Who needs it.
        to: MemberId,
    },
    /// A peer's message was not processed because it cannot be true.
    MessageRejected {
        /// Who claims to have sent it.
        from: MemberId,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// One durable write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// What to report when this and all before it are durable.
    pub id: PersistId,
    /// The new hard state, if it must be written.
    pub hard_state: Option<HardState>,
    /// If set, the state machine's state and the whole log are replaced by this snapshot, before `entries`. The
    /// snapshot's bytes are those the caller received with its message.
    pub snapshot: Option<SnapshotMeta>,
    /// Consecutive entries. Where the first one's index is at or below an earlier one's, it replaces the log from
    /// there on.
    pub entries: Vec<Entry>,
}

/// What a member is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one. Learners are always this.
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Won its term's election.
    Leader,
}

/// Why a proposal was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// This member does not lead.
    NotLeader,
    /// Leadership is being handed over.
    Transferring,
    /// See [`Config::uncommitted_bytes_max`].
    TooManyUncommitted,
    /// See [`Config::retained_bytes_max`].
    LogFull,
    /// An earlier membership change has not taken effect.
    ConfChangePending,
    /// The membership change does not decode, or cannot be made from the present membership.
    ConfChangeInvalid,
}

/// What is wrong with a peer's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It is not for this member, or claims to be from it or from nobody.
    Misaddressed,
    /// Its term is too far ahead to be true.
    TermJump,
    /// Two members claim to lead one term.
    SecondLeader,
    /// Entries for a member that knows no membership they could follow from: it needs a snapshot.
    NoMembership,
    /// Entries or indices that are out of order or out of range.
    Malformed,
    /// It would replace entries that are committed here.
    ConflictsWithCommitted,
    /// It acknowledges or commits entries that do not exist here.
    BeyondLog,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        })
    }
}
