//! The properties of one run, drawn from its seed. Small sizes, so that segments fill, checkpoints and cuts happen and
//! entries do not fit one frame, again and again within a second of virtual time.

use windlass_io_log::error::Repair;
use windlass_io_log::ids::Identity;
use windlass_io_log::{raft_log, stream};
use windlass_replica::consensus::{self, Linger};

use crate::agenda::{MICROSECOND_NS, MILLISECOND_NS, SECOND_NS};
use crate::clock::TICK_NS;
use crate::random::{Concern, Random, between};

/// Most shards of a simulated member.
pub const SHARDS_MAX: u64 = 4;

/// Largest value that clients write, in bytes: larger than the smallest frame, so that some entries need more than one.
pub const VALUE_BYTES_MAX: u64 = 6000;

/// Most members of a cluster at a time, and most machines.
const MEMBERS_MAX: usize = 7;

const BLOCK_BYTES: usize = 4096;

/// Which kind of run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// One member, whose clients read and write keys and leases.
    Single,
    /// Several members and the network between them, with such clients.
    Cluster,
    /// One member, with clients that watch, ask about leases, raise alarms and change users, too.
    #[default]
    Full,
    /// Several members with all of that.
    FullCluster,
    /// Several members, of whose runs the published specification of Raft in TLA+ can follow the trace: no process ends,
    /// no message is doubled or reordered, nobody asks for votes before an election.
    Tla,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Single, Self::Cluster, Self::Full, Self::FullCluster, Self::Tla];

    /// As it is named on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Cluster => "cluster",
            Self::Full => "full",
            Self::FullCluster => "full-cluster",
            Self::Tla => "tla",
        }
    }

    /// Whether there are several members.
    #[must_use]
    pub fn is_cluster(self) -> bool {
        matches!(self, Self::Cluster | Self::FullCluster | Self::Tla)
    }

    /// Whether clients do everything that they can.
    #[must_use]
    pub fn is_full(self) -> bool {
        matches!(self, Self::Full | Self::FullCluster)
    }
}

/// The properties of one run.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Which kind of run it is.
    pub kind: Kind,
    /// Number of machines.
    pub members: usize,
    /// How many of them found the cluster; the others may join it.
    pub founders: usize,
    /// Number of shards of each member at its first start.
    pub shards: Vec<u16>,
    /// Limits of Raft.
    pub raft: RaftLimits,
    /// Longest time that a packet is on its way, in nanoseconds.
    pub delay_ns_max: u64,
    /// One packet in so many meets with mischief; 0 is none.
    pub mischief_one_in: u64,
    /// How long a client waits for an answer, in nanoseconds.
    pub patience_ns: Option<u64>,
    /// Longest time that a process is down, in nanoseconds.
    pub down_ns_max: u64,
    /// Things that an operator does.
    pub operations: u64,
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
    /// Whether processes end, disks fail and lack room, or there are only slow machines and cuts of the network.
    pub processes_end: bool,
    /// Changes of clocks.
    pub clocks_max: u64,
    /// Members whose disks are lost.
    pub wipes_max: u64,
    /// Clients that watch.
    pub viewers: u64,
    /// Longest time until a watch is told how far it is, in nanoseconds.
    pub progress_ns_max: u64,
    /// Responses are divided at this size for watches that allow it.
    pub fragment_bytes: usize,
    segment_blocks: u64,
    flush_bytes: usize,
    flush_age_ns: u64,
}

/// Limits of Raft, small enough to be met.
#[derive(Clone, Copy, Debug)]
pub struct RaftLimits {
    /// See [`windlass_raft::Config`].
    pub append_bytes_max: usize,
    /// As above.
    pub inflight_appends_max: usize,
    /// As above.
    pub uncommitted_bytes_max: usize,
    /// As above.
    pub retained_bytes_min: usize,
    /// As above.
    pub retained_bytes_max: usize,
    /// As above.
    pub pre_vote: bool,
}

impl RaftLimits {
    fn draw(random: &mut Random) -> Self {
        let uncommitted_bytes_max = 1 << between(random, 14, 18);
        Self {
            append_bytes_max: 1 << between(random, 9, 16),
            inflight_appends_max: 1 << random.below(6),
            uncommitted_bytes_max,
            retained_bytes_min: between(random, 2000, 40_000) as usize,
            retained_bytes_max: uncommitted_bytes_max * between(random, 2, 6) as usize,
            pre_vote: true,
        }
    }

    /// Those limits in a configuration of Raft.
    pub fn set(&self, config: &mut windlass_raft::Config) {
        config.append_bytes_max = self.append_bytes_max;
        config.inflight_appends_max = self.inflight_appends_max;
        config.uncommitted_bytes_max = self.uncommitted_bytes_max;
        config.retained_bytes_min = self.retained_bytes_min;
        config.retained_bytes_max = self.retained_bytes_max;
        config.pre_vote = self.pre_vote;
    }
}

