//! Counts what real members allocate for a put, and fails if that grows by one block.
//!
//! The members are this very program, started with a member's flags: so they run with an allocator that counts. Each load goes
//! in rounds, once with few and once with many puts in a round. The difference, by the number of puts that it is, is what a
//! put costs; what a round costs (a flush, wakes, batches) drops out.

mod counted;
#[path = "../process/mod.rs"]
mod process;
mod puts;

use std::alloc::System;
use std::path::Path;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use windlass::{member, startup};
use windlass_api::etcdserverpb::RangeRequest;

use counted::{Counted, serve_counts};
use process::{Scratch, free_address};
use puts::Puts;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// nghttp2's blocks for a request and its answer, docs/performance.md has what they are; and the value in the store.
const BY_WHO_ANSWERS: f64 = 8.0;
/// The value in the store.
const BY_WHO_APPLIES: f64 = 1.0;
/// Versions of a key lie in chunks, and a round is not always one batch. A further block for each put is more than this.
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
    let member = Counted::start(scratch.path(), &[]);
    let members = [member];
    let [cost] = cost_of_a_put(&members, false);
    assert_cost("a lone member", cost, BY_WHO_ANSWERS);
    // What is known to cost more is seen to.
    let [more] = cost_of_a_put(&members, true);
    eprintln!("the same with the previous value: {more:.2} blocks for a put");
    assert!(more > BY_WHO_ANSWERS + SLACK, "{more:.2} blocks for a put that is evaluated");
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
    // Any of them leads. The one that takes the puts answers them, the others only apply them.
    let [answers, applies, applies_too] = cost_of_a_put(&members, false);
    assert_cost("the member that answers", answers, BY_WHO_ANSWERS);
    assert_cost("the second member", applies, BY_WHO_APPLIES);
    assert_cost("the third member", applies_too, BY_WHO_APPLIES);
}

fn folder(parent: &Path, i: usize) -> std::path::PathBuf {
    let folder = parent.join(format!("m{i}"));
    std::fs::create_dir(&folder).expect("an empty folder");
    folder
}

/// Blocks that each member allocates for a put that the first one takes, and that asks for the previous value or does not.
fn cost_of_a_put<const N: usize>(members: &[Counted; N], prev_kv: bool) -> [f64; N] {
    let mut puts = Puts::connect(members[0].member().endpoint(), prev_kv);
    // Memory that is used again has been allocated by then.
    let mut load = |size: usize| {
        let before = counts(members);
        (0..ROUNDS).for_each(|_| puts.round(size));
        let after = counts(members);
        std::array::from_fn::<f64, N, _>(|i| (after[i] - before[i]) as f64)
    };
    load(MANY);
    let (many, few) = (load(MANY), load(FEW));
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

fn assert_cost(who: &str, cost: f64, known: f64) {
    eprintln!("{who}: {cost:.2} blocks for a put");
    assert!(
        (known - SLACK..known + SLACK).contains(&cost),
        "{who}: {cost:.2} blocks for a put, {known} are known"
    );
}
