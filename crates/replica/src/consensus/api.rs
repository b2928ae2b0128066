//! What goes into the consensus core and what comes out of it. Types only.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use windlass_api::etcdserverpb::Member;
use windlass_io_log::op::{Completion, Op};
use windlass_raft::{Fault, Message, ReadId, Role};
use windlass_records::batch::{Batch, BatchBuilder, CommandKind, Origin};
use windlass_records::state::State;
use windlass_types::{LogIndex, MemberId, RequestError, RequestId, Revision, ShardId, Term};

use crate::lease::{Asker, LeaseAnswer, LeaseAsk};
use crate::sequencer::{News, Response};
use crate::task::{ShardAnswer, ShardTask, SnapshotId};

/// Most bytes of commands that wait for a flush. At the bound further commands are refused with
/// [`RequestError::TooManyRequests`]: the disk is slower than the clients.
pub const GATHERED_BYTES_MAX: usize = 64 << 20;

/// Most bytes of batches from other members that wait for a flush. At the bound further ones are refused with
/// [`RequestError::TooManyRequests`], which their members pass on.
pub const FORWARDED_BYTES_MAX: usize = 64 << 20;

/// Most changes of membership that wait for the one under way. At the bound further ones are refused with
/// [`RequestError::TooManyRequests`].
pub const CHANGES_MAX: usize = 64;

/// Most commands in one entry, so that one entry's numbering and replies stay a short step.
pub const BATCH_COMMANDS_MAX: usize = 16 << 10;

/// Most bytes of entries that were handed to the shards and that some shard has not performed. At the bound no further
/// entry is proposed until the slowest shard has caught up; commands gather meanwhile.
pub const HANDED_BYTES_MAX: usize = 64 << 20;

/// How soon to look again whether the slowest shard has caught up, in nanoseconds.
pub const CATCH_UP_RETRY_NS: u64 = 1_000_000;

/// What gathered commands wait for although a flush could start. The log being busy beyond its depth is another thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Company, until the first of them has waited this many nanoseconds; 0 is not at all.
    For(u64),
    /// The end of the flush in flight, if there is one.
    WhileFlushing,
    /// That too, and company until this many nanoseconds after the flush before began.
    Paced(u64),
}

/// How commands become entries.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most bytes of payload in one entry; a single larger command still goes, alone.
    pub batch_bytes_max: usize,
    /// What they wait for at first.
    pub linger: Linger,
    /// How long commands wait for a leader to be elected before they are refused,
    pub leaderless_ns: u64,
    /// and reads, in ticks.
    pub leaderless_ticks: u64,
    /// Whether to refuse changes of membership that could cost the quorum.
    pub strict_reconfig: bool,
    /// Most learners at a time.
    pub learners_max: usize,
    /// Ticks for which a member must have been connected to count as healthy where the quorum is at stake.
    pub healthy_ticks: u64,
    /// Ticks without any progress of its disk after which a leader gives leadership away.
    pub stalled_ticks: u32,
    /// The election timeout in nanoseconds: what every lease gets on top when a leader takes it over.
    pub election_timeout_ns: u64,
}

impl Default for Options {
    /// The server's, at etcd's heartbeat of 100 ms.
    fn default() -> Self {
        Self {
            batch_bytes_max: 1 << 20,
            linger: Linger::For(0),
            leaderless_ns: 7_000_000_000,
            leaderless_ticks: 70,
            strict_reconfig: true,
            learners_max: 1,
            healthy_ticks: 50,
            stalled_ticks: 10,
            election_timeout_ns: 1_000_000_000,
        }
    }
}

/// Everything that can wake the core.
#[derive(Debug)]
pub enum Input {
    /// Commands of this member's clients, checked. Each is answered by exactly one reply, unless it is
    /// withdrawn or the process ends.
    Propose(BatchBuilder),
    /// Nobody waits for these commands any more: those that are not proposed yet are dropped without a reply.
    Withdraw(HashSet<RequestId>),
    /// A client of this member wants the members changed. Answered like a proposal.
    Change {
        /// The request.
        id: RequestId,
        /// One that [changes members](crate::membership::is_member_change).
        kind: CommandKind,
        /// What it says.
        member: Box<Member>,
    },
    /// A linearizable read wants to know what it must see.
    Read(ReadId),
    /// Somebody asks about a lease. Answered by exactly one [`Output::LeaseAnswer`].
    Lease {
        /// Who.
        asker: Asker,
        /// What.
        ask: LeaseAsk,
    },
    /// The log's disk operation ended.
    Disk(Completion),
    /// A shard answered.
    Shard {
        /// Which.
        shard: ShardId,
        /// Its answer.
        answer: ShardAnswer,
    },
    /// A stream is durable up to here: streams `0..shards` are the shards', the last is the sequencer's.
    Durable {
        /// Which.
        stream: usize,
        /// Up to where.
        index: LogIndex,
    },
    /// Every shard holds every effect up to here.
    Complete(LogIndex),
    /// Whether some shard can buffer no more writes because its disk has no room.
    ShardsFull(bool),
    /// A message from a peer.
    Receive(Message),
    /// A batch that another member gathered from its clients and sent here to be proposed. Not trusted.
    Forwarded {
        /// Who sent it.
        from: MemberId,
        /// The term for whose leader it is meant. Nobody else may propose it.
        term: Term,
        /// A [`Batch`], as it came.
        data: Bytes,
    },
    /// Commands that were sent to the leader are in no log, and why.
    Refused {
        /// In which run of which member they were gathered. Those of an earlier run of this one concern nobody any more.
        of: Origin,
        /// The requests of this member's clients.
        ids: Vec<RequestId>,
        /// To be passed on to them.
        error: RequestError,
    },
    /// This member is connected.
    Reachable(MemberId),
    /// The connection to this member is lost.
    Unreachable(MemberId),
    /// Something that was sent to this member was dropped.
    Dropped(MemberId),
    /// Leadership is to go to this voter, if this member leads.
    TransferLeader(MemberId),
    /// This member's shards are damaged, and it asks for a snapshot. Taken by a leader alone.
    SnapshotWanted(MemberId),
    /// The transfer of a snapshot ended.
    SnapshotSent {
        /// Who was to get it.
        to: MemberId,
        /// Whether it has installed it.
        delivered: bool,
    },
    /// A client wants a snapshot. Answered by one [`Output::Backup`].
    Backup,
    /// One tick of the election clock passed.
    Tick,
    /// Try again to get room for the log, after [`Output::Full`].
    RetrySpace,
}