impl Profile {
    /// The properties of the run of `seed`.
    #[must_use]
    pub fn of(seed: u64, kind: Kind) -> Self {
        let random = &mut crate::random::stream(seed, Concern::Profile);
        let alone = Self::alone(kind, random);
        let plain = if kind.is_cluster() { alone.joined(random) } else { alone };
        // What comes here draws last, so that the runs of the plain kinds stay as they are.
        match kind {
            Kind::Single | Kind::Cluster => plain,
            Kind::Full | Kind::FullCluster => plain.filled(random),
            Kind::Tla => plain.followed(random),
        }
    }

    /// A specification can follow it, in minutes: short, and with a log that nobody needs a snapshot for.
    fn followed(self, random: &mut Random) -> Self {
        let members = [3, 3, 3, 5, 2, 1][random.below(6) as usize];
        Self {
            members,
            founders: members,
            shards: vec![1; members],
            raft: RaftLimits {
                retained_bytes_min: 1 << 24,
                retained_bytes_max: 1 << 26,
                pre_vote: false,
                ..self.raft
            },
            mischief_one_in: 0,
            requests: between(random, 5, 40),
            operations: random.below(5),
            faults_max: random.below(4),
            processes_end: false,
            ..self
        }
    }

    /// Several members: what happens within milliseconds at one of them takes as long as an election here.
    fn joined(self, random: &mut Random) -> Self {
        let members = [3, 3, 3, 3, 5, 5, 1, 2, 4, 7][random.below(10) as usize];
        let patience_ns = 7 * SECOND_NS;
        Self {
            members,
            founders: if random.one_in(3) { between(random, 1, members as u64) as usize } else { members },
            operations: if random.one_in(2) { random.below(16) } else { 0 },
            shards: (0..members).map(|_| between(random, 1, SHARDS_MAX) as u16).collect(),
            raft: RaftLimits::draw(random),
            delay_ns_max: between(random, 50 * MICROSECOND_NS, 50 * MILLISECOND_NS),
            mischief_one_in: if random.one_in(3) { 0 } else { 1 << between(random, 3, 10) },
            patience_ns: Some(patience_ns),
            down_ns_max: between(random, 50 * MILLISECOND_NS, 6 * SECOND_NS),
            requests: between(random, 60, 800),
            in_flight_max: 1 << random.below(5),
            pause_ns_max: between(random, MILLISECOND_NS, 200 * MILLISECOND_NS),
            disk_ns_max: between(random, 20 * MICROSECOND_NS, 20 * MILLISECOND_NS),
            fault_ns_max: between(random, 20 * MILLISECOND_NS, 4 * SECOND_NS),
            faults_max: random.below(24),
            ..self
        }
    }

    fn alone(kind: Kind, random: &mut Random) -> Self {
        let linger = Linger::For(if random.one_in(4) { random.below(2 * MILLISECOND_NS) } else { 0 });
        let defaults = windlass_raft::Config::new(windlass_types::MemberId(1), 0, 0);
        Self {
            kind,
            members: 1,
            founders: 1,
            raft: RaftLimits {
                append_bytes_max: defaults.append_bytes_max,
                inflight_appends_max: defaults.inflight_appends_max,
                uncommitted_bytes_max: defaults.uncommitted_bytes_max,
                retained_bytes_min: defaults.retained_bytes_min,
                retained_bytes_max: defaults.retained_bytes_max,
                pre_vote: defaults.pre_vote,
            },
            delay_ns_max: MILLISECOND_NS,
            mischief_one_in: 0,
            patience_ns: None,
            down_ns_max: 50 * MILLISECOND_NS,
            operations: 0,
            shards: vec![between(random, 1, SHARDS_MAX) as u16],
            consensus: consensus::Options {
                batch_bytes_max: 1 << between(random, 7, 14),
                linger,
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
            processes_end: true,
            segment_blocks: between(random, 12, 20),
            flush_bytes: between(random, 1000, 8000) as usize,
            flush_age_ns: between(random, MILLISECOND_NS, 40 * MILLISECOND_NS),
            clocks_max: 0,
            wipes_max: 0,
            viewers: 0,
            progress_ns_max: SECOND_NS,
            fragment_bytes: VALUE_BYTES_MAX as usize,
        }
    }

    /// Clients do everything that they can.
    fn filled(self, random: &mut Random) -> Self {
        Self {
            viewers: random.below(4),
            progress_ns_max: between(random, 50 * MILLISECOND_NS, SECOND_NS),
            fragment_bytes: 1 << between(random, 7, 12),
            clocks_max: random.below(8),
            ..self
        }
        .with_lost_disks(random)
    }

    /// Disks are lost, and there are machines to take the place of those members.
    fn with_lost_disks(mut self, random: &mut Random) -> Self {
        if self.founders > 1 && self.members > 2 {
            self.wipes_max = random.below(3);
            self.members = MEMBERS_MAX.min(self.members + self.wipes_max as usize);
            self.shards.resize_with(self.members, || between(random, 1, SHARDS_MAX) as u16);
        }
        self
    }

    /// Time of one tick of a member's clock, in nanoseconds.
    #[must_use]
    pub fn tick_ns(&self, random: &mut Random) -> u64 {
        if self.kind.is_cluster() || self.kind.is_full() {
            between(random, TICK_NS * 9 / 10, TICK_NS * 11 / 10)
        } else {
            TICK_NS
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
            repair: if self.members > 1 { Repair::FromPeers } else { Repair::FromBackup },
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
