//! The bounds of a session: what a peer may make it hold or do.

use crate::PingPolicy;

/// How many bytes a body will have, as its beginning says; `None` if it does not, or not yet. It need not be true.
pub type AnnouncedBytes = fn(&[u8]) -> Option<usize>;

/// Bounds and windows of one session. The defaults fit a server of small requests with some large uploads.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Streams the peer may have open at once; a further one is refused with REFUSED_STREAM.
    pub streams_max: u32,
    /// How much a peer may send on one stream ahead of what was taken in, in bytes, at most 2^31-1.
    pub stream_window_bytes: u32,
    /// The same for all streams of the connection together. Large, so that one upload does not stall another.
    pub connection_window_bytes: u32,
    /// The largest header list taken, in bytes of names, values and 8 a field; a stream beyond it is reset.
    pub header_list_bytes_max: u32,
    /// What one stream may hold of received and not yet taken body, in bytes; see [`crate::Ready::overflow`].
    pub body_bytes_max: usize,
    /// Reads what the beginning of a body says of its length, if bodies do: memory is then reserved at once as far as the bytes
    /// that have arrived allow.
    pub announced_bytes: Option<AnnouncedBytes>,
    /// What all streams of the connection together may hold of received bodies and header lists, in bytes, a field's
    /// size over at most. The stream whose body passes it overflows, one whose headers pass it is reset.
    pub buffered_bytes_max: usize,
    /// While a stream has more than this many bytes queued to send, its peer gets no credit to send more on it.
    pub hold_queued_bytes: usize,
    /// Streams the peer may reset, or make this side reset, at once before its rate counts; a faster client gets GOAWAY.
    pub resets_burst: u64,
    /// Such resets per second in the long run.
    pub resets_per_s: u64,
    /// SETTINGS frames the peer may send at once before its rate counts; a faster client gets GOAWAY. Each may cost a
    /// walk over all open streams.
    pub settings_burst: u64,
    /// SETTINGS frames per second in the long run.
    pub settings_per_s: u64,
    /// Frames that carry nothing (WINDOW_UPDATE, acknowledgements of PINGs) which the peer may send at once before its
    /// rate counts; a faster client gets GOAWAY. Each DATA frame that it is sent allows it some more.
    pub idle_burst: u64,
    /// Such frames per second in the long run.
    pub idle_per_s: u64,
    /// Frames that make no sense where they come which the peer may send at once before their rate counts; a faster
    /// peer gets GOAWAY. Each frame of a message that was refused for its size is one until the peer has heard of it.
    pub glitches_burst: u64,
    /// Such frames per second in the long run.
    pub glitches_per_s: u64,
    /// Acknowledgements (of PING and SETTINGS) that may wait to be written; beyond it the session ends.
    pub acks_waiting_max: usize,
    /// Entries a SETTINGS frame may have; beyond it the session ends.
    pub settings_entries_max: usize,
    /// CONTINUATION frames a header block may have, whatever pieces it arrives in; at ten times as many at the latest the
    /// session ends.
    pub continuations_max: usize,
    /// How often a client may ping. `None` for no limit but [`Settings::acks_waiting_max`].
    pub ping_policy: Option<PingPolicy>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streams_max: 1 << 16,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 16 << 20,
            header_list_bytes_max: 16 << 10,
            body_bytes_max: 4 << 20,
            announced_bytes: None,
            buffered_bytes_max: 64 << 20,
            hold_queued_bytes: 256 << 10,
            resets_burst: 10_000,
            resets_per_s: 1_000,
            settings_burst: 200,
            settings_per_s: 20,
            idle_burst: 20_000,
            idle_per_s: 2_000,
            glitches_burst: 100_000,
            glitches_per_s: 10_000,
            acks_waiting_max: 1_000,
            settings_entries_max: 32,
            continuations_max: 8,
            ping_policy: None,
        }
    }
}
