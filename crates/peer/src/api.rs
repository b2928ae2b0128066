//! What goes in and what comes out. Types only.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use windlass_tls::Tls;
use windlass_types::{ClusterId, MemberId, RequestId, Term};

use crate::ask::{Ask, Failure, Reply};
use crate::bulk::BulkOffer;

/// A member's place among its peers. Every size is in bytes.
#[derive(Debug)]
pub struct Config {
    /// The cluster; a peer of another one is refused.
    pub cluster: ClusterId,
    /// This member.
    pub member: MemberId,
    /// Distinguishes this run of the process from its earlier ones.
    pub incarnation: u64,
    /// Of the randomness in the time between attempts to connect; members should differ.
    pub seed: u64,
    /// Whether this member has never said who it is with the data that it has, until
    /// [`Peers::set_published`](crate::Peers::set_published). Others who know who it is then know that it lost its data.
    pub unpublished: bool,
    /// What other members are told, for their metrics and for people.
    pub server_version: String,
    /// Where peers connect.
    pub listen: Vec<Listen>,
    /// For listeners and URLs with https.
    pub tls: Option<Tls>,
    /// An outgoing stream without a sign of life for so long is dead. An election timeout is right.
    pub dead_after: Duration,
    /// Largest body of a frame, both ways. A larger one is refused by [`Peers::send`](crate::Peers::send); a peer that
    /// sends a larger one is dropped. It must hold one entry of the largest size.
    pub frame_bytes_max: usize,
    /// Most bytes that wait for one peer, beside the control messages, which have room of their own. At the bound
    /// [`Peers::send`](crate::Peers::send) refuses.
    pub queue_bytes_max: usize,
    /// How long either end of a bulk stream waits for a lost connection to be made anew before it gives the stream up.
    pub bulk_patience: Duration,
}

/// A listening socket.
#[derive(Debug)]
pub struct Listen {
    /// Bound and listening; `Peers` makes it non-blocking.
    pub socket: std::net::TcpListener,
    /// Whether peers must speak TLS.
    pub tls: bool,
}

impl Config {
    /// etcd's election timeout, and room for the largest entry of the default log segment.
    #[must_use]
    pub fn new(cluster: ClusterId, member: MemberId, incarnation: u64, seed: u64) -> Self {
        Self {
            cluster,
            member,
            incarnation,
            seed,
            unpublished: false,
            server_version: String::new(),
            listen: Vec::new(),
            tls: None,
            dead_after: Duration::from_secs(1),
            frame_bytes_max: 64 << 20,
            queue_bytes_max: 64 << 20,
            bulk_patience: Duration::from_secs(30),
        }
    }
}

/// Whether a member that connects is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is. It must also have been named by [`Peers::set_members`](crate::Peers::set_members).
    Member,
    /// It was; it is told.
    Removed,
    /// It is, and has lost its data, or it would know that it has said who it is; it is told.
    Forgotten,
    /// Not as far as this member knows, which may be behind.
    Unknown,
}

/// One frame of a message stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// From one core to another.
    Raft(windlass_raft::Message),
    /// Proposals for the leader.
    Forward {
        /// Of this term, and no other.
        term: Term,
        /// A `windlass.batch.Batch`, not looked at here.
        batch: Bytes,
    },
    /// Proposals that were not taken; none of them is in any log.
    ForwardRefused {
        /// At the member that forwarded them,
        requests: Vec<RequestId>,
        /// and in which run of it.
        incarnation: u64,
        /// Why.
        failure: Failure,
    },
}

/// Why a frame was not queued. Nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSent {
    /// No member of this id was named.
    UnknownPeer,
    /// There is no stream to it at present.
    NotConnected,
    /// See [`Config::queue_bytes_max`].
    QueueFull,
    /// See [`Config::frame_bytes_max`].
    TooLarge,
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownPeer => "no such peer",
            Self::NotConnected => "peer is not connected",
            Self::QueueFull => "queue to the peer is full",
            Self::TooLarge => "larger than any frame may be",
        })
    }
}

impl std::error::Error for NotSent {}

/// What happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream to `peer` works: frames are taken from here on.
    Connected {
        /// The peer.
        peer: MemberId,
        /// Of its process.
        incarnation: u64,
        /// Of its process.
        server_version: String,
    },
    /// The stream to `peer` ended. What was queued is dropped; what was sent may or may not have arrived.
    Disconnected {
        /// The peer.
        peer: MemberId,
    },
    /// The stream from `peer` began.
    Heard {
        /// The peer.
        peer: MemberId,
        /// Of its process.
        incarnation: u64,
    },
    /// The stream from `peer` ended: refusals on their way may be lost.
    Unheard {
        /// The peer.
        peer: MemberId,
    },
    /// A member says that this one was removed from the cluster. Told once, until that member says something else. Whether
    /// it is true is more than one member can say.
    Removed {
        /// Who says so.
        by: MemberId,
    },
    /// A member knows from the log who this one is, and this one has not said so with the data that it has: it lost its
    /// disk, and must not take part.
    Forgotten {
        /// Who knows it.
        by: MemberId,
    },
}

/// What hears of everything. Called on the loop's thread, never from within a call into [`Peers`](crate::Peers), so
/// every call back into it is allowed.
pub trait Handler {
    /// Whether `from`, which connects, is a member. `unpublished` is what it says of itself:
    /// [`Config::unpublished`].
    fn admit(&self, from: MemberId, unpublished: bool) -> Admission;

    /// Frames from `from`, in order: all that one read of its connection gave. What is left in `frames` is dropped.
    fn received(&self, from: MemberId, frames: &mut Vec<Frame>);

    /// A small request, to be answered now or later.
    fn asked(&self, from: MemberId, ask: Ask, reply: Reply);

    /// Something happened to a connection.
    fn event(&self, event: Event);

    /// A process without identity asks. The answer is public: whoever can connect may ask.
    ///
    /// # Errors
    /// If the question cannot be answered; the text is for people.
    fn inquired(&self, question: Bytes) -> Result<Bytes, String>;

    /// A peer offers a bulk stream, to be accepted or refused soon: an offer that is left for more than ten seconds comes
    /// again.
    fn bulk(&self, from: MemberId, offer: BulkOffer) {
        let _ = from;
        offer.refuse("not wanted");
    }

    /// A round trip to `peer` took so long.
    fn round_trip(&self, peer: MemberId, time: Duration) {
        let _ = (peer, time);
    }
}
