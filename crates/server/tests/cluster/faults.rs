//! Members crash, stop and go under load, each in a network namespace of its own where those can be made.

use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{Cluster, ELECTION_TIMEOUT, until};
use crate::etcdctl::Etcdctl;
use crate::history::History;
use crate::load::Load;
use crate::network::Network;
use crate::rounds;
use crate::stalls::allowance;
use crate::state::check;

/// Writes between two faults.
const WRITES: u64 = 60;

/// How soon service must be back, counted from the fault.
pub const BACK_WITHIN: Duration = ELECTION_TIMEOUT.saturating_mul(3);

/// Says what a fault cost. That it was not too much is checked where rounds are asked for, which is to have a machine of its
/// own: beside other tests only what is right is checked, not how soon.
pub fn report(what: &str, history: &History, faults: &[Duration], silence_max: Duration) {
    for &at in faults {
        // What comes later belongs to the next step of the test.
        let silence = history.silence_after(at, BACK_WITHIN);
        let stalled = allowance(&history.stalls, at, at + silence + BACK_WITHIN);
        eprintln!(
            "{what}: no write was acknowledged for {} ms; allowance for stalls of this machine {} ms",
            silence.as_millis(),
            stalled.as_millis()
        );
        let in_time =
            silence < silence_max + stalled || std::env::var_os("WINDLASS_CLUSTER_ROUNDS").is_none();
        assert!(in_time, "{what}: no write for {silence:?}, stalls {stalled:?}");
    }
}

/// Says what a whole run was like.
pub fn report_all(what: &str, history: &History) {
    eprintln!(
        "{what}: {} calls, {} writes acknowledged, longest silence {} ms, failed {:?}",
        history.operations.len(),
        history.written().count(),
        history.longest_silence().as_millis(),
        history.failures()
    );
}

/// Three members, and their network if they are not on loopback.
fn start() -> (Option<Network>, Cluster) {
    let network = Network::make(3);
    let cluster = match &network {
        Some(network) => network.cluster(&[]),
        None => {
            eprintln!("on loopback instead");
            Cluster::start(3, &[])
        }
    };
    (network, cluster)
}

#[test]
fn the_leader_is_killed_again_and_again() {
    let (_network, mut cluster) = start();
    let load = Load::start(&cluster);
    let mut killed = Vec::new();
    for _ in 0..4 * rounds() {
        load.wait_for_writes(WRITES);
        let leader = cluster.wait_for_leader();
        cluster.kill(leader);
        killed.push(load.now());
        load.wait_for_writes(WRITES);
        cluster.restart(leader);
    }
    let history = load.finish();
    report_all("kill -9 of the leader", &history);
    report("kill -9 of the leader", &history, &killed, BACK_WITHIN);
    check(&cluster, &history);
}

#[test]
fn all_are_killed_at_once() {
    let (_network, mut cluster) = start();
    for _ in 0..2 * rounds() {
        let load = Load::start(&cluster);
        load.wait_for_writes(WRITES);
        cluster.running().into_iter().for_each(|i| cluster.kill(i));
        let history = load.finish();
        (0..cluster.len()).for_each(|i| cluster.spawn(i));
        (0..cluster.len()).for_each(|i| cluster.wait_until_ready(i));
        report_all("kill -9 of all", &history);
        check(&cluster, &history);
    }
}

#[test]
fn members_are_stopped_and_go_on() {
    let (_network, cluster) = start();
    let load = Load::start(&cluster);
    let mut stopped = Vec::new();
    for round in 0..2 * rounds() {
        load.wait_for_writes(WRITES);
        let leader = cluster.wait_for_leader();
        let victim = if round % 2 == 0 { leader } else { cluster.follower() };
        cluster.signal(victim, Signal::STOP);
        stopped.push((
            if victim == leader { "SIGSTOP of the leader" } else { "SIGSTOP of a follower" },
            load.now(),
        ));
        // A member that stands still leads on in its own eyes.
        until("another leader", || cluster.leader().filter(|&other| other != victim));
        load.wait_for_writes(WRITES);
        cluster.signal(victim, Signal::CONT);
        cluster.wait_until_caught_up(victim, (victim + 1) % cluster.len());
        // What the next one costs is not this one's.
        until("the time that is looked at", || (load.now() > stopped[round].1 + BACK_WITHIN).then_some(()));
    }
    let history = load.finish();
    report_all("SIGSTOP", &history);
    stopped.iter().for_each(|&(what, at)| report(what, &history, &[at], BACK_WITHIN));
    check(&cluster, &history);
}

/// A leader that is asked to end hands over first, so that nobody waits for an election timeout.
#[test]
fn a_leader_that_ends_hands_over() {
    let (_network, mut cluster) = start();
    let load = Load::start(&cluster);
    let mut ended = Vec::new();
    for _ in 0..3 * rounds() {
        load.wait_for_writes(WRITES);
        let leader = cluster.wait_for_leader();
        let member = cluster.take(leader);
        member.terminate();
        ended.push(load.now());
        let log = member.ended().output;
        assert!(log.contains("stopped"), "{log}");
        load.wait_for_writes(WRITES);
        cluster.restart(leader);
    }
    let history = load.finish();
    report_all("SIGTERM of the leader", &history);
    report("SIGTERM of the leader", &history, &ended, ELECTION_TIMEOUT / 2);
    check(&cluster, &history);
}

/// So does one that is removed, and then it ends.
#[test]
fn a_leader_that_is_removed_hands_over() {
    let (_network, mut cluster) = start();
    let leader = cluster.wait_for_leader();
    let Some(ctl) = Etcdctl::of(&cluster, &[(leader + 1) % 3, (leader + 2) % 3]) else { return };
    let load = Load::start(&cluster);
    load.wait_for_writes(WRITES);
    let id = format!("{:x}", cluster.id(leader));
    let mut asked_at = Vec::new();
    until("a healthy cluster", || {
        let at = load.now();
        match ctl.run(&["member", "remove", &id]) {
            Ok(_) => asked_at.push(at),
            Err(error) if error.contains("unhealthy cluster") => return None,
            Err(error) => panic!("{error}"),
        }
        Some(())
    });
    let ended = cluster.take(leader).ended();
    assert_eq!(ended.code(), 0, "{}", ended.output);
    load.wait_for_writes(WRITES);
    let history = load.finish();
    report_all("removal of the leader", &history);
    report("removal of the leader", &history, &asked_at, ELECTION_TIMEOUT / 2);
    check(&cluster, &history);
}
