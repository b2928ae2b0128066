//! Small scopes, exhaustively: every order in which messages, writes, elections, proposals, losses and crashes of a small
//! cluster can happen, with Raft's promises checked in each step.
//!
//! The seeded tests go deep into some runs; these miss none within their bounds. How many states were seen, and how
//! deep, is printed (`--nocapture`). `SCOPE=large cargo test --release -p windlass-raft --test exhaustive -- --nocapture`
//! takes minutes and some GiB; the default takes seconds.

mod disk;
#[path = "exhaustive/model.rs"]
mod model;
#[path = "exhaustive/search.rs"]
mod search;

use model::{Bounds, Bug};
use search::{Verdict, hunt, search};

/// The first of the two bounds by default, the second with `SCOPE=large`.
fn scope(small: Bounds, large: Bounds) -> Bounds {
    match std::env::var("SCOPE").as_deref() {
        Ok("large") => large,
        Ok(other) => panic!("SCOPE is `large` or not set, and not {other:?}"),
        Err(_) => small,
    }
}

/// Explores all of the scope, and wants it to be as large as was once counted: less means that something is no longer
/// reached.
fn explore(name: &str, bounds: Bounds, states_min: usize) {
    match search(bounds) {
        Verdict::Holds(seen) => {
            eprintln!("{name}: {} states, {} steps, depth {}", seen.states, seen.steps, seen.depth);
            assert!(seen.states >= states_min, "only {} states", seen.states);
        }
        Verdict::Broken { why, steps } => panic!("{name}: {why}\nafter\n  {}", steps.join("\n  ")),
    }
}

#[test]
fn one_leader_and_its_entry() {
    let small = Bounds { campaigns: 1, proposals: 1, crashes: 1, writes_at_once: true, ..Bounds::default() };
    let large = Bounds { campaigns: 1, proposals: 1, crashes: 1, ..Bounds::default() };
    explore("one leader and its entry", scope(small, large), 50_000);
}

#[test]
fn an_election_and_its_writes() {
    let small = Bounds { campaigns: 1, crashes: 1, repeats: 1, ..Bounds::default() };
    let large = Bounds { campaigns: 2, ..Bounds::default() };
    explore("an election and its writes", scope(small, large), 10_000);
}

#[test]
fn two_candidates() {
    let small = Bounds { campaigns: 2, writes_at_once: true, ..Bounds::default() };
    let large = Bounds { campaigns: 2, proposals: 1, crashes: 1, writes_at_once: true, ..Bounds::default() };
    explore("two candidates", scope(small, large), 300_000);
}

#[test]
fn pre_votes() {
    let small =
        Bounds { campaigns: 1, crashes: 1, writes_at_once: true, pre_vote: true, ..Bounds::default() };
    let large = Bounds { campaigns: 2, writes_at_once: true, pre_vote: true, ..Bounds::default() };
    explore("pre-votes", scope(small, large), 1_000);
}

/// The search must be able to find something.
#[test]
fn a_disk_that_forgets_votes_is_found() {
    let bounds = Bounds { campaigns: 2, crashes: 1, writes_at_once: true, ..Bounds::default() };
    let Verdict::Broken { why, steps } = hunt(bounds, Bug::VotesForgotten, 10) else {
        panic!("two leaders of one term were not found");
    };
    assert!(why.contains("two leaders"), "{why}");
    eprintln!("{why} after\n  {}", steps.join("\n  "));
}

/// So must the checks of what is committed.
#[test]
fn a_disk_that_forgets_entries_is_found() {
    let bounds = Bounds { campaigns: 2, crashes: 1, writes_at_once: true, ..Bounds::default() };
    let Verdict::Broken { why, .. } = hunt(bounds, Bug::EntriesForgotten, 13) else {
        panic!("the loss of a committed entry was not found");
    };
    assert!(why.contains("lacks entry") || why.contains("commits another"), "{why}");
}
