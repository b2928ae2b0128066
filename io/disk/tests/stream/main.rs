//! The streams of a whole member over simulated disks: random appends, flushes, checkpoints, full disks, power
//! failures, killed processes and changed numbers of shards, against a plain model of what a store holds.
//!
//! After each start the streams must agree on an index at or above the stable index known before, and hold exactly
//! what the model held there. Replay one history with `WINDLASS_SEED=<seed> cargo test -p windlass-io-disk --test
//! stream`.

mod full;
mod model;
mod world;

use windlass_io_disk::sim::SimDisk;
use windlass_io_log::buffer::BLOCK_BYTES;
use windlass_io_log::ids::Identity;
use windlass_io_log::op::Op;
use windlass_io_log::stream::{Options, ShardHistory, StateHistory};
use windlass_records::state::State;
use windlass_records::wal::Version;
use windlass_types::{LogIndex, Revision};
use world::{Rng, World};

const SEEDS: u64 = 400;
const STEPS: usize = 400;

#[test]
fn a_start_finds_what_the_model_held() {
    let seeds = match std::env::var("WINDLASS_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("WINDLASS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let mut totals = world::Totals::default();
    for seed in seeds.clone() {
        let failed = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..STEPS).for_each(|_| world.step());
            world.finish()
        });
        match failed {
            Ok(one) => totals.add(&one),
            Err(panic) => {
                eprintln!("replay with WINDLASS_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{totals:?}");
    if seeds.count() > 1 {
        totals.assert_all_happened();
    }
}

#[test]
fn the_generator_repeats_itself() {
    let numbers =
        |seed| (0..9).map(|_| 0).scan(Rng::new(seed), |rng, _: u64| Some(rng.below(100))).collect::<Vec<_>>();
    assert_eq!(numbers(5), numbers(5));
    assert_ne!(numbers(5), numbers(6));
}

fn small_segments() -> Options {
    Options { segment_bytes: 8 * BLOCK_BYTES, flush_age_ns: 10, ..Options::state(Identity(1)) }
}

#[test]
fn a_stream_that_waits_for_a_segment_wants_no_tick() {
    let mut disk = SimDisk::new(1, 1 << 20);
    let history = StateHistory::open(small_segments(), &mut disk).unwrap();
    let mut stream = history.start(&mut disk, State::EMPTY).unwrap();
    let (mut requests, mut preparing) = (Vec::new(), false);
    for now_ns in (0..2000).step_by(10) {
        let index = stream.durable_index().next();
        stream.append(State { index, ..State::EMPTY });
        stream.tick(now_ns, &mut requests);
        // The preparation of the next segment never ends.
        let ops = requests.drain(..).map(|request| request.op);
        let (waits, goes): (Vec<_>, Vec<_>) = ops.partition(|op| matches!(op, Op::Prepare { .. }));
        preparing |= !waits.is_empty();
        disk.submit(goes);
        while let Some(done) = disk.complete() {
            stream.complete(done, &mut requests).unwrap();
        }
    }
    assert!(preparing);
    assert_eq!(stream.deadline_ns(), None, "only the end of the preparation changes anything");
}

#[test]
fn small_flushes_count_as_the_blocks_that_they_take() {
    let mut disk = SimDisk::new(1, 1 << 20);
    let history = ShardHistory::open(small_segments(), &mut disk).unwrap();
    let mut stream = history.start(&mut disk, LogIndex(0)).unwrap();
    let mut requests = Vec::new();
    for index in (1..40).map(LogIndex) {
        let revision = Revision(index.0 as i64 + 1);
        stream.append(&Version { index, revision, sub: 0, key: b"k", live: None });
        stream.advance(index);
        stream.flush();
        stream.tick(0, &mut requests);
        disk.submit(requests.drain(..).map(|request| request.op));
        while let Some(done) = disk.complete() {
            stream.complete(done, &mut requests).unwrap();
            disk.submit(requests.drain(..).map(|request| request.op));
        }
    }
    assert!(stream.wants_checkpoint(0), "40 blocks are more than two segments of 8");
}
