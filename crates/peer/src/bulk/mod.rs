//! Bulk streams: a snapshot's bytes from one member to another, on a connection of their own, opened on demand.
//!
//! The transport does not look at the bytes. It numbers the chunks, checks them one by one and as a whole, holds the
//! sender back when the receiver does not keep up, and continues after a lost connection where the receiver says. What
//! it holds at most: one window at each end.

mod receive;
mod send;

use std::fmt;
use std::time::Duration;

pub use receive::{BulkOffer, BulkReceiver};
pub(crate) use receive::{Receiving, run as receive};
pub use send::BulkSender;
pub(crate) use send::open;

use crate::api::NotSent;

/// Bytes that are sent and not yet taken by the receiver's [`BulkReceiver::next`]. At the bound the sender waits.
const WINDOW_BYTES: u64 = 4 << 20;
/// Bytes of one chunk. A larger piece of the sender's is cut.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Bytes of one frame on a bulk connection: a chunk, or the description of a stream, and what is around it.
const FRAME_BYTES_MAX: usize = CHUNK_BYTES_MAX + 1024;
/// The receiver says how far it got after so many bytes, and whenever it has taken all there is.
const CREDIT_BYTES: u64 = WINDOW_BYTES / 8;
/// Streams from one peer that are not settled. At the bound a new one is refused.
const STREAMS_MAX: usize = 4;
/// How long the sender waits for the answer to its offer on one connection; it then asks again.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// Where a stream continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// So many bytes the receiver has; zero to begin.
    pub offset: u64,
    /// CRC-32 of these bytes; zero for none.
    pub crc: u32,
}

/// Why a bulk stream ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkError {
    /// It could not begin.
    NotSent(NotSent),
    /// The receiver refused it; says why.
    Refused(String),
    /// The other side gave it up; says why.
    Aborted(String),
    /// No connection for too long; the newest reason.
    Lost(String),
    /// The receiver lost what it had taken: begin anew, with a new sender.
    Rewound,
    /// What arrived is not what was sent.
    Checksum,
}

impl fmt::Display for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => why.fmt(f),
            Self::Refused(why) => write!(f, "receiver refused the stream: {why}"),
            Self::Aborted(why) => write!(f, "other side gave the stream up: {why}"),
            Self::Lost(why) => write!(f, "no connection for the stream: {why}"),
            Self::Rewound => f.write_str("receiver lost what it had of the stream"),
            Self::Checksum => f.write_str("stream was damaged on its way"),
        }
    }
}

impl std::error::Error for BulkError {}
