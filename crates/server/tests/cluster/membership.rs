//! Members come and go, by a stock etcdctl.

use std::time::Instant;

use windlass_api::etcdserverpb::{
    MemberListRequest, MemberListResponse, PutRequest, RangeRequest, StatusRequest,
};
use windlass_api::method;

use crate::cluster::{Cluster, PATIENCE, until};
use crate::etcdctl::Etcdctl;
use crate::load::{Load, client_of};
use crate::state::{check, check_equal};

/// The exit code of a member whose data is not what the cluster knows of it.
pub const FOLDER_IDENTITY: i32 = 13;

fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// Waits until so many members have told the others their names.
fn wait_until_started(ctl: &Etcdctl, count: usize) {
    let started = || ctl.ok(&["member", "list"]).matches(", started,").count();
    until("all members to be listed as started", || (started() == count).then_some(()));
}

/// The id in `Member 1234 added to cluster 5678`.
fn added_id(output: &str) -> String {
    output.split_whitespace().nth(1).unwrap_or_else(|| panic!("no id in {output}")).to_owned()
}

/// Adds a member, which is not started.
fn add(ctl: &Etcdctl, cluster: &mut Cluster, name: &str, learner: bool) -> (usize, String) {
    let i = cluster.add_seat(name);
    let urls = format!("--peer-urls={}", cluster.seat(i).peer_url());
    let mut args = vec!["member", "add", name, &urls];
    args.extend(learner.then_some("--learner"));
    // Right after a start its members have not been connected for long enough.
    let added = until("a healthy cluster", || match ctl.run(&args) {
        Ok(output) => Some(output),
        Err(error)
            if ["unhealthy cluster", "leader changed", "no leader"].iter().any(|t| error.contains(t)) =>
        {
            None
        }
        Err(error) => panic!("{error}"),
    });
    (i, added_id(&added))
}

#[test]
fn a_learner_joins_is_promoted_and_is_removed() {
    let mut cluster = Cluster::start(3, &[]);
    let Some(ctl) = Etcdctl::of(&cluster, &[0, 1, 2]) else { return };
    let load = Load::start(&cluster);
    load.wait_for_writes(50);
    let (learner, id) = add(&ctl, &mut cluster, "m4", true);
    ctl.fails(&["member", "promote", &id], "can only promote a learner member which is in sync with leader");
    let second = ["member", "add", "m5", "--learner", "--peer-urls=http://127.0.0.1:1"];
    ctl.fails(&second, "too many learner members in cluster");
    cluster.set_joining(learner, &[0, 1, 2]);
    cluster.spawn(learner);
    until("the learner to answer", || cluster.status(learner).filter(|status| status.is_learner));
    answers_as_a_learner(&cluster, learner);
    let promoted = until("the learner to catch up", || match ctl.run(&["member", "promote", &id]) {
        Ok(output) => Some(output),
        Err(error)
            if ["in sync with leader", "leader changed", "no leader"].iter().any(|t| error.contains(t)) =>
        {
            None
        }
        Err(error) => panic!("{error}"),
    });
    assert!(promoted.contains("promoted in cluster"), "{promoted}");
    ctl.fails(&["member", "promote", &id], "can only promote a learner member");
    cluster.wait_until_ready(learner);
    wait_until_started(&ctl, 4);
    load.wait_for_writes(50);
    check(&cluster, &load.finish());
    ctl.change(&["member", "remove", &id]);
    let mut client = client_of(&cluster.endpoint(learner));
    let local = RangeRequest { key: "k".to_owned().into(), serializable: true, ..RangeRequest::default() };
    let refused = until("nothing to be served any more", || client.range(&local).err()).to_string();
    // So that clients turn to another member. It may also have ended meanwhile.
    assert!(!refused.starts_with("etcdserver: ") || refused == "etcdserver: server stopped", "{refused}");
    let ended = cluster.take(learner).ended();
    assert_eq!(ended.code(), 0, "{}", ended.output);
    assert!(ended.output.contains("the member has been permanently removed from the cluster"));
    // Its folder is that of a member which is none any more.
    let again = cluster.launch(learner).ended(0);
    assert!(again.output.contains("permanently removed"), "{}", again.output);
}

/// etcd: only serializable ranges and the status; there are no snapshots yet.
fn answers_as_a_learner(cluster: &Cluster, learner: usize) {
    let mut client = client_of(&cluster.endpoint(learner));
    let key = || "k".to_owned().into();
    let refused = "etcdserver: rpc not supported for learner";
    let range = RangeRequest { key: key(), ..RangeRequest::default() };
    client.range(&RangeRequest { serializable: true, ..range.clone() }).expect("a local read");
    client.status(&StatusRequest {}).expect("a status");
    assert_eq!(client.range(&range).expect_err("linearizable").to_string(), refused);
    let put = PutRequest { key: key(), ..PutRequest::default() };
    assert_eq!(client.put(&put).expect_err("a write").to_string(), refused);
    let list = client.member_list(&MemberListRequest { linearizable: false });
    assert_eq!(list.expect_err("as in etcd").to_string(), refused);
    let stream = client.range_stream(&range, |_| ());
    assert_eq!(stream.expect_err("a stream").to_string(), refused);
}

