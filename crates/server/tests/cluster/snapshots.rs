//! Members that miss more than the log is kept for, and get a snapshot: also into another number of shards, and with a
//! crash at each step of the way.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cluster::{Cluster, until, until_soon};
use crate::load::{self, Load};
use crate::rounds;
use crate::state::{check, check_equal};

/// So little log is kept that a member which was away for a moment needs a snapshot.
pub const FLAGS: &[&str] = &["--catch-up-bytes=4096", "--shard-flush-interval=20ms"];

/// Values large enough that a snapshot takes its time.
const VALUE_BYTES: usize = 64 << 10;

/// Where a snapshot lies in the data folder while it arrives, and when it is whole.
const ARRIVING: &str = "snapshot/arriving";
const READY: &str = "snapshot/ready";

/// What a member logs when it begins with a snapshot that it received.
const INSTALLING: &str = "installing a snapshot";

/// Writes large values until a snapshot is the only way back for whoever is away.
pub fn fill(cluster: &Cluster, via: usize, prefix: &str) {
    load::fill(cluster, via, prefix, VALUE_BYTES);
}

pub fn installs(cluster: &Cluster, i: usize) -> usize {
    cluster.member(i).log().matches(INSTALLING).count()
}

#[test]
fn a_member_that_was_away_gets_a_snapshot_under_load() {
    let mut cluster = Cluster::start(3, FLAGS);
    let load = Load::start(&cluster);
    for round in 0..2 * rounds() {
        load.wait_for_writes(20);
        let victim = cluster.follower();
        let via = (victim + 1) % 3;
        cluster.kill(victim);
        fill(&cluster, via, &format!("away-{round}"));
        // The receiver lays it out anew; members need not have equally many shards.
        let named = cluster.initial_cluster(&[0, 1, 2]);
        let shards = format!("--shards={}", 3 - round % 2);
        cluster.set_flags(victim, &[&format!("--initial-cluster={named}"), &shards]);
        cluster.restart(victim);
        until("a snapshot to be installed", || (installs(&cluster, victim) > 0).then_some(()));
        cluster.wait_until_caught_up(victim, via);
    }
    check(&cluster, &load.finish());
}

/// The process goes on, finds that the log has gone, and begins anew by itself.
#[test]
fn a_member_that_stood_still_gets_a_snapshot() {
    let cluster = Cluster::start(3, FLAGS);
    let victim = cluster.follower();
    let via = (victim + 1) % 3;
    cluster.signal(victim, Signal::STOP);
    fill(&cluster, via, "stopped");
    cluster.signal(victim, Signal::CONT);
    until("a snapshot to be installed", || (installs(&cluster, victim) > 0).then_some(()));
    cluster.wait_until_caught_up(victim, via);
    check_equal(&cluster);
}

/// When the transport gives up a sender that does not come back.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// A place on the way from the first byte of a snapshot to a member that serves from it, and whether it is reached. One that was
/// passed between two looks counts: the crash is a little later then.
type Step = (&'static str, fn(&Path, &str) -> bool);

const STEPS: [Step; 7] = [
    ("it begins to arrive", |data, log| data.join(ARRIVING).exists() || is_whole(data, log)),
    ("a part has arrived", |data, log| bytes(&data.join(ARRIVING)) > 1 << 20 || is_whole(data, log)),
    ("it is whole", is_whole),
    ("the process begins anew", |_, log| log.contains("starting anew")),
    ("its installation begins", |_, log| log.contains(INSTALLING)),
    ("the shards are laid out", |_, log| log_after(log).contains("recovered")),
    ("it is installed", |data, log| log.contains(INSTALLING) && !data.join(READY).exists()),
];

fn is_whole(data: &Path, log: &str) -> bool {
    data.join(READY).exists() || log.contains("starting anew")
}

fn bytes(path: &PathBuf) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn log_after(log: &str) -> &str {
    log.rsplit_once(INSTALLING).map_or("", |(_, rest)| rest)
}

#[test]
fn a_crash_at_any_step_of_a_snapshot_is_survived() {
    let mut cluster = Cluster::start(3, FLAGS);
    let victim = cluster.follower();
    let via = (victim + 1) % 3;
    for (number, (what, is_there)) in STEPS.iter().enumerate() {
        cluster.kill(victim);
        fill(&cluster, via, &format!("step-{number}"));
        let data = cluster.data_folder(victim);
        let log_path = data.with_file_name("log.txt");
        let seen = std::fs::read_to_string(&log_path).expect("it logged").len();
        let shards = format!("--shards={}", 1 + number % 3);
        let named = format!("--initial-cluster={}", cluster.initial_cluster(&[0, 1, 2]));
        cluster.set_flags(victim, &[&named, &shards]);
        cluster.spawn(victim);
        until_soon(what, || {
            let log = std::fs::read_to_string(&log_path).expect("it logged");
            is_there(&data, &log[seen..]).then_some(())
        });
        cluster.kill(victim);
        let begun = Instant::now();
        cluster.restart(victim);
        cluster.wait_until_caught_up(victim, via);
        let took = begun.elapsed();
        eprintln!("crash when {what}: it has caught up after {:.1} s", took.as_secs_f64());
        assert!(took < LOST_AFTER, "{what}: it waited for the rest of what it got before");
    }
    check_equal(&cluster);
}
