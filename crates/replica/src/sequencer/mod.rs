//! The sequencer: gives committed commands their revisions and tells the shards what to do.
//!
//! Pure. Entries take effect strictly in log order; what they do must depend on nothing but the log.

use std::ops::Range;

use bytes::Bytes;
use windlass_api::etcdserverpb::{CompactionResponse, DeleteRangeResponse, PutResponse, TxnResponse};
use windlass_records::batch::Batch;
use windlass_records::state::State;
use windlass_types::{LogIndex, RequestError, RequestId, Revision, ShardId, Term};

use crate::task::{ShardAnswer, ShardTask};

/// Everything that can move the sequencer.
#[derive(Clone, Debug)]
pub enum Input {
    /// The next committed normal entry of the log.
    Committed {
        /// Its index: one above the previous one, but for entries that are not normal.
        index: LogIndex,
        /// Its term.
        term: Term,
        /// A [`Batch`], or nothing.
        data: Bytes,
    },
    /// A shard answered.
    FromShard {
        /// Which.
        shard: ShardId,
        /// Its answer.
        answer: ShardAnswer,
    },
}

/// What the sequencer wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Hand this task to the shard.
    ToShard {
        /// Which.
        shard: ShardId,
        /// The task.
        task: ShardTask,
    },
    /// Answer one of this member's clients.
    Reply {
        /// The request.
        id: RequestId,
        /// Its answer; boxed because outputs travel in vectors and most are small.
        result: Result<Box<Response>, RequestError>,
    },
    /// Answer a run of this member's clients, all of whom put a key without asking for the old one: the i-th command
    /// of `commands` made revision `first_revision + i`, and that is all its response holds.
    PutReplies {
        /// The entry.
        batch: Batch,
        /// Which of its commands.
        commands: Range<usize>,
        /// The revision of the first of them.
        first_revision: Revision,
    },
    /// The entry is numbered and all its tasks are handed out; this is the state after it.
    Applied(State),
}

/// The answer to a command. Of the header only the revision is set; the caller fills the rest.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To a put.
    Put(PutResponse),
    /// To a delete.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// To a compaction.
    Compaction(CompactionResponse),
}
