//! Streams: the durable form of a shard and of the sequencer, pure.
//!
//! A stream is a [`Journal`](crate::journal::Journal) of its own, in a folder of its own, off the commit path: what
//! it has not written yet is still in the Raft log, so it may lag, but it must never claim to be durable further
//! than it is. The bytes are described in `docs/formats/shard-wal.md`.
//!
//! 1. The owner appends versions ([`ShardStream`]) or states ([`StateStream`]) and says up to which log index they
//!    are complete. They are flushed by size or age, one write in flight at a time.
//! 2. `stable` ([`Stable`]) is what every stream has. Only what is needed neither at nor above it is thrown away.
//! 3. A start reads the history of every stream ([`ShardHistory`], [`StateHistory`]), finds `stable`
//!    ([`stable_at`]) and cuts each stream there: what is beyond is void from then on and comes again from the
//!    Raft log.
//!
//! Nothing here may touch a file or a clock: [`Request`]s go out, [`Completion`](crate::op::Completion)s come in.

mod history;
pub mod manifest;
mod preamble;
mod shard;
mod stable;
mod state;
mod writer;

pub use history::ShardHistory;
pub use shard::ShardStream;
pub use stable::{Stable, stable_at};
pub use state::{StateHistory, StateStream};

use crate::buffer::BLOCK_BYTES;
use crate::error::Repair;
use crate::frame::frame_bytes;
use crate::ids::Identity;
use crate::journal;
use crate::op::Op;
use crate::scan::Sought;
use preamble::PREAMBLE_BYTES;

/// Bytes that a stream buffers while its disk has no room. At the bound [`ShardStream::is_full`] asks for new writes
/// to be refused; what is committed already is still taken, the Raft log bounds how much that can be.
pub const BUFFER_BYTES_MAX: usize = 64 << 20;

/// Nanoseconds between two attempts to get room for a segment.
pub const RETRY_NS: u64 = 1_000_000_000;

/// Room at the end of each segment for the frames of later starts, so that a start succeeds on a full disk.
const RESERVE_BYTES: usize = 4 * BLOCK_BYTES;

/// Bytes that a shard's stream buffers before a flush, by default. With a last version of up to 32 KiB the frame has no more than 254
/// blocks, which virtio takes as one request wherever they lie in memory.
const SHARD_FLUSH_BYTES: usize = 1_000_000;

const _: () = assert!(frame_bytes(SHARD_FLUSH_BYTES + PREAMBLE_BYTES + (32 << 10)) <= 254 * BLOCK_BYTES);

/// How a stream lays out and flushes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whose stream this is; its segments and no others carry it.
    pub identity: Identity,
    /// Size of a new segment's file in bytes, a multiple of the block size. A flush and the largest single version
    /// must fit together.
    pub segment_bytes: usize,
    /// Buffered bytes that start a flush.
    pub flush_bytes: usize,
    /// Age of the oldest unflushed change that starts a flush, in nanoseconds.
    pub flush_age_ns: u64,
    /// Whether other members have this stream's content; only changes the advice that an error gives.
    pub has_peers: bool,
}

impl Options {
    /// The defaults of a shard's stream: segments of 16 MiB, flushes of 1 MB or 100 ms.
    #[must_use]
    pub const fn shard(identity: Identity) -> Self {
        Self {
            identity,
            segment_bytes: 16 << 20,
            flush_bytes: SHARD_FLUSH_BYTES,
            flush_age_ns: 100_000_000,
            has_peers: false,
        }
    }

    /// The defaults of the sequencer's stream: a few dozen bytes each 100 ms need no more than segments of 1 MiB.
    #[must_use]
    pub const fn state(identity: Identity) -> Self {
        Self { segment_bytes: 1 << 20, flush_bytes: BLOCK_BYTES, ..Self::shard(identity) }
    }

    fn journal(&self) -> journal::Options {
        journal::Options {
            segment_bytes: self.segment_bytes,
            // The order of frames is the order of durability, which keeps checkpoints simple; and a stream has time.
            flush_depth: 1,
            frame_bytes_max: (self.flush_bytes + self.flush_bytes / 4).next_multiple_of(BLOCK_BYTES),
            reserve_bytes: RESERVE_BYTES,
            repair: self.repair(),
        }
    }

    fn sought(&self) -> Sought {
        Sought { identity: self.identity, repair: self.repair() }
    }

    fn repair(&self) -> Repair {
        if self.has_peers { Repair::ByPeers } else { Repair::FromBackup }
    }
}

/// A disk operation and how soon it matters.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub op: Op,
    /// How soon.
    pub priority: Priority,
}

/// How soon a disk operation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// A flush: `stable` waits for it.
    Flush,
    /// Checkpoints and segments for later: when nothing else wants the thread.
    Background,
}
