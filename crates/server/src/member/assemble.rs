//! From what a start found to the consensus core of this run: the membership, the first entries of a new cluster, Raft.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use windlass_api::etcdserverpb::Member;
use windlass_io_log::raft_log::{RaftLog, Recovered};
use windlass_raft::{Change, ConfChange, Membership, Raft, Restored};
use windlass_records::batch::{BatchBuilder, CommandKind, Origin};
use windlass_records::log::{Entry, EntryKind, HardState};
use windlass_replica::consensus::{self, Consensus, Parts};
use windlass_replica::membership::Members;
use windlass_replica::shard::system_of;
use windlass_types::{LogIndex, MemberId, RequestId, Term};

use crate::net::{REQUEST_TIMEOUT_BASE, Ticket};
use crate::shard::OpenedShards;
use crate::startup::Config;
use crate::startup::config::{Bootstrap, ClusterState};

/// Bytes of log that a member with peers keeps in memory for those that are a little behind.
const TAIL_BYTES: usize = 16 << 20;

/// Most bytes of log in memory. A follower that needs more gets a snapshot.
const RETAINED_BYTES_MAX: usize = 256 << 20;

/// How long a member must have been connected to count as healthy, in seconds. Source: etcd `HealthInterval`.
const HEALTHY_S: u64 = 5;

/// This run of a member.
pub(super) fn run_of(member: MemberId) -> Origin {
    let started = SystemTime::now().duration_since(UNIX_EPOCH);
    Origin { member, incarnation: started.map_or(1, |d| d.as_nanos() as u64) }
}

/// The log of a founding member of a new cluster: one entry for each member, the same in all of their logs, committed
/// from the start because all of them have it. Source: etcd `bootstrap.go`, which does the same.
pub(super) fn founding(bootstrap: &Bootstrap) -> Recovered {
    let entries: Vec<Entry> = (1..)
        .zip(bootstrap.founders())
        .map(|(index, (id, peer_ur_ls))| {
            let member = Member { id: id.0, peer_ur_ls, ..Member::default() };
            let mut batch = BatchBuilder::default();
            batch.push(RequestId::ZERO, CommandKind::MemberAdd, &member.encode_to_vec());
            // Nobody waits for it.
            let context = batch.finish(Origin { member: MemberId::ZERO, incarnation: 0 });
            let change = ConfChange { context, ..ConfChange::single(Change::AddVoter(id)) };
            Entry {
                term: Term(1),
                index: LogIndex(index),
                kind: EntryKind::ConfChange,
                data: change.encode(),
            }
        })
        .collect();
    let commit = LogIndex(entries.len() as u64);
    let hard_state = HardState { term: Term(1), vote: MemberId::ZERO, commit };
    Recovered { hard_state, start_index: LogIndex::ZERO, start_term: Term::ZERO, entries }
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
    let membership = membership(config, us.member, &Members::of(&system), &recovered);
    let mut hard_state = recovered.hard_state;
    // The commit index on disk is a hint that may lag; what a shard holds was committed.
    hard_state.commit = hard_state.commit.max(shards.state.index);
    let raft = Raft::new(
        raft_config(config, us),
        Restored {
            hard_state,
            start_index: recovered.start_index,
            start_term: recovered.start_term,
            entries: recovered.entries,
            applied: shards.state.index,
            membership,
        },
    );
    let count = u16::try_from(shards.shards.len()).expect("made from a u16");
    let parts = Parts { raft, log, state: shards.state, system, shards: count };
    Consensus::new(us, consensus_options(config), parts)
}

/// Who votes, as of the state that the shards hold.
fn membership(config: &Config, us: MemberId, members: &Members, recovered: &Recovered) -> Membership {
    let is_empty = members.iter().next().is_none();
    // The log says it from its first entry on, or a leader will send it.
    let is_to_come = recovered.entries.first().is_none_or(|e| e.kind == EntryKind::ConfChange);
    if config.bootstrap.force_new || (is_empty && !is_to_come) {
        return Membership::of_voters([us]);
    }
    if is_empty { Membership::default() } else { members.voting() }
}

fn raft_config(config: &Config, us: Origin) -> windlass_raft::Config {
    windlass_raft::Config {
        election_ticks: election_ticks(config),
        pre_vote: config.raft.pre_vote,
        retained_bytes_min: TAIL_BYTES,
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
        linger_ns: u64::try_from(config.storage.batch_linger.as_nanos()).unwrap_or(u64::MAX),
        leaderless_ns: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        leaderless_ticks: ticks(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        strict_reconfig: config.raft.strict_reconfig_check,
        learners_max: config.raft.learners_max,
        healthy_ticks: ticks(HEALTHY_S * 1000),
        stalled_ticks: election_ticks(config),
        election_timeout_ns: u64::try_from(config.raft.election_timeout.as_nanos()).unwrap_or(u64::MAX),
    }
}

/// Ticks, that is heartbeats, of an election timeout.
pub(super) fn election_ticks(config: &Config) -> u32 {
    let ticks = config.raft.election_timeout.as_millis() / config.raft.heartbeat_interval.as_millis();
    u32::try_from(ticks).expect("checked with the flags")
}
