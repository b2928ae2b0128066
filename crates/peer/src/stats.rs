//! Counters of one peer, for metrics.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use windlass_types::MemberId;

/// What is known of one peer. Counts are since [`Peers::start`](crate::Peers::start).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// The peer.
    pub peer: MemberId,
    /// Since when the stream to it works, if it does.
    pub connected_since: Option<Instant>,
    /// Whether the stream from it works.
    pub heard: bool,
    /// Of its process, if it was ever connected.
    pub incarnation: Option<u64>,
    /// Of its process, if it was ever connected.
    pub server_version: String,
    /// The newest measured.
    pub round_trip: Option<Duration>,
    /// Bytes that the kernel took, message and bulk connections.
    pub sent_bytes: u64,
    /// Bytes read, message and bulk connections.
    pub received_bytes: u64,
    /// Frames that were refused by [`Peers::send`](crate::Peers::send).
    pub send_failures: u64,
    /// Streams to it that ended.
    pub disconnects: u64,
    /// Attempts to connect that failed.
    pub dial_failures: u64,
    /// Connections from it that were dropped for what it sent.
    pub faults: u64,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
}

/// The same, while it counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub connected_since: Cell<Option<Instant>>,
    pub identity: RefCell<Option<(u64, String)>>,
    pub round_trip: Cell<Option<Duration>>,
    pub sent_bytes: Cell<u64>,
    pub received_bytes: Cell<u64>,
    pub send_failures: Cell<u64>,
    pub disconnects: Cell<u64>,
    pub dial_failures: Cell<u64>,
    pub faults: Cell<u64>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}

impl Counters {
    pub fn read(&self, peer: MemberId, heard: bool, queued_bytes: usize) -> PeerStats {
        let (incarnation, server_version) = self.identity.borrow().clone().unzip();
        PeerStats {
            peer,
            connected_since: self.connected_since.get(),
            heard,
            incarnation,
            server_version: server_version.unwrap_or_default(),
            round_trip: self.round_trip.get(),
            sent_bytes: self.sent_bytes.get(),
            received_bytes: self.received_bytes.get(),
            send_failures: self.send_failures.get(),
            disconnects: self.disconnects.get(),
            dial_failures: self.dial_failures.get(),
            faults: self.faults.get(),
            queued_bytes,
        }
    }
}
