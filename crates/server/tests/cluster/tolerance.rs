//! The failure-tolerance table: N members serve while (N-1)/2 of them are gone, refuse everything but local reads with one
//! more gone, and serve again when one returns.

use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse};
use windlass_api::method;
use windlass_client::{Client, Error};

use crate::cluster::{Cluster, PATIENCE, until};
use crate::load::client_of;
use crate::state::check_equal;

/// What etcd says where a write finds no leader in time: it was in no log, or its leader was lost.
const WRITE_REFUSALS: [&str; 3] = [
    "etcdserver: request timed out, possibly due to previous leader failure",
    "etcdserver: request timed out, possibly due to connection lost",
    "etcdserver: request timed out",
];

/// What etcd says where a read finds no leader in time.
const READ_REFUSALS: [&str; 2] = ["etcdserver: request timed out", "etcdserver: no leader"];

/// How soon a request must be refused: etcd's 5 s and two election timeouts, and what a slow and busy machine adds.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

fn put_request(key: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: key.to_owned().into(), ..PutRequest::default() }
}

fn range_request(key: &str, serializable: bool) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), serializable, ..RangeRequest::default() }
}

/// Puts at a member of a cluster that serves. On a machine so slow that members take each other for dead it may take more than
/// one try.
fn put(cluster: &Cluster, i: usize, key: &str) {
    let mut client = client_of(&cluster.endpoint(i));
    until("a write where a majority runs", || client.put(&put_request(key)).ok());
}

fn get(client: &mut Client, key: &str, serializable: bool) -> Result<bool, Error> {
    Ok(client.range(&range_request(key, serializable))?.count == 1)
}

fn tolerates(count: usize) {
    let mut cluster = Cluster::start(count, &[]);
    let tolerated = (count - 1) / 2;
    put(&cluster, 0, "before");
    for _ in 0..tolerated {
        let leader = cluster.wait_for_leader();
        cluster.kill(leader);
    }
    for i in cluster.running() {
        let key = format!("during-{i}");
        put(&cluster, i, &key);
        let mut client = client_of(&cluster.endpoint(i));
        assert!(until("a read where a majority runs", || get(&mut client, &key, false).ok()));
    }
    let leader = cluster.wait_for_leader();
    cluster.kill(leader);
    refuses(&cluster);
    cluster.restart(leader);
    put(&cluster, leader, "after");
    (0..count)
        .filter(|&i| !cluster.is_running(i))
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|i| cluster.restart(i));
    let held = check_equal(&cluster);
    for key in ["before", "after"] {
        assert!(held.iter().any(|kv| kv.key == key), "{key} is lost");
    }
    eprintln!("{count} members: {tolerated} may fail");
}

/// Whoever still runs: writes and linearizable reads are refused in etcd's words, local reads are answered.
fn refuses(cluster: &Cluster) {
    let asked = Instant::now();
    // One connection each, for a client that tries again would hide what it is told.
    let asking: Vec<_> = cluster
        .running()
        .into_iter()
        .map(|i| {
            let local = get(&mut client_of(&cluster.endpoint(i)), "before", true).expect("local reads go on");
            assert!(local, "it was written before");
            let (mut writer, mut reader) = (cluster.member(i).connect(), cluster.member(i).connect());
            let write =
                writer.begin(method::kv::PUT, &put_request("refused"), PATIENCE).expect("it is taken");
            let read = reader.begin(method::kv::RANGE, &range_request("before", false), PATIENCE);
            (writer, write, reader, read.expect("it is taken"))
        })
        .collect();
    let deadline = asked + PATIENCE;
    for (mut writer, write, mut reader, read) in asking {
        let write = writer.finish::<PutResponse>(write, deadline).expect_err("no majority runs").to_string();
        let read = reader.finish::<RangeResponse>(read, deadline).expect_err("no majority runs").to_string();
        assert!(WRITE_REFUSALS.contains(&write.as_str()), "a write without a majority: {write}");
        assert!(READ_REFUSALS.contains(&read.as_str()), "a read without a majority: {read}");
    }
    assert!(asked.elapsed() < REFUSED_WITHIN, "refused after {:?}", asked.elapsed());
}

#[test]
fn one_to_three_members() {
    (1..=3).for_each(tolerates);
}

#[test]
fn four_and_five_members() {
    (4..=5).for_each(tolerates);
}

#[test]
fn six_and_seven_members() {
    (6..=7).for_each(tolerates);
}
