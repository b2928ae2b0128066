//! Counts what real members allocate for a call, and fails if that grows by one block.
//!
//! The members are this very program, started with a member's flags: so they run with an allocator that counts. Each load goes
//! in rounds, once with few and once with many calls in a round. The difference, by the number of calls that it is, is what a
//! call costs; what a round costs (a flush, wakes, batches) drops out.

mod calls;
mod counted;
#[path = "../process/mod.rs"]
mod process;

use std::alloc::System;
use std::path::{Path, PathBuf};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use windlass::{member, startup};
use windlass_api::etcdserverpb::RangeRequest;

use calls::{Calls, Load};
use counted::{Counted, serve_counts};
use process::{Scratch, free_address};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// nghttp2's blocks for a call and its answer; docs/performance.md says what they are.
const SESSION: f64 = 7.0;
/// The value of a version, in every store.
const VERSION: f64 = 1.0;
/// Blocks of a transaction where it is answered, and where it is only applied, beside these.
const TXN_ANSWERED: f64 = 2.3;
const TXN_APPLIED: f64 = 0.3;

/// Versions of a key lie in chunks, and a round is not always one batch. A further block for each call is more than this.
const SLACK: f64 = 0.5;

const FEW: usize = 10;
const MANY: usize = 500;
const ROUNDS: usize = 40;

fn main() {
    if serve_counts() {
        member::run(startup::configure());
    }
    a_lone_member();
    three_members();
}

fn a_lone_member() {
    let scratch = Scratch::new();
    let members = [Counted::start(scratch.path(), &[])];
    assert_costs("a put", cost(&members, Load::Put), [SESSION + VERSION]);
    assert_costs("an update", cost(&members, Load::Update), [SESSION + VERSION + TXN_ANSWERED]);
    assert_costs("a get", cost(&members, Load::Get), [SESSION]);
}

fn three_members() {
    let scratch = Scratch::new();
    let peers = [free_address(), free_address(), free_address()];
    let named: Vec<String> =
        peers.iter().enumerate().map(|(i, peer)| format!("m{i}=http://{peer}")).collect();
    let spawn = |i: usize| {
        let flags = [
            format!("--name=m{i}"),
            format!("--listen-peer-urls=http://{}", peers[i]),
            format!("--initial-advertise-peer-urls=http://{}", peers[i]),
            format!("--initial-cluster={}", named.join(",")),
        ];
        Counted::spawn(&folder(scratch.path(), i), &flags)
    };
    let mut members = [spawn(0), spawn(1), spawn(2)];
    members.iter_mut().for_each(Counted::wait);
    // Any of them leads. The first one answers the calls, the others only apply them.
    assert_costs("a put", cost(&members, Load::Put), [SESSION + VERSION, VERSION, VERSION]);
    let (answered, applied) = (SESSION + VERSION + TXN_ANSWERED, VERSION + TXN_APPLIED);
    assert_costs("an update", cost(&members, Load::Update), [answered, applied, applied]);
}

fn folder(parent: &Path, i: usize) -> PathBuf {
    let folder = parent.join(format!("m{i}"));
    std::fs::create_dir(&folder).expect("an empty folder");
    folder
}

/// Blocks that each member allocates for a call to the first one.
fn cost<const N: usize>(members: &[Counted; N], load: Load) -> [f64; N] {
    let mut calls = Calls::connect(members[0].member().endpoint(), load);
    // Memory that is used again has been allocated by then.
    let mut rounds_of = |size: usize| {
        let before = counts(members);
        (0..ROUNDS).for_each(|_| calls.round(size));
        let after = counts(members);
        std::array::from_fn::<f64, N, _>(|i| (after[i] - before[i]) as f64)
    };
    rounds_of(MANY);
    let (many, few) = (rounds_of(MANY), rounds_of(FEW));
    std::array::from_fn(|i| (many[i] - few[i]) / (ROUNDS * (MANY - FEW)) as f64)
}

/// The members' counts, once all of them have applied everything.
fn counts<const N: usize>(members: &[Counted; N]) -> [u64; N] {
    for member in members {
        let request =
            RangeRequest { key: "k".into(), range_end: "l".into(), limit: 1, ..RangeRequest::default() };
        member.member().client().range(&request).expect("a linearizable read");
    }
    std::array::from_fn(|i| members[i].count())
}

fn assert_costs<const N: usize>(what: &str, costs: [f64; N], known: [f64; N]) {
    eprintln!("{what}: {costs:.2?} blocks, {known:.2?} are known");
    for (cost, known) in costs.into_iter().zip(known) {
        assert!(
            (known - SLACK..known + SLACK).contains(&cost),
            "{what}: {costs:.2?} blocks, {known:.2?} are known"
        );
    }
}