#[test]
fn status_and_leader_of_five_members() {
    let cluster = Cluster::start(5, &[]);
    let Some(ctl) = Etcdctl::of(&cluster, &[0, 1, 2, 3, 4]) else { return };
    let (leader, follower) = (cluster.wait_for_leader(), cluster.follower());
    let table = ctl.ok(&["endpoint", "status", "-w", "table"]);
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("127.")).collect();
    assert_eq!(rows.len(), 5, "{table}");
    let leads = |row: &&&str| row.split('|').nth(5).is_some_and(|cell| cell.trim() == "true");
    assert_eq!(rows.iter().filter(leads).count(), 1, "{table}");
    assert_eq!(ctl.ok(&["endpoint", "health"]).matches("is healthy").count(), 5);
    let to = hex(cluster.id(follower));
    let moved = ctl.ok(&["move-leader", &to]);
    assert!(moved.contains("Leadership transferred from"), "{moved}");
    until("the chosen leader", || cluster.leader().filter(|&i| i == follower));
    let Some(one) = Etcdctl::of(&cluster, &[leader]) else { return };
    one.fails(&["move-leader", &to], "no leader endpoint given at");
    ctl.fails(&["move-leader", "1234"], "bad leader transferee");
    check_equal(&cluster);
}

#[test]
fn changes_that_could_cost_the_quorum_are_refused() {
    let mut cluster = Cluster::start(3, &[]);
    let Some(ctl) = Etcdctl::of(&cluster, &[0, 1, 2]) else { return };
    let urls = format!("--peer-urls={}", cluster.seat(0).peer_url());
    until("a healthy cluster", || {
        let error = ctl.run(&["member", "add", "m4", &urls]).expect_err("the URL is taken");
        error.contains("Peer URLs already exists").then_some(())
    });
    ctl.fails(&["member", "remove", "1234"], "member not found");
    ctl.fails(&["member", "update", "1234", "--peer-urls=http://127.0.0.1:1"], "member not found");
    // Nobody could connect to it.
    ctl.fails(&["member", "add", "m4", "--peer-urls=unix://m4:1"], "given member URLs are invalid");
    wait_until_started(&ctl, 3);
    let victim = cluster.follower();
    let (id, others) = (hex(cluster.id(victim)), [(victim + 1) % 3, (victim + 2) % 3]);
    cluster.kill(victim);
    let Some(ctl) = Etcdctl::of(&cluster, &others) else { return };
    ctl.fails(&["member", "add", "m4", "--peer-urls=http://127.0.0.1:1"], "unhealthy cluster");
    ctl.fails(&["member", "remove", &hex(cluster.id(others[0]))], "unhealthy cluster");
    // One that is away may go, and its place be taken.
    ctl.change(&["member", "remove", &id]);
    let (third, _) = add(&ctl, &mut cluster, "m4", false);
    ctl.fails(&["member", "add", "m5", "--peer-urls=http://127.0.0.1:1"], "not enough started members");
    starts_with_wrong_flags(&mut cluster, third, others);
    cluster.set_joining(third, &others);
    cluster.restart(third);
    check_equal(&cluster);
}

fn starts_with_wrong_flags(cluster: &mut Cluster, i: usize, others: [usize; 2]) {
    cluster.set_joining(i, &others[..1]);
    let ended = cluster.launch(i).ended(1);
    assert!(ended.output.contains("member count is unequal"), "{}", ended.output);
    let named = cluster.initial_cluster(&[others[0], others[1], i]);
    let elsewhere = named.replace(&cluster.seat(others[0]).peer_url(), "http://127.0.0.1:9");
    cluster.set_flags(i, &[&format!("--initial-cluster={elsewhere}"), "--initial-cluster-state=existing"]);
    let ended = cluster.launch(i).ended(1);
    assert!(ended.output.contains("unmatched member while checking PeerURLs"), "{}", ended.output);
    let unknown = cluster.add_seat("m6");
    cluster.set_joining(unknown, &others);
    let ended = cluster.launch(unknown).ended(1);
    assert!(ended.output.contains("error validating peerURLs"), "{}", ended.output);
}

