//! The bounds of a [`crate::Net`]: what clients may make it hold or do.

use std::time::Duration;

use windlass_http2::{PingPolicy, Settings};

use crate::frame;

/// Bytes taken from a connection in one turn; more waits for the next.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Bytes handed to the kernel in one write.
pub(crate) const WRITE_BYTES: usize = 256 << 10;

/// Bounds of one [`crate::Net`], each for one arbiter or one connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest request message, in bytes. A larger one is answered with RESOURCE_EXHAUSTED.
    pub message_bytes_max: usize,
    /// Connections at once; further ones are closed as soon as they are accepted.
    pub connections_max: usize,
    /// Streams at once on a connection; further ones are refused.
    pub streams_max: u32,
    /// Request bytes that all unfinished requests of a connection may hold; the request that passes it is refused.
    pub buffered_bytes_max: usize,
    /// Response bytes that all calls of a connection may have waiting to be sent; while there are more, its further calls
    /// are refused with RESOURCE_EXHAUSTED, and so are the answers of those that were begun.
    pub queued_bytes_max: usize,
    /// The largest response message, in bytes. The call that has a larger one ends with RESOURCE_EXHAUSTED instead.
    pub answer_bytes_max: usize,
    /// A stream with more than this many response bytes queued gets no more request bytes from its client, and its
    /// service is told when they went below.
    pub hold_queued_bytes: usize,
    /// How often a client may ping.
    pub ping_policy: PingPolicy,
    /// After this much silence the client is pinged.
    pub keepalive_interval: Duration,
    /// A ping that is not answered for this long ends the connection.
    pub keepalive_timeout: Duration,
    /// A new connection must show its protocol, and an HTTP/1.1 request its whole head, within this time.
    pub header_timeout: Duration,
    /// The largest body of an HTTP/1.1 request, in bytes; what is beyond it is not read.
    pub http_body_bytes_max: usize,
    /// Unary calls that took longer are told of by [`crate::Net::take_slow_calls`]; zero for none.
    pub slow_after: Duration,
}

impl Default for Limits {
    /// etcd's defaults where it has them.
    fn default() -> Self {
        Self {
            message_bytes_max: (1536 << 10) + (512 << 10),
            connections_max: 16_384,
            streams_max: 1 << 16,
            buffered_bytes_max: 128 << 20,
            queued_bytes_max: 512 << 20,
            answer_bytes_max: i32::MAX as usize,
            hold_queued_bytes: 256 << 10,
            ping_policy: PingPolicy { min_interval: Duration::from_secs(5), permit_without_stream: false },
            keepalive_interval: Duration::from_secs(2 * 60 * 60),
            keepalive_timeout: Duration::from_secs(20),
            header_timeout: Duration::from_secs(10),
            http_body_bytes_max: 2 << 20,
            slow_after: Duration::ZERO,
        }
    }
}

impl Limits {
    /// The same bounds in the words of the session.
    pub(crate) fn session(&self) -> Settings {
        Settings {
            streams_max: self.streams_max,
            // One unfinished message and all that can arrive with its end.
            body_bytes_max: self.message_bytes_max + frame::PREFIX_BYTES + READ_BYTES,
            announced_bytes: Some(frame::announced_bytes),
            buffered_bytes_max: self.buffered_bytes_max,
            hold_queued_bytes: self.hold_queued_bytes,
            ping_policy: Some(self.ping_policy),
            ..Settings::default()
        }
    }
}
