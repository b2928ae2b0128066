//! What one put costs in the sequencer and a shard: nanoseconds for numbering and for installing, journal included.
//!
//! `cargo run --release -p windlass-replica --example put_cost [shards] [keys] [sequential|random]`
#![allow(clippy::print_stdout)] // it is a program

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use windlass_api::etcdserverpb::PutRequest;
use windlass_mvcc::Shard;
use windlass_records::batch::{BatchBuilder, CommandKind, Origin};
use windlass_records::state::State;
use windlass_records::wal;
use windlass_replica::oracle::generate::Random;
use windlass_replica::perform::perform;
use windlass_replica::sequencer::{Input, Output, Sequencer};
use windlass_replica::system::System;
use windlass_types::{LogIndex, MemberId, RequestId, ShardId, Term};

const US: Origin = Origin { member: MemberId(1), incarnation: 1 };
const BATCH_PUTS: u64 = 1000;
const VALUE_BYTES: usize = 256;
const PUTS: u64 = 2_000_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let shards: u16 = args.next().map_or(1, |a| a.parse().expect("a number of shards"));
    let keys: u64 = args.next().map_or(1_000_000, |a| a.parse().expect("a number of keys"));
    let in_order = args.next().is_some_and(|a| a == "sequential");
    let mut sequencer = Sequencer::new(US, shards, State::EMPTY, System::default());
    let mut nodes: Vec<_> = (0..shards).map(|_| (Shard::default(), wal::FrameBuilder::default())).collect();
    let (mut numbering, mut installing) = (Duration::ZERO, Duration::ZERO);
    let (mut out, mut replies) = (Vec::new(), 0);
    let mut random = Random::new(1);
    for index in 1..=PUTS / BATCH_PUTS {
        let first = (index - 1) * BATCH_PUTS;
        let numbers =
            (first..first + BATCH_PUTS).map(|n| if in_order { n % keys } else { random.below(keys) });
        let data = batch(numbers);
        let start = Instant::now();
        sequencer
            .step(Input::Committed { index: LogIndex(index), term: Term(1), data }, &mut out)
            .expect("a batch");
        numbering += start.elapsed();
        let start = Instant::now();
        for output in out.drain(..) {
            match output {
                Output::Lease(_) => {}
                Output::ToShard { shard, task } => {
                    let (store, journal) = &mut nodes[usize::from(shard.0)];
                    perform(store, ShardId(shard.0), &task, journal);
                }
                Output::PutReplies { commands, .. } => replies += commands.len(),
                Output::Reply { .. } | Output::News(_) | Output::Applied(_) => {}
            }
        }
        for (_, journal) in &mut nodes {
            if journal.len_bytes() > 1 << 20 {
                journal.finish(LogIndex(index));
            }
        }
        installing += start.elapsed();
    }
    assert_eq!(replies as u64, PUTS);
    let per_put = |d: Duration| d.as_nanos() as u64 / PUTS;
    let live: u64 = nodes.iter().map(|(store, _)| store.live_keys()).sum();
    println!("shards {shards}, live keys {live}, puts {PUTS}, resident {} MiB", resident_mib());
    println!("numbering {} ns, installing {} ns per put", per_put(numbering), per_put(installing));
}

fn batch(keys: impl Iterator<Item = u64>) -> Bytes {
    let mut builder = BatchBuilder::default();
    for (id, key) in (1..).zip(keys) {
        let request = PutRequest {
            key: format!("key{key:012}").into(),
            value: vec![b'v'; VALUE_BYTES].into(),
            ..PutRequest::default()
        };
        builder.push(RequestId(id), CommandKind::Put, &request.encode_to_vec());
    }
    builder.finish(US)
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}
