//! From what a start found to the consensus core of this run: the options, Raft, the sequencer.

use windlass_io_log::raft_log::{RaftLog, Recovered};
use windlass_raft::Raft;
use windlass_records::batch::Origin;
use windlass_replica::consensus::{self, Consensus, Linger, Parts};
use windlass_replica::founding::restored;
use windlass_replica::shard::system_of;
use windlass_types::{MemberId, nanoseconds};

use crate::net::{REQUEST_TIMEOUT_BASE, Ticket};
use crate::shard::OpenedShards;
use crate::startup::Config;
use crate::startup::config::{Bootstrap, ClusterState};
use crate::startup::data_folder;

/// Most bytes of log in memory, twice what `--catch-up-bytes` takes. A follower that needs more gets a snapshot.
const RETAINED_BYTES_MAX: usize = 256 << 20;

/// How long a member must have been connected to count as healthy, in seconds. Source: etcd `HealthInterval`.
const HEALTHY_S: u64 = 5;

/// This run of a member: a number that no other run of it has. Not the time, which may come back: a wall clock may jump,
/// or stand at the same moment after each start of a machine.
pub(super) fn run_of(member: MemberId) -> Origin {
    Origin { member, incarnation: data_folder::random() }
}

/// Whether a member whose log and shards hold nothing founds a cluster, and does not join one.
pub(super) fn founds(bootstrap: &Bootstrap) -> bool {
    bootstrap.state == ClusterState::New
}

/// Joins the parts.
pub(super) fn assemble(
    config: &Config,
    us: Origin,
    log: RaftLog,
    recovered: Recovered,
    shards: &OpenedShards<Ticket>,
) -> Consensus {
    let system = system_of(shards.shards.iter().map(|shard| &shard.core));
    let alone = config.bootstrap.force_new;
    let raft =
        Raft::new(raft_config(config, us), restored(us.member, recovered, &shards.state, &system, alone));
    let count = u16::try_from(shards.shards.len()).expect("made from a u16");
    let parts = Parts { raft, log, state: shards.state, system, shards: count };
    Consensus::new(us, consensus_options(config), parts)
}

fn raft_config(config: &Config, us: Origin) -> windlass_raft::Config {
    windlass_raft::Config {
        election_ticks: election_ticks(config),
        pre_vote: config.raft.pre_vote,
        retained_bytes_min: config.raft.catch_up_bytes,
        retained_bytes_max: RETAINED_BYTES_MAX,
        ..windlass_raft::Config::new(us.member, us.incarnation, us.incarnation ^ us.member.0)
    }
}

fn consensus_options(config: &Config) -> consensus::Options {
    let timeout = REQUEST_TIMEOUT_BASE + 2 * config.raft.election_timeout;
    let heartbeat_ms = u64::try_from(config.raft.heartbeat_interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let ticks = |ms: u64| ms.div_ceil(heartbeat_ms);
    consensus::Options {
        batch_bytes_max: config.storage.batch_bytes_max,
        leaderless_ns: nanoseconds(timeout),
        leaderless_ticks: ticks(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        strict_reconfig: config.raft.strict_reconfig_check,
        learners_max: config.raft.learners_max,
        healthy_ticks: ticks(HEALTHY_S * 1000),
        stalled_ticks: election_ticks(config),
        election_timeout_ns: nanoseconds(config.raft.election_timeout),
        // The actor changes it.
        linger: Linger::For(0),
    }
}

/// Ticks, that is heartbeats, of an election timeout.
pub(super) fn election_ticks(config: &Config) -> u32 {
    let ticks = config.raft.election_timeout.as_millis() / config.raft.heartbeat_interval.as_millis();
    u32::try_from(ticks).expect("checked with the flags")
}
