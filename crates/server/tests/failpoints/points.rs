//! One test for each way in which a place is passed.

use windlass_api::etcdserverpb::{
    CompactionRequest, DefragmentRequest, MemberAddRequest, MemberRemoveRequest, PutRequest,
    WatchCreateRequest,
};
use windlass_client::{Config, Watch};

use crate::cluster::{Cluster, current_revision, until};
use crate::control::request;
use crate::load::{self, Load, client_of};
use crate::process::free_address;
use crate::state::{check, check_equal};

/// Points that are passed again and again while clients write.
const UNDER_LOAD: [&str; 10] = [
    "afterCommit",
    "beforeApplyOneEntryNormal",
    "beforeCommit",
    "raftAfterSave",
    "raftAfterWALRelease",
    "raftBeforeFollowerSend",
    "raftBeforeLeaderSend",
    "raftBeforeSave",
    "replyBeforeSend",
    "stateBeforeCommit",
];

/// Points of a start.
const AT_START: [&str; 4] =
    ["startAfterLog", "startAfterShards", "layoutBeforeManifest", "layoutAfterManifest"];

/// Points of a snapshot at its receiver. Those before the process begins anew can be set over HTTP, others at the start only.
const OF_A_SNAPSHOT: [&str; 6] = [
    "raftBeforeSaveSnap",
    "snapDBRenameBeforeDirSync",
    "raftAfterSaveSnap",
    "raftBeforeApplySnap",
    "applyBeforeOpenSnapshot",
    "raftAfterApplySnap",
];

/// Writes between two crashes.
const WRITES: u64 = 30;

/// Exit code of a panic.
const PANIC: i32 = 134;

/// Values of which a member that is away misses so many that it needs a snapshot.
const VALUE_BYTES: usize = 16 << 10;

/// A cluster of which each member serves its fail points.
struct Rig {
    cluster: Cluster,
    named: String,
    addresses: Vec<String>,
}

impl Rig {
    fn start(flags: &[&str]) -> Self {
        let mut cluster = Cluster::start(3, flags);
        let named = format!("--initial-cluster={}", cluster.initial_cluster(&[0, 1, 2]));
        let addresses: Vec<String> = (0..3).map(|_| free_address()).collect();
        for i in 0..3 {
            cluster.take(i).stop_gracefully();
        }
        let mut rig = Self { cluster, named, addresses };
        (0..3).for_each(|i| rig.spawn(i, "", &[]));
        (0..3).for_each(|i| rig.cluster.wait_until_ready(i));
        rig
    }

    /// Starts a member with fail points set, and further flags.
    fn spawn(&mut self, i: usize, points: &str, flags: &[&str]) {
        let all: Vec<&str> = [self.named.as_str()].into_iter().chain(flags.iter().copied()).collect();
        self.cluster.set_flags(i, &all);
        let launch = self.cluster.launch(i);
        let launch = launch.variable("GOFAIL_FAILPOINTS", points).variable("GOFAIL_HTTP", &self.addresses[i]);
        self.cluster.put(i, launch.spawn());
    }

    fn set(&self, i: usize, point: &str, terms: &str) {
        // The process may end before its answer has arrived.
        if let Ok((status, body)) = request(&self.addresses[i], "PUT", point, terms) {
            assert_eq!(status, 204, "{point}={terms}: {body}");
        }
    }

    /// Waits until a member has crashed.
    fn wait_for_crash(&mut self, i: usize, point: &str) {
        let status = until(point, || self.cluster.has_ended(i));
        let member = self.cluster.take(i);
        let log = member.log();
        let last = log.lines().rev().find(|line| line.contains("failpoint panic")).unwrap_or_default();
        assert!(last.contains(point), "{point}: ended with {status}:\n{log}");
        let code = member.ended().code();
        assert_eq!(code, PANIC, "{point}");
        eprintln!("crashed at {point}");
    }

    /// Crashes a member where it passes a point, and starts it again.
    fn crash(&mut self, i: usize, point: &str, pass: impl FnOnce(&Cluster)) {
        self.set(i, point, "panic");
        pass(&self.cluster);
        self.wait_for_crash(i, point);
        self.restart(i, &[]);
    }

