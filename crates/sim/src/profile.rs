//! The properties of one run, drawn from its seed. Small sizes, so that segments fill, checkpoints and cuts happen and
//! entries do not fit one frame, again and again within a second of virtual time.

use windlass_io_log::ids::Identity;
use windlass_io_log::{raft_log, stream};
use windlass_replica::consensus;

use crate::agenda::{MICROSECOND_NS, MILLISECOND_NS};
use crate::random::{Concern, Random, between};

/// Most shards of a simulated member.
pub const SHARDS_MAX: u64 = 4;

/// Largest value that clients write, in bytes: larger than the smallest frame, so that some entries need more than one.
pub const VALUE_BYTES_MAX: u64 = 6000;

const BLOCK_BYTES: usize = 4096;

/// The properties of one run.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Number of shards at the first start.
    pub shards: u16,
    /// How commands become entries.
    pub consensus: consensus::Options,
    /// Requests that clients make in all.
    pub requests: u64,
    /// Most requests in flight.
    pub in_flight_max: u64,
    /// Longest time between two turns of the clients, in nanoseconds.
    pub pause_ns_max: u64,
    /// One value in so many is a large one.
    pub large_one_in: u64,
    /// Longest time until a thread looks into its mailbox, in nanoseconds.
    pub wake_ns_max: u64,
    /// Most messages that a thread takes in one turn.
    pub turn_messages_max: u64,
    /// Longest time of a disk operation, in nanoseconds; some take ten times as long.
    pub disk_ns_max: u64,
    /// Longest time between two faults, in nanoseconds.
    pub fault_ns_max: u64,
    /// Most faults.
    pub faults_max: u64,
    segment_blocks: u64,
    flush_bytes: usize,
    flush_age_ns: u64,
}

impl Profile {
    /// The properties of the run of `seed`.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let random = &mut crate::random::stream(seed, Concern::Profile);
        let linger_ns = if random.one_in(4) { random.below(2 * MILLISECOND_NS) } else { 0 };
        Self {
            shards: between(random, 1, SHARDS_MAX) as u16,
            consensus: consensus::Options {
                batch_bytes_max: 1 << between(random, 7, 14),
                linger_ns,
                ..consensus::Options::default()
            },
            requests: between(random, 100, 2000),
            in_flight_max: 1 << random.below(7),
            pause_ns_max: between(random, 100 * MICROSECOND_NS, 5 * MILLISECOND_NS),
            large_one_in: between(random, 2, 20),
            wake_ns_max: 1 + random.below(300 * MICROSECOND_NS),
            turn_messages_max: 1 << random.below(6),
            disk_ns_max: between(random, 20 * MICROSECOND_NS, 4 * MILLISECOND_NS),
            fault_ns_max: between(random, 10 * MILLISECOND_NS, 300 * MILLISECOND_NS),
            faults_max: random.below(16),
            segment_blocks: between(random, 12, 20),
            flush_bytes: between(random, 1000, 8000) as usize,
            flush_age_ns: between(random, MILLISECOND_NS, 40 * MILLISECOND_NS),
        }
    }

    /// How the Raft log is laid out at one start; sizes may change from start to start.
    #[must_use]
    pub fn log(&self, random: &mut Random) -> raft_log::Options {
        raft_log::Options {
            segment_bytes: (self.segment_blocks + random.below(2)) as usize * BLOCK_BYTES,
            flush_depth: 1 << random.below(3),
            frame_bytes_max: between(random, 1, 3) as usize * BLOCK_BYTES,
            reserve_bytes: between(random, 2, 4) as usize * BLOCK_BYTES,
            has_peers: false,
        }
    }

    /// How the stream of a shard is laid out.
    #[must_use]
    pub fn shard_stream(&self, shard: u16) -> stream::Options {
        stream::Options {
            segment_bytes: self.segment_blocks as usize * BLOCK_BYTES,
            flush_bytes: self.flush_bytes,
            flush_age_ns: self.flush_age_ns,
            ..stream::Options::shard(Identity(100 + u64::from(shard)))
        }
    }

    /// How the stream of the sequencer is laid out.
    #[must_use]
    pub fn state_stream(&self) -> stream::Options {
        stream::Options {
            segment_bytes: 8 * BLOCK_BYTES,
            flush_age_ns: self.flush_age_ns,
            ..stream::Options::state(Identity(99))
        }
    }
}