/// Everything the core can ask for, to be carried out in order.
#[derive(Debug)]
pub enum Output {
    /// Start this operation on the log's files.
    Disk(Op),
    /// Send to `message.to`.
    Send(Message),
    /// Send this member's commands to the leader; it answers [`Input::Forwarded`] only if it refuses them.
    Forward {
        /// The leader.
        to: MemberId,
        /// Of this term.
        term: Term,
        /// A [`Batch`].
        data: Bytes,
        /// The requests in it, to be answered if it cannot be sent.
        ids: Vec<RequestId>,
    },
    /// Tell a member that commands it sent are in no log.
    RefuseForwarded {
        /// The run of the member that gathered them.
        to: Origin,
        /// Its requests.
        ids: Vec<RequestId>,
        /// Why.
        error: RequestError,
    },
    /// Make this known on this member.
    News(News),
    /// Every shard was told to hand out its share of a snapshot for this member; its place is `state`.
    Snapshot {
        /// Who needs it.
        to: MemberId,
        /// Names it in the shards' shares.
        id: SnapshotId,
        /// What the snapshot holds.
        state: State,
    },
    /// Every shard was told to hand out its share of a snapshot for a client; its place is `state`.
    Backup {
        /// Names it in the shards' shares.
        id: SnapshotId,
        /// What the snapshot holds.
        state: State,
    },
    /// A peer's message was dropped because it cannot be true.
    Rejected {
        /// Who sent it.
        from: MemberId,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Hand this task to the shard.
    ToShard {
        /// Which.
        shard: ShardId,
        /// The task.
        task: ShardTask,
    },
    /// Answer a client of this member.
    Reply {
        /// The request.
        id: RequestId,
        /// Its answer; the header holds the revision alone.
        result: Result<Box<Response>, RequestError>,
    },
    /// Answer plain puts: the i-th of `commands` made revision `first_revision + i`.
    PutReplies {
        /// The entry.
        batch: Batch,
        /// Which of its commands.
        commands: Range<usize>,
        /// Revision of the first.
        first_revision: Revision,
    },
    /// The state after an applied entry, for the sequencer's stream and for readers.
    Applied(State),
    /// The read may be served at this revision by shards that are complete up to `index`.
    ReadReady {
        /// The read.
        id: ReadId,
        /// Up to where a shard must be complete.
        index: LogIndex,
        /// What the read sees.
        revision: Revision,
    },
    /// The read found no leader for too long.
    ReadDropped(ReadId),
    /// Tell this about a lease.
    LeaseAnswer {
        /// Who asked.
        asker: Asker,
        /// The answer.
        answer: LeaseAnswer,
    },
    /// Every stream is durable up to here.
    Stable(LogIndex),
    /// Role, term or leader changed.
    RoleChanged {
        /// What this member is now.
        role: Role,
        /// Its term.
        term: Term,
        /// The leader as far as known; zero is nobody.
        leader: MemberId,
    },
    /// Whether writes are refused for want of disk space. While it is true, [`Input::RetrySpace`] about once a
    /// second finds out when there is room again.
    Full(bool),
}

/// Why the core cannot go on. The process must end; what was acknowledged is on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A write to the log failed.
    #[error("a write to the raft log failed: {0}")]
    Log(#[source] windlass_io_log::raft_log::Fatal),
    /// A committed entry does not decode: written by another version, or damaged in memory.
    #[error("the committed entry {index} cannot be read: {why}")]
    Entry {
        /// Which.
        index: LogIndex,
        /// The decoder's words.
        why: String,
    },
}

/// Why a log and shards that were found at start do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Entries between the shards' state and the log's first entry are missing.
    #[error(
        "the shards end at log index {stable}, but the raft log begins after {start}: shard files are missing"
    )]
    Gap {
        /// Where the shards end.
        stable: LogIndex,
        /// Where the log begins.
        start: LogIndex,
    },
    /// The shards hold effects of entries that the log does not hold.
    #[error("the shards hold log index {stable}, but the raft log ends at {last}: log files are missing")]
    LogBehind {
        /// Where the shards end.
        stable: LogIndex,
        /// Where the log ends.
        last: LogIndex,
    },
}