    fn restart(&mut self, i: usize, flags: &[&str]) {
        self.spawn(i, "", flags);
        self.cluster.wait_until_ready(i);
        self.cluster.wait_until_caught_up(i, (i + 1) % 3);
    }

    /// Somebody for whom the point is passed.
    fn victim(&self, point: &str) -> usize {
        let leader = self.cluster.wait_for_leader();
        match point {
            "raftBeforeLeaderSend" => leader,
            "raftBeforeFollowerSend" => (leader + 1) % 3,
            // As many of the leader's as of others.
            _ => (leader + point.len() % 2) % 3,
        }
    }
}

#[test]
fn points_are_listed_set_and_deleted_over_http() {
    let rig = Rig::start(&[]);
    let address = &rig.addresses[0];
    let ask = |method: &str, path: &str, body: &str| request(address, method, path, body).expect("an answer");
    let (status, all) = ask("GET", "", "");
    assert_eq!((status, all.lines().count()), (200, windlass::failpoints::names().count()));
    assert!(all.contains("raftBeforeSave=\n"), "{all}");
    assert_eq!(ask("PUT", "raftAfterSave", "2*sleep(1)").0, 204);
    assert_eq!(ask("GET", "raftAfterSave", ""), (200, "2*sleep(1)\n".to_owned()));
    let mut client = client_of(&rig.cluster.endpoint(0));
    until("two writes of the log", || {
        let put = PutRequest { key: "k".into(), ..PutRequest::default() };
        client.put(&put).expect("it is taken");
        (ask("GET", "raftAfterSave/count", "").1 == "2\n").then_some(())
    });
    assert_eq!(ask("DELETE", "raftAfterSave", "").0, 204);
    assert_eq!(ask("DELETE", "raftAfterSave", "").0, 400);
    assert_eq!(ask("GET", "raftAfterSave", "").0, 404);
    assert_eq!(ask("PUT", "raftAfterSave", "explode").0, 400);
    assert_eq!(ask("PUT", "nowhere", "off").0, 400);
    assert_eq!(ask("POST", "raftAfterSave", "off").0, 405);
}

#[test]
fn a_crash_at_every_point_under_load_loses_nothing() {
    let mut rig = Rig::start(&["--shard-flush-interval=20ms"]);
    let load = Load::start(&rig.cluster);
    for point in UNDER_LOAD {
        load.wait_for_writes(WRITES);
        let victim = rig.victim(point);
        rig.crash(victim, point, |_| {});
    }
    load.wait_for_writes(WRITES);
    check(&rig.cluster, &load.finish());
}

#[test]
fn messages_that_are_dropped_and_writes_that_are_slow_lose_nothing() {
    let rig = Rig::start(&[]);
    let load = Load::start(&rig.cluster);
    for (point, terms) in [
        ("raftBeforeLeaderSend", "20.0%return"),
        ("raftBeforeFollowerSend", "20.0%return"),
        ("raftAfterSave", "30.0%sleep(20)"),
        ("beforeApplyOneEntryNormal", "10.0%sleep(20)"),
    ] {
        (0..3).for_each(|i| rig.set(i, point, terms));
        load.wait_for_writes(WRITES);
        for address in &rig.addresses {
            assert_eq!(request(address, "DELETE", point, "").expect("an answer").0, 204);
        }
    }
    check(&rig.cluster, &load.finish());
}

#[test]
fn a_crash_at_every_point_of_a_start_loses_nothing() {
    let mut rig = Rig::start(&[]);
    let load = Load::start(&rig.cluster);
    let victim = 0;
    for (number, point) in AT_START.into_iter().enumerate() {
        load.wait_for_writes(WRITES);
        rig.cluster.kill(victim);
        // Another number of shards, so that they are laid out anew.
        let shards = format!("--shards={}", 2 + number % 2);
        rig.spawn(victim, &format!("{point}=kill"), &[&shards]);
        until(point, || rig.cluster.has_ended(victim));
        drop(rig.cluster.take(victim));
        eprintln!("killed at {point}");
        rig.restart(victim, &[&shards]);
    }
    load.wait_for_writes(WRITES);
    check(&rig.cluster, &load.finish());
}

