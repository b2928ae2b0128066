//! The network plane: one arbiter for each net thread.
//!
//! An `Arbiter` turns rows into commands, reads and answers. It owns its connections' calls and reads and shares
//! nothing with other arbiters but what [`Published`](crate::published::Published) shows. It must never block, and
//! never decide what a write does: that is the log's business.

mod access;
mod actor;
mod alarm;
mod answer;
mod arbiter;
mod auth;
mod backup;
mod calls;
mod cluster;
mod downgrade;
mod gateway;
mod get;
mod hash;
mod header;
mod http;
mod info;
mod lease;
mod permit;
mod query;
mod range_stream;
mod reads;
mod recipe;
mod routes;
mod tally;
mod tasks;
mod vars;
mod watch;
mod write;

/// What etcd gives a request beside two elections.
pub const REQUEST_TIMEOUT_BASE: Duration = Duration::from_secs(5);

pub use actor::{Drain, Listen, Listeners, NetActor, Told};
pub use arbiter::{RequestLimits, Wiring};
pub use calls::{ArbiterId, arbiter_of};
pub use info::{ETCD_VERSION, MemberInfo};
pub use reads::{Ticket, asker};
pub use watch::WatchOptions;

use std::ops::Range;
use std::time::Duration;

use crate::auth::Done;
use windlass_raft::ReadId;
use windlass_records::batch::{Batch, BatchBuilder};
use windlass_replica::lease::LeaseAnswer;
use windlass_replica::reading::Snapshot;
use windlass_replica::task::ReadAnswer;
use windlass_replica::txn::Response;
use windlass_replica::watch::FollowNews;
use windlass_types::{LeaseId, RequestError, RequestId, Revision, ShardId};

/// Something that other threads, or the consensus actor, tell an arbiter.
#[derive(Debug)]
pub enum ToArbiter {
    /// Plain puts were committed: the i-th of `commands` made revision `first_revision + i`.
    Puts {
        /// The entry.
        batch: Batch,
        /// Which of its commands are this arbiter's.
        commands: Range<usize>,
        /// Revision of the first.
        first_revision: Revision,
    },
    /// The memory of a batch that was proposed, to be used again.
    Emptied(BatchBuilder),
    /// A command was answered; of the header only the revision is set.
    Reply {
        /// The request.
        id: RequestId,
        /// Its answer.
        result: Result<Box<Response>, RequestError>,
    },
    /// Leadership moved as was asked for, or did not.
    LeaderMoved {
        /// The request.
        id: RequestId,
        /// How it went.
        result: Result<(), RequestError>,
    },
    /// What was to be done with a password is done, or not.
    Password {
        /// The request.
        id: RequestId,
        /// How it went.
        done: Done,
    },
    /// The leader's answer about a lease.
    Lease {
        /// The request.
        id: RequestId,
        /// The answer.
        answer: LeaseAnswer,
    },
    /// The leases that there are.
    Leases {
        /// The request.
        id: RequestId,
        /// In order of their expiry, as far as it is known here.
        leases: Vec<LeaseId>,
    },
    /// The place in history for all reads that shared this question; `None` if there is no leader to say.
    Snapshot {
        /// The question.
        id: ReadId,
        /// Where they read.
        snapshot: Option<Snapshot>,
    },
    /// A shard that the arbiter follows says something.
    Followed {
        /// Which shard.
        shard: ShardId,
        /// What.
        news: FollowNews,
    },
    /// A shard answered a read.
    Read {
        /// Which read.
        ticket: Ticket,
        /// Which shard.
        shard: ShardId,
        /// Its answer.
        answer: ReadAnswer,
    },
}
