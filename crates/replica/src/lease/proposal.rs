//! What a leader proposes about leases because time has passed. These commands are no client's; nobody is answered.
//!
//! Each names the term in which its leader decided it, and each lease by the entry that granted it. Where either is not
//! what it was, the command has no effect: another leader may have renewed the lease since, or another lease may have
//! its id.

use prost::Message;
use windlass_types::RequestId;

/// The request id of commands that nobody waits for. No arbiter makes it.
pub(crate) const INTERNAL: RequestId = RequestId(u64::MAX - 1);

/// A lease that was granted by a certain entry.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct LeaseRef {
    /// Its id.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Log index of the entry that granted it.
    #[prost(uint64, tag = "2")]
    pub granted: u64,
}

/// Leases whose time has run out: the payload of a `LeaseExpire` command.
#[derive(Clone, PartialEq, Message)]
pub struct Expired {
    /// The term of the leader that found so.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Which.
    #[prost(message, repeated, tag = "2")]
    pub leases: Vec<LeaseRef>,
}

/// What is left of a lease.
#[derive(Clone, PartialEq, Message)]
pub struct LeaseLeft {
    /// Which.
    #[prost(message, required, tag = "1")]
    pub lease: LeaseRef,
    /// Milliseconds; none for a lease that was renewed and has its whole time again.
    #[prost(uint64, optional, tag = "2")]
    pub left_ms: Option<u64>,
}

/// What is left of leases: the payload of a `LeaseCheckpoint` command.
#[derive(Clone, PartialEq, Message)]
pub struct Checkpoints {
    /// The term of the leader that says so.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Number of the proposal within that term.
    #[prost(uint64, tag = "3")]
    pub proposal: u64,
    /// Of which, what.
    #[prost(message, repeated, tag = "2")]
    pub leases: Vec<LeaseLeft>,
}
