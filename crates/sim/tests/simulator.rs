//! The simulator's fast mode: some hundred seeds, every canary, and the seeds that once found something.
//!
//! The long run is `cargo run --release -p windlass-sim -- run --seeds 10000`.

use windlass_gateway::Transcoder;
use windlass_sim::bug::Bug;
use windlass_sim::profile::Kind;
use windlass_sim::report::{Count, Totals, Wanted};
use windlass_sim::runner::{Summary, first_catch, run_seed, run_seed_for, run_seeds};
use windlass_sim::world::Outcome;

const SEEDS: u64 = 200;

/// The same of clusters.
const CLUSTER_SEEDS: u64 = 60;

/// Seeds in which a known bug must be caught.
const CANARY_SEEDS: u64 = 500;

/// What every run of some hundred seeds must have gone through, or it shows nothing.
const MUST_HAPPEN: [Count; 18] = [
    Count::WritesAcknowledged,
    Count::WritesUnknown,
    Count::WritesRefused,
    Count::ReadsAnswered,
    Count::ReadsOvertaken,
    Count::StartsFailed,
    Count::Layouts,
    Count::PowerFailures,
    Count::Kills,
    Count::FailedOperations,
    Count::FullEpisodes,
    Count::RefusedSegments,
    Count::LogRecycled,
    Count::ShardRecycled,
    Count::EntriesLost,
    Count::EntriesReplayed,
    Count::Cuts,
    Count::LeasesEnded,
];

fn expect_kept(outcome: &Outcome) {
    if let Some(violation) = &outcome.violation {
        let seed = outcome.seed;
        panic!("seed {seed}: {violation}");
    }
}

fn assert_all_happened(totals: &Totals) {
    for what in MUST_HAPPEN {
        assert!(totals.of(what) > 5, "{what:?}: {}", totals.of(what));
    }
}

#[test]
fn promises_are_kept() {
    let Summary { totals, failure, .. } = run_seeds(0..SEEDS, Kind::Single, None, 2);
    failure.iter().for_each(expect_kept);
    assert_all_happened(&totals);
}

/// What clusters must have gone through besides.
const MUST_HAPPEN_IN_CLUSTERS: [Count; 13] = [
    Count::WritesAcknowledged,
    Count::WritesUnknown,
    Count::ReadsAnswered,
    Count::PowerFailures,
    Count::EntriesLost,
    Count::EntriesReplayed,
    Count::MessagesLost,
    Count::Forwards,
    Count::Elections,
    Count::Partitions,
    Count::SnapshotsInstalled,
    Count::TimedOut,
    Count::Repairs,
];

#[test]
fn promises_are_kept_in_clusters() {
    let Summary { totals, failure, .. } = run_seeds(0..CLUSTER_SEEDS, Kind::Cluster, None, 2);
    failure.iter().for_each(expect_kept);
    for what in MUST_HAPPEN_IN_CLUSTERS {
        assert!(totals.of(what) > 5, "{what:?}: {}", totals.of(what));
    }
}

/// What clusters with all kinds of faults must have gone through besides.
const MUST_HAPPEN_IN_FULL_CLUSTERS: [Count; 4] =
    [Count::Wiped, Count::WipedUnseen, Count::WipedRefused, Count::Replaced];

/// What runs with all kinds of clients must have gone through besides.
const MUST_HAPPEN_WHERE_ALL_IS_ASKED: [Count; 11] = [
    Count::WatchStreams,
    Count::WatchEvents,
    Count::WatchStalls,
    Count::WatchesResumed,
    Count::WatchesCompacted,
    Count::ProgressTold,
    Count::Rules,
    Count::ReadsForbidden,
    Count::LeaseAnswers,
    Count::ClockJumps,
    Count::ClockRates,
];

#[test]
fn promises_are_kept_whatever_clients_ask() {
    for (kind, seeds) in [(Kind::Full, SEEDS), (Kind::FullCluster, CLUSTER_SEEDS / 2)] {
        let Summary { totals, failure, .. } = run_seeds(0..seeds, kind, None, 2);
        failure.iter().for_each(expect_kept);
        for what in MUST_HAPPEN_WHERE_ALL_IS_ASKED {
            assert!(totals.of(what) > 5, "{what:?}: {}", totals.of(what));
        }
        for what in MUST_HAPPEN_IN_FULL_CLUSTERS.into_iter().filter(|_| kind.is_cluster()) {
            assert!(totals.of(what) > 0, "{what:?}");
        }
    }
}

#[test]
fn every_known_bug_is_caught() {
    for bug in Bug::ALL {
        assert!(first_catch(bug, 0..CANARY_SEEDS).is_some(), "{bug:?} is not caught in {CANARY_SEEDS} seeds");
    }
}

