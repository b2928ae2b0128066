//! What the Raft cores note for the TLA+ trace specification of etcd-io/raft: its shape, and that the specification
//! allows it as far as that can be said without TLC, over many runs.

mod event;
mod specification;

use specification::Specification;
use windlass_sim::bug::Bug;
use windlass_sim::profile::Kind;
use windlass_sim::report::Wanted;
use windlass_sim::runner::run_seed_for;

fn trace_of(seed: u64, kind: Kind, bug: Option<Bug>) -> Vec<String> {
    run_seed_for(seed, kind, bug, Wanted { trace: true, ..Wanted::default() }).trace
}

/// Follows the traces of many runs; how many elections and committed entries there were.
fn follow(kind: Kind, seeds: u64) -> (usize, usize) {
    let mut sum = (0, 0);
    for seed in 0..seeds {
        let trace = trace_of(seed, kind, None);
        assert!(!trace.is_empty(), "seed {seed}");
        let followed = Specification::follow(&trace);
        let (leaders, entries) = followed.map_err(|why| format!("{kind:?} {seed}: {why}")).unwrap().sizes();
        sum = (sum.0 + leaders, sum.1 + entries);
    }
    sum
}

#[test]
fn runs_that_the_specification_knows_are_allowed() {
    let (leaders, entries) = follow(Kind::Tla, 200);
    assert!(leaders > 200 && entries > 2000, "{leaders} {entries}");
}

#[test]
fn runs_with_crashes_are_allowed() {
    let (leaders, entries) = follow(Kind::Cluster, 60);
    assert!(leaders > 100 && entries > 5000, "{leaders} {entries}");
    follow(Kind::Single, 10);
}

#[test]
fn a_trace_is_of_its_seed() {
    assert_eq!(trace_of(3, Kind::Tla, None), trace_of(3, Kind::Tla, None));
    assert_ne!(trace_of(3, Kind::Tla, None), trace_of(4, Kind::Tla, None));
}

#[test]
fn nobody_notes_what_nobody_wants() {
    assert!(run_seed_for(3, Kind::Tla, None, Wanted::default()).trace.is_empty());
}

/// Known bugs are no runs of the specification.
#[test]
fn known_bugs_are_seen_in_traces() {
    for bug in [Bug::CountedUnheard, Bug::CommittedFromOldTerm] {
        let refused = |seed: &u64| Specification::follow(&trace_of(*seed, bug.kind(), Some(bug))).is_err();
        assert!((0..100).any(|seed| refused(&seed)), "{bug:?}");
    }
}
