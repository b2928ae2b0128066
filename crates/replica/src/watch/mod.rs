//! Watching: from a change on a shard to the response on a stream, pure.
//!
//! 1. A net arbiter with watchers *follows* every shard ([`Follow`]). At the end of its turn a shard sends its followers
//!    what changed, as encoded [`Events`], with the revision up to which it is complete.
//! 2. The [`Follower`] releases, in order of revision, sub-revision and key, what all shards are complete up to: a
//!    [`Batch`] of whole revisions.
//! 3. [`Watchers`] finds the watchers of each event in an index and sends them their responses through a [`Sink`].
//! 4. A watcher that starts in the past, or whose stream took no more, is *behind*: it reads on from the last batches or
//!    from the shards' history ([`changes`]), and joins the others between two revisions.
//!
//! Nothing here does I/O or knows a clock: time is an input. Invariant: a watcher is sent every revision's events at once,
//! each event once, in order, and none is left out. Invariant: nothing is kept for a slow client but where it is.

mod batch;
mod events;
mod follow;
mod history;
mod index;
mod intervals;
mod response;
mod ring;
mod watchers;

pub use batch::Batch;
pub(crate) use events::PairView;
pub use events::{Event, Events, EventsBuilder};
pub use follow::{Follow, FollowNews, Follower, UNACKED_BYTES_MAX};
pub use history::changes;
pub use response::{Kind, NO_WATCH, Response};
pub use watchers::{Action, Counts, Now, ReadId, Sink, Watchers};
