//! What goes into the consensus core and what comes out of it. Types only.

use std::collections::HashSet;
use std::ops::Range;

use windlass_io_log::op::{Completion, Op};
use windlass_raft::{Message, ReadId, Role};
use windlass_records::batch::{Batch, BatchBuilder};
use windlass_records::state::State;
use windlass_types::{LogIndex, MemberId, RequestError, RequestId, Revision, ShardId, Term};

use crate::sequencer::Response;
use crate::task::{ShardAnswer, ShardTask};

/// Most bytes of commands that wait for a flush. At the bound further commands are refused with
/// [`RequestError::TooManyRequests`]: the disk is slower than the clients.
pub const GATHERED_BYTES_MAX: usize = 64 << 20;

/// Most commands in one entry, so that one entry's numbering and replies stay a short step.
pub const BATCH_COMMANDS_MAX: usize = 16 << 10;

/// Most bytes of entries that were handed to the shards and that some shard has not performed. At the bound no further
/// entry is proposed until the slowest shard has caught up; commands gather meanwhile.
pub const HANDED_BYTES_MAX: usize = 64 << 20;

/// How soon to look again whether the slowest shard has caught up, in nanoseconds.
pub const CATCH_UP_RETRY_NS: u64 = 1_000_000;

/// How commands become entries.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most bytes of payload in one entry; a single larger command still goes, alone.
    pub batch_bytes_max: usize,
    /// How long the first gathered command waits for company although a flush could start; 0 is not at all.
    pub linger_ns: u64,
}

/// Everything that can wake the core.
#[derive(Debug)]
pub enum Input {
    /// Commands of this member's clients, checked. Each is answered by exactly one reply, unless it is
    /// withdrawn or the process ends.
    Propose(BatchBuilder),
    /// Nobody waits for these commands any more: those that are not proposed yet are dropped without a reply.
    Withdraw(HashSet<RequestId>),
    /// A linearizable read wants to know what it must see.
    Read(ReadId),
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
    /// The read got no answer.
    ReadDropped(ReadId),
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
