//! Several net threads and shards serve what one of each serves.

use std::sync::atomic::{AtomicI64, Ordering};

use windlass_api::etcdserverpb::{DeleteRangeRequest, RangeRequest};

use crate::process::{Launch, Scratch};
use crate::store::{fill, prefix, put};

const CONNECTIONS: usize = 8;
const ROUNDS: usize = 100;

/// Each connection writes its own keys and reads those of its neighbour; whoever was told of a write must see it.
fn reads_see_acknowledged_writes(flags: &[&str]) {
    let folder = Scratch::new();
    let launch = flags.iter().fold(Launch::new(folder.path()), |launch, flag| launch.flag(*flag));
    let member = launch.member();
    let acknowledged: Vec<AtomicI64> = (0..CONNECTIONS).map(|_| AtomicI64::new(0)).collect();
    std::thread::scope(|scope| {
        for own in 0..CONNECTIONS {
            let (member, acknowledged) = (&member, &acknowledged);
            scope.spawn(move || {
                let mut client = member.client();
                let neighbour = (own + 1) % CONNECTIONS;
                for round in 0..ROUNDS {
                    let written = client.put(&put(format!("w{own}"), round.to_string())).expect("written");
                    let revision = written.header.expect("a header").revision;
                    acknowledged[own].store(revision, Ordering::SeqCst);
                    let known = acknowledged[neighbour].load(Ordering::SeqCst);
                    let key = format!("w{neighbour}").into();
                    let read = client.range(&RangeRequest { key, ..RangeRequest::default() }).expect("read");
                    let seen = read.kvs.first().map_or(0, |kv| kv.mod_revision);
                    assert!(seen >= known, "revision {known} was acknowledged, {seen} is read");
                }
            });
        }
    });
    let last = (1 + CONNECTIONS * ROUNDS) as i64;
    let all = member.client().range(&prefix(b'w')).expect("read");
    assert_eq!(all.header.expect("a header").revision, last);
    assert!(all.kvs.iter().all(|kv| kv.version == ROUNDS as i64));
}

#[test]
fn reads_see_acknowledged_writes_on_one_thread() {
    reads_see_acknowledged_writes(&["--net-threads=1", "--shards=1"]);
}

#[test]
fn reads_see_acknowledged_writes_on_several_threads() {
    reads_see_acknowledged_writes(&["--net-threads=2", "--shards=2"]);
}

#[test]
fn any_number_of_threads_and_shards_serves_the_same() {
    let answers = ["--net-threads=1 --shards=1", "--net-threads=2 --shards=2", "--net-threads=1 --shards=3"]
        .map(|flags| {
            let folder = Scratch::new();
            let launch = flags.split(' ').fold(Launch::new(folder.path()), |launch, flag| launch.flag(flag));
            let member = launch.member();
            fill(&member, "k", 700, 50);
            let mut client = member.client();
            let mut answers = Vec::new();
            for number in 0..20 {
                // A new connection each time, so that every thread gets some.
                let mut client = member.client();
                let key = format!("k{:07}", number * 31);
                let range_end = format!("k{:07}", number * 31 + 5);
                let put = client.put(&put(key.as_str(), "again")).expect("written");
                let delete =
                    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: true };
                let delete = client.delete_range(&delete).expect("deleted");
                let range = client.range(&RangeRequest { limit: 7, ..prefix(b'k') }).expect("read");
                answers.push(format!("{:?} {delete:?} {range:?}", put.header.map(|header| header.revision)));
            }
            let mut streamed = Vec::new();
            client.range_stream(&prefix(b'k'), |chunk| streamed.extend(chunk.kvs)).expect("streamed");
            (without_ids(answers), streamed)
        });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

/// Hides the ids, which come from each server's own addresses.
fn without_ids(answers: Vec<String>) -> Vec<String> {
    let hide = |answer: String| {
        let mut out = String::new();
        for (index, part) in answer.split("_id: ").enumerate() {
            let part = if index == 0 { part } else { part.trim_start_matches(|c: char| c.is_ascii_digit()) };
            out.push_str(part);
        }
        out
    };
    answers.into_iter().map(hide).collect()
}
