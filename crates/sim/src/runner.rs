//! Many runs: each in one thread, several threads at once; a panic in one is its verdict.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::bug::Bug;
use crate::check::{Check, Violation};
use crate::profile::Kind;
use crate::report::{Totals, Wanted};
use crate::world::{Outcome, World};

thread_local! {
    /// What the run on this thread said when it panicked; `None` outside of runs.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs one seed, and tells its story or not.
#[must_use]
pub fn run_seed(seed: u64, kind: Kind, bug: Option<Bug>, told: bool) -> Outcome {
    run_seed_for(seed, kind, bug, Wanted { story: told, ..Wanted::default() })
}

/// Runs one seed, for what is wanted of it.
#[must_use]
pub fn run_seed_for(seed: u64, kind: Kind, bug: Option<Bug>, wanted: Wanted) -> Outcome {
    static HOOK: Once = Once::new();
    HOOK.call_once(listen_to_panics);
    PANIC.with_borrow_mut(|said| *said = Some(String::new()));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| World::new(seed, kind, bug, wanted).run()));
    let said = PANIC.with_borrow_mut(Option::take).unwrap_or_default();
    ended.unwrap_or_else(|_| Outcome {
        seed,
        totals: Totals::default(),
        violation: Some(Violation::new(Check::Panic, said)),
        lines: Vec::new(),
        operations: Vec::new(),
        trace: Vec::new(),
    })
}

/// What many runs gave.
#[derive(Debug, Default)]
pub struct Summary {
    /// Runs that ended.
    pub runs: u64,
    /// The sum of what they counted.
    pub totals: Totals,
    /// The run with the lowest seed among those that broke a promise.
    pub failure: Option<Outcome>,
}

/// Runs seeds on `threads` threads until one fails.
#[must_use]
pub fn run_seeds(seeds: Range<u64>, kind: Kind, bug: Option<Bug>, threads: usize) -> Summary {
    run_seeds_for(seeds, kind, bug, threads, Wanted::default(), &|_| {})
}

/// As [`run_seeds`], for what is wanted of each run; `each` gets every one that ended.
#[must_use]
pub fn run_seeds_for(
    seeds: Range<u64>,
    kind: Kind,
    bug: Option<Bug>,
    threads: usize,
    wanted: Wanted,
    each: &(impl Fn(&Outcome) + Sync),
) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let work = || {
        let mut summary = Summary::default();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let outcome = run_seed_for(seed, kind, bug, wanted);
            each(&outcome);
            failed.fetch_or(outcome.violation.is_some(), Ordering::Relaxed);
            summary.add(outcome);
        }
        summary
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let parts = threads.into_iter().map(|t| t.join().expect("panics of runs are caught"));
        parts.fold(Summary::default(), Summary::join)
    })
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.totals += &outcome.totals;
        if outcome.violation.is_some() {
            self.fail(outcome);
        }
    }

    fn fail(&mut self, outcome: Outcome) {
        if self.failure.as_ref().is_none_or(|other| outcome.seed < other.seed) {
            self.failure = Some(outcome);
        }
    }

    fn join(mut self, other: Self) -> Self {
        self.runs += other.runs;
        self.totals += &other.totals;
        if let Some(outcome) = other.failure {
            self.fail(outcome);
        }
        self
    }
}

/// Keeps what a run's panic says instead of printing it.
fn listen_to_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let in_run =
            PANIC.with_borrow_mut(|said| said.as_mut().map(|said| *said = info.to_string()).is_some());
        if !in_run {
            print(info);
        }
    }));
}

/// The run in which the check that is meant for `bug` complains first, among these.
#[must_use]
pub fn first_catch(bug: Bug, seeds: Range<u64>) -> Option<Outcome> {
    seeds.map(|seed| run_seed(seed, bug.kind(), Some(bug), false)).find(|outcome| is_caught(bug, outcome))
}

/// In which runs a known bug was caught.
#[derive(Debug)]
pub struct Canary {
    /// The bug.
    pub bug: Bug,
    /// The first seed.
    pub from: u64,
    /// Runs.
    pub runs: u64,
    /// The seeds in which the check that is meant for it complained, in order.
    pub caught: Vec<u64>,
}

impl Canary {
    /// How many seeds it takes to catch it, counted from any catch to the next: half of the times no more than this.
    #[must_use]
    pub fn median_seeds(&self) -> Option<u64> {
        let before = std::iter::once(self.from).chain(self.caught.iter().map(|seed| seed + 1));
        let mut seeds: Vec<u64> = before.zip(&self.caught).map(|(from, to)| to + 1 - from).collect();
        seeds.sort_unstable();
        seeds.get(seeds.len().checked_sub(1)? / 2).copied()
    }
}

/// Runs all of these seeds with a known bug, on `threads` threads.
#[must_use]
pub fn canary(bug: Bug, seeds: Range<u64>, threads: usize) -> Canary {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut caught = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return caught;
            }
            if is_caught(bug, &run_seed(seed, bug.kind(), Some(bug), false)) {
                caught.push(seed);
            }
        }
    };
    let mut caught: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("panics of runs are caught")).collect()
    });
    caught.sort_unstable();
    Canary { bug, from: seeds.start, runs: seeds.end - seeds.start, caught }
}

fn is_caught(bug: Bug, outcome: &Outcome) -> bool {
    outcome.violation.as_ref().is_some_and(|violation| bug.caught_by().contains(&violation.check))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_ways_from_catch_to_catch() {
        let canary = |caught| Canary { bug: Bug::LostFrame, from: 10, runs: 100, caught };
        assert_eq!(canary(vec![]).median_seeds(), None);
        assert_eq!(canary(vec![10]).median_seeds(), Some(1));
        assert_eq!(canary(vec![14, 15, 18]).median_seeds(), Some(3));
    }
}