#[test]
fn a_member_without_its_disk_must_be_added_anew() {
    let mut cluster = Cluster::start(3, &[]);
    let Some(ctl) = Etcdctl::of(&cluster, &[0, 1]) else { return };
    let (victim, old) = (2, hex(cluster.id(2)));
    cluster.kill(victim);
    for folder in ["log", "shards"] {
        std::fs::remove_dir_all(cluster.data_folder(victim).join(folder))
            .expect("all but its identity is lost");
    }
    let ended = cluster.launch(victim).ended(FOLDER_IDENTITY);
    assert!(ended.output.contains("has already been bootstrapped"), "{}", ended.output);
    std::fs::remove_dir_all(cluster.data_folder(victim)).expect("its disk is lost");
    let ended = cluster.launch(victim).ended(FOLDER_IDENTITY);
    assert!(ended.output.contains("has already been bootstrapped"), "{}", ended.output);
    // Nor as one that joins, which is what the flags of a member say that joined once.
    cluster.set_joining(victim, &[0, 1]);
    let ended = cluster.launch(victim).ended(FOLDER_IDENTITY);
    assert!(ended.output.contains("has already been bootstrapped"), "{}", ended.output);
    ctl.change(&["member", "remove", &old]);
    let urls = format!("--peer-urls={}", cluster.seat(victim).peer_url());
    let new = ctl.change(&["member", "add", "m3", &urls]);
    assert_ne!(added_id(&new), old, "an id is never used again");
    cluster.set_joining(victim, &[0, 1]);
    cluster.restart(victim);
    check_equal(&cluster);
}

#[test]
fn one_survivor_becomes_a_new_cluster() {
    let mut cluster = Cluster::start(3, &[]);
    let Some(ctl) = Etcdctl::of(&cluster, &[0]) else { return };
    ctl.ok(&["put", "kept", "yes"]);
    cluster.wait_until_caught_up(0, 0);
    (0..3).for_each(|i| cluster.kill(i));
    cluster.spawn(0);
    until("a local answer", || cluster.status(0));
    let alone = ctl.run(&["--command-timeout=2s", "put", "alone", "no"]);
    assert!(alone.is_err(), "one of three decides nothing");
    cluster.kill(0);
    cluster.set_flags(0, &["--force-new-cluster"]);
    cluster.restart(0);
    assert_eq!(ctl.ok(&["member", "list"]).lines().count(), 1, "it serves when the others are gone");
    ctl.ok(&["put", "alone", "yes"]);
    cluster.kill(0);
    cluster.set_flags(0, &["--initial-cluster-state=existing"]);
    cluster.restart(0);
    assert_eq!(ctl.ok(&["get", "kept", "--print-value-only"]).trim(), "yes");
    assert_eq!(ctl.ok(&["get", "alone", "--print-value-only"]).trim(), "yes");
    for i in 1..3 {
        std::fs::remove_dir_all(cluster.data_folder(i)).expect("the others begin anew");
        let (name, urls) = (format!("m{}", i + 1), format!("--peer-urls={}", cluster.seat(i).peer_url()));
        ctl.change(&["member", "add", &name, &urls]);
        cluster.set_joining(i, &(0..i).collect::<Vec<_>>());
        cluster.restart(i);
    }
    assert_eq!(ctl.ok(&["member", "list"]).lines().count(), 3);
    check_equal(&cluster);
}

#[test]
fn members_are_listed_as_asked() {
    let mut cluster = Cluster::start(3, &[]);
    let Some(ctl) = Etcdctl::of(&cluster, &[0]) else { return };
    let new_url = format!("{},http://127.0.0.1:1", cluster.seat(2).peer_url());
    ctl.ok(&["member", "update", &hex(cluster.id(2)), &format!("--peer-urls={new_url}")]);
    let list = |cluster: &Cluster, linearizable| {
        client_of(&cluster.endpoint(0)).member_list(&MemberListRequest { linearizable })
    };
    let members = list(&cluster, true).expect("a majority runs").members;
    assert_eq!(members.iter().map(|m| m.peer_ur_ls.len()).sum::<usize>(), 4, "{members:?}");
    cluster.kill(1);
    cluster.kill(2);
    assert_eq!(list(&cluster, false).expect("a local answer").members, members);
    let (mut connection, deadline) = (cluster.member(0).connect(), Instant::now() + PATIENCE);
    let request = MemberListRequest { linearizable: true };
    let call = connection.begin(method::cluster::MEMBER_LIST, &request, PATIENCE).expect("it is taken");
    let refused = connection.finish::<MemberListResponse>(call, deadline).expect_err("no majority runs");
    assert!(refused.to_string().starts_with("etcdserver: "), "{refused}");
    // It does not take a leader to see that.
    let own = hex(cluster.id(0));
    for args in [&["member", "add", "m4", "--peer-urls=http://127.0.0.1:2"][..], &["member", "remove", &own]]
    {
        until("the members to be seen as unhealthy", || {
            ctl.run(args).expect_err("no majority runs").contains("unhealthy cluster").then_some(())
        });
    }
}
