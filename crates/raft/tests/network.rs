//! Clusters of real cores on a network and disks that misbehave as a seed says; what Raft promises is checked at
//! every step, and that it comes to an end when the faults do.
//!
//! A failure names its seed: `SEED=17 cargo test -p windlass-raft --test network NAME` runs that one alone, and
//! `SEEDS=100000` in front runs that many.

#[path = "network/checker.rs"]
mod checker;
mod disk;
#[path = "network/random.rs"]
mod random;
#[path = "network/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Options, Tally, World};

/// Events of one run, faults included.
const EVENTS: usize = 5000;

fn run(options: Options, seed: u64) -> Tally {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(options, seed);
        world.run(EVENTS);
        world.come_to_rest();
        world.tally()
    }));
    result.unwrap_or_else(|panic| {
        eprintln!("failed with SEED={seed} and {options:?}");
        std::panic::resume_unwind(panic);
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Runs all seeds. They must be worth something: `floor` is what one run has on average, at least.
fn run_seeds(options: Options, seeds: u64, floor: Tally) {
    if let Some(seed) = number("SEED") {
        run(options, seed);
        return;
    }
    let seeds = number("SEEDS").unwrap_or(seeds);
    let mut sum = Tally::default();
    (0..seeds).for_each(|seed| sum += run(options, seed));
    let enough = |got: u64, floor: u64| got >= floor * seeds;
    let is_worth = enough(sum.elections, floor.elections)
        && enough(sum.commits, floor.commits)
        && enough(sum.reads, floor.reads)
        // The log is kept for whoever installs one, so they are rare.
        && enough(2 * sum.snapshots, floor.snapshots)
        && enough(sum.crashes, floor.crashes)
        && enough(sum.changes, floor.changes);
    assert!(is_worth, "{seeds} runs did too little: {sum:?}");
}

#[test]
fn three_voters() {
    let floor = Tally { elections: 3, commits: 50, reads: 30, snapshots: 1, crashes: 5, changes: 0 };
    run_seeds(Options { members: 3, ..Options::default() }, 150, floor);
}

#[test]
fn five_voters() {
    let floor = Tally { elections: 3, commits: 30, reads: 20, snapshots: 1, crashes: 5, changes: 0 };
    run_seeds(Options { members: 5, ..Options::default() }, 150, floor);
}

#[test]
fn changing_membership() {
    let floor = Tally { elections: 2, commits: 30, reads: 20, snapshots: 1, crashes: 5, changes: 5 };
    run_seeds(Options { members: 6, founders: 3, changes: true, ..Options::default() }, 150, floor);
}

#[test]
fn a_sole_voter() {
    let floor = Tally { elections: 3, commits: 100, reads: 50, crashes: 3, ..Tally::default() };
    run_seeds(Options { members: 1, ..Options::default() }, 50, floor);
}

/// The checks must be able to fail: a disk that forgets what it reported as durable breaks Raft.
#[test]
fn a_lying_disk_is_noticed() {
    let options = Options { members: 3, lying_disks: true, ..Options::default() };
    let is_noticed = |seed| catch_unwind(AssertUnwindSafe(|| World::new(options, seed).run(EVENTS))).is_err();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = (0..20).filter(|&seed| is_noticed(seed)).count();
    std::panic::set_hook(hook);
    assert!(noticed > 0, "no seed noticed that disks lie");
}