#[test]
fn a_crash_at_every_point_of_a_snapshot_loses_nothing() {
    let mut rig = Rig::start(&["--catch-up-bytes=4096", "--shard-flush-interval=20ms"]);
    let victim = rig.cluster.follower();
    for point in OF_A_SNAPSHOT {
        rig.cluster.kill(victim);
        fill(&rig.cluster, (victim + 1) % 3, point);
        rig.spawn(victim, &format!("{point}=kill"), &[]);
        until(point, || rig.cluster.has_ended(victim));
        drop(rig.cluster.take(victim));
        eprintln!("killed at {point}");
        rig.restart(victim, &[]);
    }
    // The sender crashes when a member that was away comes back.
    let (leader, point) = (rig.cluster.wait_for_leader(), "snapshotBeforeSend");
    let away = (leader + 1) % 3;
    rig.cluster.kill(away);
    fill(&rig.cluster, leader, point);
    let leader = rig.cluster.wait_for_leader();
    rig.set(leader, point, "panic");
    rig.spawn(away, "", &[]);
    rig.wait_for_crash(leader, point);
    rig.spawn(leader, "", &[]);
    // Both, before either is held against the other: one of them has a snapshot to install.
    rig.cluster.wait_until_ready(leader);
    rig.cluster.wait_until_ready(away);
    rig.cluster.wait_until_caught_up(away, leader);
    check_equal(&rig.cluster);
}

/// Puts large values until a snapshot is the only way back for whoever is away.
fn fill(cluster: &Cluster, via: usize, prefix: &str) {
    load::fill(cluster, via, prefix, VALUE_BYTES);
}

#[test]
fn a_crash_in_a_compaction_a_checkpoint_a_watch_and_a_change_of_members_loses_nothing() {
    let mut rig = Rig::start(&[]);
    let load = Load::start(&rig.cluster);
    let compact = |cluster: &Cluster| {
        let mut client = client_of(&cluster.endpoint(cluster.wait_for_leader()));
        let revision = current_revision(&mut client);
        // The one who answers may be the one who crashes.
        let _ = client.compact(&CompactionRequest { revision, physical: false });
    };
    for point in ["compactBeforeCommitBatch", "compactAfterCommitBatch", "compactBeforeSetFinishedCompact"] {
        load.wait_for_writes(WRITES);
        let victim = rig.victim(point);
        rig.crash(victim, point, compact);
    }
    load.wait_for_writes(WRITES);
    let victim = rig.victim("");
    rig.crash(victim, "defragBeforeCopy", |cluster| {
        let _ = client_of(&cluster.endpoint(victim)).defragment(&DefragmentRequest {});
    });
    load.wait_for_writes(WRITES);
    rig.crash(victim, "beforeSendWatchResponse", |cluster| {
        let endpoints = vec![cluster.endpoint(victim)];
        let (dial_timeout, command_timeout) =
            (crate::process::REQUEST_TIMEOUT, crate::process::REQUEST_TIMEOUT);
        let config = Config { endpoints, dial_timeout, command_timeout };
        let everything = WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            ..WatchCreateRequest::default()
        };
        drop(Watch::new(&config, everything));
    });
    load.wait_for_writes(WRITES);
    let victim = rig.cluster.follower();
    rig.crash(victim, "beforeApplyOneConfChange", |cluster| {
        let mut client = client_of(&cluster.endpoint(cluster.wait_for_leader()));
        let peer_ur_ls = vec!["http://127.0.0.1:1".to_owned()];
        let added = until("a learner to be added", || {
            client.member_add(&MemberAddRequest { peer_ur_ls: peer_ur_ls.clone(), is_learner: true }).ok()
        });
        let id = added.member.expect("it is told").id;
        until("it to be removed", || client.member_remove(&MemberRemoveRequest { id }).ok());
    });
    // What was compacted cannot be read back revision by revision; what is there now can.
    let history = load.finish();
    history.check().unwrap_or_else(|why| panic!("{why}"));
    check_equal(&rig.cluster);
}
