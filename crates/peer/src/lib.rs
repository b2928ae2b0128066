//! The peer transport: what members of a cluster say to each other, and how it gets there.
//!
//! Each member dials every other one and sends on that connection only: a *message stream* for each pair and direction.
//! Beside it a *bulk* connection carries a snapshot while there is one to carry, and a process that has no identity yet
//! may make an *inquiry*. Everything runs on one thread's loop (a tokio `LocalSet`, an actix arbiter), `!Send`: a
//! message is queued by a function call and handed out by a function call.
//!
//! It must never wait within [`Peers::send`], never hold more than the bounds of [`Config`] and of the constants in its
//! modules, never trust a byte before it is proven, and never interpret what it carries: entries, batches, snapshots and
//! requests are opaque. Losing a message is allowed, delivering one damaged or from another sender is not.
//!
//! The format is in `docs/formats/peer.md`.

mod accept;
mod api;
mod ask;
mod assemble;
mod backoff;
mod bulk;
mod dial;
mod frame;
mod handshake;
mod inbound;
mod inquire;
mod link;
mod message;
mod outbox;
mod pack;
mod peers;
mod stats;
mod turned_away;
mod url;

pub use api::{Admission, Config, Event, Frame, Handler, Listen, NotSent};
pub use ask::{Ask, AskError, Failure, Reply};
pub use bulk::{BulkError, BulkOffer, BulkReceiver, BulkSender, Resume};
pub use frame::Fault;
pub use inquire::{InquireError, inquire};
pub use peers::Peers;
pub use stats::PeerStats;
pub use url::{BadUrl, Url};