/// What is recorded is JSON, a line for each request, and the answers of those that were heard.
#[test]
fn a_history_is_recorded() {
    let wanted = Wanted { record: true, ..Wanted::default() };
    let outcome = run_seed_for(3, Kind::Full, None, wanted);
    expect_kept(&outcome);
    let transcoder = Transcoder::new();
    let lines: Vec<String> = outcome.operations.iter().map(|operation| operation.json(&transcoder)).collect();
    for method in ["KV/Put", "KV/Txn", "KV/Range", "KV/Compact", "Lease/LeaseGrant", "Watch/Watch"] {
        assert!(lines.iter().any(|line| line.contains(&format!("etcdserverpb.{method}\""))), "{method}");
    }
    for (line, operation) in lines.iter().zip(&outcome.operations) {
        assert!(line.starts_with('{') && line.ends_with('}') && !line.contains('\n'), "{line}");
        assert_eq!(operation.return_ns.is_some(), operation.response.is_some(), "{line}");
        assert!(operation.return_ns.is_none_or(|at_ns| at_ns >= operation.call_ns), "{line}");
    }
}

#[test]
fn a_seed_is_a_run() {
    Kind::ALL.into_iter().for_each(a_seed_is_a_run_of);
}

fn a_seed_is_a_run_of(kind: Kind) {
    let [first, second] = [3, 3].map(|seed| run_seed(seed, kind, None, true));
    assert!(first.lines.len() > 50);
    assert_eq!(first.lines, second.lines);
    assert_eq!(first.totals, second.totals);
    assert_ne!(first.lines, run_seed(4, kind, None, true).lines);
}

/// A start found its segment of the log nearly full: nothing could be appended, so nothing asked for another one, and
/// the member never led.
#[test]
fn regression_start_on_a_full_segment() {
    expect_kept(&run_seed(0, Kind::Single, None, false));
}

/// An entry larger than a frame found no room where a smaller one would have had some: nobody looked for room again.
#[test]
fn regression_large_entry_without_room() {
    expect_kept(&run_seed(5436, Kind::Single, None, false));
}

/// Entries replayed after a start were answered once more, to clients that had not asked.
#[test]
fn regression_replayed_answers() {
    expect_kept(&run_seed(1, Kind::Single, None, false));
}

/// A leader whose snapshot was reported lost sent another one, and another, to a follower that had installed it.
#[test]
fn regression_snapshot_after_snapshot() {
    expect_kept(&run_seed(50, Kind::Cluster, None, false));
}

/// Of two voters the leader removed itself, and ended before the other had heard of it: that one asked for its vote for ever.
#[test]
fn regression_one_of_two_voters_leaves() {
    [2806, 2824].into_iter().for_each(|seed| expect_kept(&run_seed(seed, Kind::Cluster, None, false)));
}

/// Writes were refused for want of room although there was some: nobody had asked the disk since it had none.
#[test]
fn regression_room_that_nobody_asked_for() {
    expect_kept(&run_seed(988, Kind::Cluster, None, false));
}

/// Commands were answered twice: as void, and when the leader that had lost its place refused them.
#[test]
fn regression_refused_and_void() {
    expect_kept(&run_seed(2952, Kind::Cluster, None, false));
}

/// The newest frame of a shard's stream rotted, which looks like a torn write. It had said that everything before a checkpoint
/// could go; without it an earlier checkpoint counted, of which frames were missing, and the shard came up without them.
#[test]
fn regression_stream_without_its_beginning() {
    expect_kept(&run_seed(353, Kind::Cluster, None, false));
}

/// A serializable read was permitted by users and roles of an entry whose state it did not see yet.
#[test]
fn regression_permitted_by_what_is_to_come() {
    [1796, 2109].into_iter().for_each(|seed| expect_kept(&run_seed(seed, Kind::Full, None, false)));
}

/// While a segment was being prepared the sequencer's stream asked for a tick at once, again and again.
#[test]
fn regression_endless_ticks() {
    expect_kept(&run_seed(2, Kind::Single, None, false));
}

/// The log refused a write because of an alarm, its client had given up, and by then the alarm was lifted: the judge took that
/// answer for a refusal without a reason.
#[test]
fn regression_refused_by_the_log_and_heard_late() {
    expect_kept(&run_seed(659, Kind::FullCluster, None, false));
}

/// The answer to a question about a lease came after the member that had asked was killed and started again, and was taken for
/// that to a question of its new life, which had the same number.
#[test]
fn regression_answer_to_an_earlier_life() {
    expect_kept(&run_seed(1789, Kind::FullCluster, None, false));
}

/// A member that had lost its disks heard the leader, and was not heard: it took itself for one that says who it is, and was
/// taken for one by whom it connected with then.
#[test]
fn regression_published_before_it_was_refused() {
    expect_kept(&run_seed(5288, Kind::FullCluster, None, false));
}

/// A lone member refused a put because others of its own were not durable yet.
#[test]
fn regression_refused_for_what_is_under_way() {
    expect_kept(&run_seed(606_775, Kind::FullCluster, None, false));
}
