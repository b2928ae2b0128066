//! The streams of a whole member over simulated disks: random appends, flushes, checkpoints, full disks, power
//! failures, killed processes and changed numbers of shards, against a plain model of what a store holds.
//!
//! After each start the streams must agree on an index at or above the stable index known before, and hold exactly
//! what the model held there. Replay one history with `WINDLASS_SEED=<seed> cargo test -p windlass-io-disk --test
//! stream`.

mod model;
mod world;

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
        |seed| (0..9).map(|_| 0).scan(Rng(seed), |rng, _: u64| Some(rng.below(100))).collect::<Vec<_>>();
    assert_eq!(numbers(5), numbers(5));
    assert_ne!(numbers(5), numbers(6));
}
