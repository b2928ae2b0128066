//! A member joins a cluster that holds much, under load. Not run by default: `WINDLASS_CLUSTER_JOIN_KEYS=1000000` says of how
//! many keys, and prints how long the member took and what writers felt of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{PutRequest, PutResponse};
use windlass_api::method;

use crate::cluster::{Cluster, PATIENCE, until};
use crate::etcdctl::Etcdctl;
use crate::load::client_of;

/// Bytes of a value.
const VALUE_BYTES: usize = 256;

/// Puts of one connection that are under way while the cluster is filled.
const WINDOW: usize = 256;

/// Clients that write one after the other while the member joins.
const WRITERS: usize = 8;

/// How long writers are watched before.
const BEFORE: Duration = Duration::from_secs(10);

/// How long the member may take, beyond what anything else here may.
const JOIN_MAX: Duration = Duration::from_secs(300);

fn put(number: usize, value: u8) -> PutRequest {
    let key = format!("key-{number:010}").into();
    PutRequest { key, value: vec![value; VALUE_BYTES].into(), ..PutRequest::default() }
}

/// Writes all keys once.
fn fill(cluster: &Cluster, via: usize, keys: usize) {
    let begun = Instant::now();
    let mut connection = cluster.member(via).connect();
    let mut open = std::collections::VecDeque::new();
    let mut missed = Vec::new();
    for number in 0..keys + WINDOW {
        if open.len() == WINDOW || number >= keys {
            let Some((written, call)) = open.pop_front() else { break };
            let ended = connection.finish::<PutResponse>(call, Instant::now() + PATIENCE);
            missed.extend(ended.is_err().then_some(written));
        }
        if number < keys {
            let call = connection.begin(method::kv::PUT, &put(number, b'a'), PATIENCE);
            open.push_back((number, call.expect("it is taken")));
        }
    }
    let mut client = client_of(&cluster.endpoint(via));
    for number in missed {
        until("a key to be written", || client.put(&put(number, b'a')).ok());
    }
    eprintln!("{keys} keys written in {:.1} s", begun.elapsed().as_secs_f64());
}

/// Clients that write, and note how long each write took.
struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<(Instant, Duration)>>>,
}

impl Writers {
    fn start(cluster: &Cluster, members: &[usize], keys: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = |number: usize| {
            let mut client = client_of(&cluster.endpoint(members[number % members.len()]));
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut took = Vec::new();
                let mut key = number;
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    // Leadership may move where the machine is busy with other things; what it costs is counted.
                    while client.put(&put(key % keys, b'b')).is_err() {}
                    took.push((begun, begun.elapsed()));
                    key += WRITERS * 7919;
                }
                took
            })
        };
        let threads = (0..WRITERS).map(writer).collect();
        Self { stop, threads }
    }

    fn finish(self) -> Vec<(Instant, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a writer does not panic")).collect()
    }
}

fn report(what: &str, took: impl Iterator<Item = Duration>, over: Duration) {
    let mut took: Vec<Duration> = took.collect();
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_micros();
    let rate = took.len() as f64 / over.as_secs_f64();
    eprintln!("{what}: {rate:.0} writes/s, p50 {} us, p99 {} us, longest {} us", at(0.5), at(0.99), at(1.0));
}

#[test]
fn a_member_joins_a_large_store_under_load() {
    let Ok(keys) = std::env::var("WINDLASS_CLUSTER_JOIN_KEYS") else {
        return eprintln!("skipped: WINDLASS_CLUSTER_JOIN_KEYS does not say of how many keys");
    };
    let keys: usize = keys.parse().expect("WINDLASS_CLUSTER_JOIN_KEYS is a number");
    let mut cluster = Cluster::start(3, &[]);
    let Some(ctl) = Etcdctl::of(&cluster, &[0, 1, 2]) else { return };
    let leader = cluster.wait_for_leader();
    fill(&cluster, leader, keys);
    let writers = Writers::start(&cluster, &[0, 1, 2], keys);
    let begun = Instant::now();
    until("writers to be watched", || (begun.elapsed() > BEFORE).then_some(()));
    let joining = cluster.add_seat("m4");
    let urls = format!("--peer-urls={}", cluster.seat(joining).peer_url());
    ctl.change(&["member", "add", "m4", "--learner", &urls]);
    cluster.set_joining(joining, &[0, 1, 2]);
    let started = Instant::now();
    cluster.spawn(joining);
    // Within a moment of the others: writes go on all along.
    let behind = |cluster: &Cluster| {
        let own = cluster.status(joining)?.header?.revision;
        let newest = cluster.status(leader)?.header?.revision;
        (own + 1000 >= newest && own > keys as i64).then_some(())
    };
    while behind(&cluster).is_none() {
        assert!(started.elapsed() < JOIN_MAX, "it does not catch up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let joined = started.elapsed();
    let took = writers.finish();
    eprintln!("a member caught up with {keys} keys of {VALUE_BYTES} bytes in {:.1} s", joined.as_secs_f64());
    let before = took.iter().filter(|(at, _)| *at < started).map(|(_, took)| *took);
    report("writers before", before, started - begun);
    let during =
        took.iter().filter(|(at, _)| (started..started + joined).contains(at)).map(|(_, took)| *took);
    report("writers while it joined", during, joined);
}
