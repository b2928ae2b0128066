//! Messages between members, and which of them must wait for the disk.
//!
//! A message is plain data that came from outside: nothing here may assume that its parts fit together.

use windlass_records::log::Entry;
use windlass_types::{LogIndex, MemberId, Term};

use crate::SnapshotMeta;

/// A message from one member to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sends it.
    pub from: MemberId,
    /// Who is to get it.
    pub to: MemberId,
    /// The sender's term; of a pre-vote and its grant, the term that the election would have.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Could I win an election with this log?
    PreVote {
        /// The candidate's last entry.
        last: EntryId,
        /// The last entry that it knows to be committed.
        commit: EntryId,
    },
    /// Answers a pre-vote.
    PreVoteReply {
        /// Whether the voter would grant its vote.
        granted: bool,
        /// The last entry that it knows to be committed.
        commit: EntryId,
    },
    /// Vote for me.
    Vote {
        /// The candidate's last entry.
        last: EntryId,
        /// The last entry that it knows to be committed.
        commit: EntryId,
        /// The leader itself asked for this election: a leader's lease does not hold against it.
        transfer: bool,
    },
    /// Answers a vote request.
    VoteReply {
        /// Whether the vote was granted.
        granted: bool,
        /// The last entry that the voter knows to be committed.
        commit: EntryId,
    },
    /// Entries that follow `prev_index`; none to probe or to tell the commit index.
    Append {
        /// The entry before the first one here.
        prev_index: LogIndex,
        /// Its term.
        prev_term: Term,
        /// The leader's commit index.
        commit: LogIndex,
        /// Consecutive entries from `prev_index + 1`.
        entries: Vec<Entry>,
    },
    /// The sender's log equals the leader's up to here, durably.
    AppendAccepted {
        /// The last index that is known to be equal.
        index: LogIndex,
    },
    /// The sender's log does not hold the append's `prev_index` in its `prev_term`.
    AppendRejected {
        /// The append's `prev_index`.
        prev_index: LogIndex,
        /// The highest index at which the logs may be equal, and...
        hint_index: LogIndex,
        /// ...its term at the sender.
        hint_term: Term,
    },
    /// The leader is alive.
    Heartbeat {
        /// The leader's commit index, as far as this follower has acknowledged it.
        commit: LogIndex,
        /// Round of reads to confirm, if any is open.
        read: Option<ReadContext>,
    },
    /// Answers a heartbeat.
    HeartbeatReply {
        /// As in the heartbeat.
        read: Option<ReadContext>,
    },
    /// The state up to the snapshot's index. Its bytes travel beside this message: a receiver hands it to its core
    /// when it has them all.
    Snapshot(SnapshotMeta),
    /// Start an election now: the leader hands over.
    TimeoutNow,
    /// A follower's reads want an index.
    ReadIndex(ReadContext),
    /// Answers that: the reads may be served at `index`.
    ReadIndexReply {
        /// As in the request.
        context: ReadContext,
        /// What the state machine must have applied.
        index: LogIndex,
    },
    /// Sent to a leader or candidate of a term that is over, so that it learns of the present one.
    StaleTerm,
}

/// One entry in any log: what two logs have at the same index in the same term is equal, and so is all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryId {
    /// Its index.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
}

/// Names one round of reads. Never reused, neither by a later round nor by a later run or term of the member that
/// made it: an answer that was delayed must not confirm a read that began after it was given (etcd#20418).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadContext {
    /// Term of its maker when it was made.
    pub term: Term,
    /// [`Config::incarnation`](crate::Config::incarnation) of its maker.
    pub incarnation: u64,
    /// Counts from 1 within the incarnation.
    pub sequence: u64,
}

/// When a message may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It promises nothing that a crash could take back.
    AtOnce,
    /// It promises that what its sender knows is durable.
    AfterPersist,
}

impl Body {
    /// When a message with this body may leave. The one place where this is decided.
    ///
    /// A vote request waits, too: it shows a log and a term that must survive, or a grant that is delayed beyond a
    /// crash would count for a later campaign in the same term with a shorter log.
    pub(crate) fn gate(&self) -> Gate {
        match self {
            Self::Vote { .. } | Self::VoteReply { granted: true, .. } | Self::AppendAccepted { .. } => {
                Gate::AfterPersist
            }
            Self::PreVote { .. }
            | Self::PreVoteReply { .. }
            | Self::VoteReply { granted: false, .. }
            | Self::Append { .. }
            | Self::AppendRejected { .. }
            | Self::Heartbeat { .. }
            | Self::HeartbeatReply { .. }
            | Self::Snapshot(_)
            | Self::TimeoutNow
            | Self::ReadIndex(_)
            | Self::ReadIndexReply { .. }
            | Self::StaleTerm => Gate::AtOnce,
        }
    }
}
