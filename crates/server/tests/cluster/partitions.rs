//! Members are cut off from each other, in both directions or in one, under load. Clients still reach all of them, so that
//! a member that is cut off has every opportunity to lie.

use std::time::Duration;

use crate::cluster::{Cluster, ELECTION_TIMEOUT, until};
use crate::faults::{BACK_WITHIN, report, report_all};
use crate::load::Load;
use crate::network::Network;
use crate::rounds;
use crate::snapshots;
use crate::stalls::allowance;
use crate::state::check;

/// Writes between two faults.
const WRITES: u64 = 60;

/// A cut that a member lives with must last longer than this before it counts as survived.
const LASTS: Duration = ELECTION_TIMEOUT.saturating_mul(3);

/// Waits until the cut has lasted, with writes all along.
fn last(load: &Load, since: Duration) {
    until("the cut to have lasted", || (load.now() > since + LASTS).then_some(()));
    load.wait_for_writes(WRITES);
}

fn another_leader(cluster: &Cluster, than: usize) -> usize {
    until("another leader", || cluster.leader().filter(|&leader| leader != than))
}

#[test]
fn a_leader_is_cut_off() {
    let Some(network) = Network::make(3) else { return };
    let cluster = network.cluster(&[]);
    let load = Load::start(&cluster);
    let mut cuts = Vec::new();
    for _ in 0..rounds() {
        load.wait_for_writes(WRITES);
        let leader = cluster.wait_for_leader();
        network.isolate(leader);
        cuts.push(load.now());
        another_leader(&cluster, leader);
        last(&load, cuts[cuts.len() - 1]);
        network.join_again(leader);
        cluster.wait_until_caught_up(leader, (leader + 1) % 3);
    }
    let history = load.finish();
    report_all("leader cut off", &history);
    report("leader cut off", &history, &cuts, BACK_WITHIN);
    check(&cluster, &history);
}

/// A follower that is alone must not disturb the others, neither while it is away nor when it returns.
#[test]
fn a_follower_is_cut_off() {
    let Some(network) = Network::make(3) else { return };
    let cluster = network.cluster(&[]);
    let load = Load::start(&cluster);
    let mut moves = Vec::new();
    for _ in 0..rounds() {
        load.wait_for_writes(WRITES);
        let (leader, victim) = (cluster.wait_for_leader(), cluster.follower());
        let term = cluster.status(leader).expect("it answers").raft_term;
        network.isolate(victim);
        let at = load.now();
        last(&load, at);
        network.join_again(victim);
        cluster.wait_until_caught_up(victim, leader);
        load.wait_for_writes(WRITES);
        let status = cluster.status(leader).expect("it answers");
        if (cluster.leader(), status.raft_term) != (Some(leader), term) {
            moves.push((at, load.now()));
        }
    }
    let history = load.finish();
    for (from, to) in moves {
        // A leader whose disk stands still hands over, whoever is cut off.
        let stalled = allowance(&history.stalls, from, to);
        assert!(
            stalled >= ELECTION_TIMEOUT,
            "pre-vote keeps the leader, and the machine stood still for {stalled:?}"
        );
    }
    report_all("follower cut off", &history);
    check(&cluster, &history);
}

/// The leader hears the others and is not heard by them, or the reverse: both must end with a leader that can work.
#[test]
fn a_leader_is_cut_off_in_one_direction() {
    let Some(network) = Network::make(3) else { return };
    let cluster = network.cluster(&[]);
    let load = Load::start(&cluster);
    let mut cuts = Vec::new();
    for round in 0..2 * rounds() {
        load.wait_for_writes(WRITES);
        let leader = cluster.wait_for_leader();
        let others = [(leader + 1) % 3, (leader + 2) % 3];
        let directions = others.map(|other| if round % 2 == 0 { (leader, other) } else { (other, leader) });
        directions.iter().for_each(|&(from, to)| network.cut_one_way(from, to));
        let what = if round % 2 == 0 { "leader is not heard" } else { "leader hears nobody" };
        cuts.push((what, load.now()));
        another_leader(&cluster, leader);
        last(&load, load.now().saturating_sub(LASTS / 2));
        directions.iter().for_each(|&(from, to)| network.mend_one_way(from, to));
        cluster.wait_until_caught_up(leader, others[0]);
    }
    let history = load.finish();
    report_all("leader cut off in one direction", &history);
    cuts.iter().for_each(|&(what, at)| report(what, &history, &[at], BACK_WITHIN));
    check(&cluster, &history);
}

/// Two members that do not reach each other, and a third that reaches both: whoever leads, service goes on.
#[test]
fn one_link_is_cut() {
    let Some(network) = Network::make(3) else { return };
    let cluster = network.cluster(&[]);
    let load = Load::start(&cluster);
    let mut cuts = Vec::new();
    for _ in 0..rounds() {
        load.wait_for_writes(WRITES);
        let (leader, other) = (cluster.wait_for_leader(), cluster.follower());
        network.cut_one_way(leader, other);
        network.cut_one_way(other, leader);
        cuts.push(load.now());
        last(&load, load.now());
        network.mend_one_way(leader, other);
        network.mend_one_way(other, leader);
        cluster.wait_until_caught_up(other, leader);
    }
    let history = load.finish();
    report_all("one link cut", &history);
    report("one link cut", &history, &cuts, BACK_WITHIN);
    check(&cluster, &history);
}

/// A follower that is cut off for longer than the log is kept gets a snapshot when it is back.
#[test]
fn a_follower_is_cut_off_for_longer_than_the_log_is_kept() {
    let Some(network) = Network::make(3) else { return };
    let cluster = network.cluster(snapshots::FLAGS);
    let load = Load::start(&cluster);
    for round in 0..rounds() {
        load.wait_for_writes(WRITES);
        let (leader, victim) = (cluster.wait_for_leader(), cluster.follower());
        network.isolate(victim);
        snapshots::fill(&cluster, leader, &format!("cut-{round}"));
        let installed = snapshots::installs(&cluster, victim);
        network.join_again(victim);
        until("a snapshot to be installed", || {
            (snapshots::installs(&cluster, victim) > installed).then_some(())
        });
        cluster.wait_until_caught_up(victim, leader);
    }
    let history = load.finish();
    report_all("follower cut off for longer than the log is kept", &history);
    check(&cluster, &history);
}
