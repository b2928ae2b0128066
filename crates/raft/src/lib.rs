//! Raft, sans I/O, with asynchronous storage writes, after etcd's raft 3.7.
//!
//! The core never touches a disk, a socket, a clock, a thread or a source of randomness: it takes one [`Input`] at a
//! time and returns [`Action`]s. The caller's contract:
//!
//! 1. Feed every event to [`Raft::step`], one at a time, and carry out the actions it returns. No action waits for
//!    another, except as said here.
//! 2. [`Action::Persist`]: write them in the order given and report [`Input::Persisted`] when durable, in any number
//!    of reports; a report covers all earlier ones. Several may be under way, and several may be one flush.
//! 3. [`Action::Send`]: send at once, do not wait for any write. A message that promises something durable (a vote,
//!    an acknowledgement) is held inside the core until its write is reported, and by type: see `message::Body::gate`.
//!    So a leader's appends travel while its own write does. Source: Raft thesis 10.2.1.
//! 4. [`Action::Apply`]: apply in order and report [`Input::Applied`] in any number of reports. Entries are handed
//!    out when they are committed *and* durable here, as etcd does with asynchronous writes: what was applied is in
//!    this member's log after a crash. Commitment itself counts a leader only for what is durable at it.
//! 5. A change of membership takes effect when its entry is handed out, not when it is appended. Keep
//!    [`Action::MembershipChanged`] with the applied state, it is part of [`Restored`].
//! 6. [`Input::Compact`] what is durable in the state machine. The memory held is bounded without it, too.
//! 7. After a crash make a new core from what is durable. A failed write is not an input: the process must end.
//!
//! With [`Config::trace`] a core also notes what it does as the events of etcd-io/raft's trace specification, for
//! [`Raft::take_trace`].
//!
//! A new cluster's members begin with [`Restored::founding`], a joining one with `Restored::default()`.
//!
//! What a peer sends is not trusted to make sense: a message that cannot be true is dropped with
//! [`Action::MessageRejected`] and changes nothing, but for the term it may have brought. What the caller says is trusted: a broken contract panics.

mod api;
mod conf_change;
mod election;
mod log;
mod membership;
mod message;
mod persist;
mod progress;
mod quorum;
mod raft;
mod read_index;
mod receive;
mod reconfigure;
mod replication;
mod snapshot;
mod trace;
mod transfer;

pub use api::{
    Action, Config, DropReason, Fault, Input, Persist, PersistId, ReadId, Restored, Role, SnapshotMeta,
};
pub use conf_change::{Change, ConfChange, DecodeError, Transition};
pub use membership::{MEMBERS_MAX, Membership};
pub use message::{Body, EntryId, Message, ReadContext};
pub use progress::{PeerProgress, PeerState};
pub use raft::Raft;
pub use read_index::READS_MAX;
pub use trace::TraceEvent;
