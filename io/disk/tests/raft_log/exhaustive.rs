//! A small scope, exhaustively: a few appends, in every order in which their writes can complete, and after every step
//! every disk that a power failure may leave: each sector in flight old or new.
//!
//! The seeded tests go deep into some runs; this misses no torn outcome within its bounds. How many states and outcomes
//! there were is printed (`--nocapture`).

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use windlass_io_disk::sim::SimDisk;
use windlass_records::log::{Entry, EntryKind, HardState};
use windlass_types::{LogIndex, MemberId, Term};

use crate::model::{Life, options};

/// Flushes under way at a time.
const FLUSH_DEPTH: usize = 2;

/// Sectors that a power failure finds open at most; more were a scope too large to look at.
const OPEN_MAX: u32 = 16;

/// One append of a script.
type Append = (Option<HardState>, Vec<Entry>);

/// A step of a run.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next append of the script is submitted.
    Append,
    /// This operation of those in flight completes.
    Complete(usize),
}

/// What was seen.
#[derive(Default)]
struct Seen {
    states: usize,
    outcomes: usize,
    depth: usize,
}

fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let data = Bytes::from(vec![index as u8; bytes]);
    Entry { term: Term(term), index: LogIndex(index), kind: EntryKind::Normal, data }
}

fn vote(term: u64) -> Option<HardState> {
    Some(HardState { term: Term(term), vote: MemberId(term), ..HardState::default() })
}

/// A log after these appends, one after the other, all of them durable; what is below `cut` is not needed any more.
fn begin(before: &[Append], cut: u64) -> Life {
    let mut life = Life::start(SimDisk::new(1, 1 << 30), options(FLUSH_DEPTH)).expect("an empty disk");
    for (hard_state, entries) in before {
        let mut ops = Vec::new();
        assert!(life.append(*hard_state, entries.clone(), &mut ops));
        life.cut_to(cut, &mut ops);
        life.disk.submit(ops);
        life.complete_all().expect("nothing fails");
    }
    life
}

fn replay(before: &[Append], cut: u64, script: &[Append], path: &[Step]) -> (Life, usize) {
    let (mut life, mut appended) = (begin(before, cut), 0);
    for step in path {
        match *step {
            Step::Append => {
                let (hard_state, entries) = script[appended].clone();
                let mut ops = Vec::new();
                assert!(life.append(hard_state, entries, &mut ops));
                life.disk.submit(ops);
                appended += 1;
            }
            Step::Complete(at) => life.complete_at(at).expect("nothing fails"),
        }
    }
    (life, appended)
}

fn key(life: &Life, appended: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    (appended, life.acknowledged(), life.disk.in_flight()).hash(&mut hasher);
    life.disk.describe().hash(&mut hasher);
    hasher.finish()
}

/// Looks at every state of a script, and at every disk that it may leave.
fn explore(before: &[Append], cut: u64, script: &[Append], lie: bool) -> Result<Seen, String> {
    let (mut known, mut looked_at, mut seen) = (HashSet::new(), HashSet::new(), Seen::default());
    let mut paths = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let (mut life, appended) = replay(before, cut, script, &path);
        if !known.insert(key(&life, appended)) {
            continue;
        }
        seen.states += 1;
        seen.depth = seen.depth.max(path.len());
        let steps = (0..life.disk.in_flight()).map(Step::Complete);
        let may_append = appended < script.len() && life.log.can_flush();
        for step in steps.chain(may_append.then_some(Step::Append)) {
            paths.push([&path[..], &[step]].concat());
        }
        if lie {
            life.lie();
        }
        for disk in life.disk.crashes(OPEN_MAX).expect("few sectors are open") {
            let mut hasher = DefaultHasher::new();
            (disk.describe(), life.acknowledged()).hash(&mut hasher);
            if !looked_at.insert(hasher.finish()) {
                continue;
            }
            seen.outcomes += 1;
            let after = || format!("after {path:?}");
            let next = Life::start(disk, options(FLUSH_DEPTH)).map_err(|e| format!("{e}, {}", after()))?;
            if !life.explains(next.recovered(), life.acknowledged()) {
                return Err(format!("found {:?}, {}", next.recovered(), after()));
            }
        }
    }
    Ok(seen)
}

fn look_at(name: &str, before: &[Append], cut: u64, script: &[Append], outcomes_min: usize) {
    let Seen { states, outcomes, depth } =
        explore(before, cut, script, false).unwrap_or_else(|why| panic!("{name}: {why}"));
    eprintln!("{name}: {states} states, depth {depth}, {outcomes} disks after a power failure");
    assert!(outcomes >= outcomes_min, "only {outcomes} disks");
}

/// Votes, small and larger entries, and one that replaces others.
fn script(first: u64, bytes: usize) -> Vec<Append> {
    vec![
        (vote(1), vec![entry(first, 1, bytes)]),
        (None, vec![entry(first + 1, 1, bytes), entry(first + 2, 1, 10)]),
        (vote(2), Vec::new()),
        (None, vec![entry(first + 1, 2, bytes)]),
        (None, vec![entry(first + 2, 2, bytes)]),
    ]
}

#[test]
fn every_torn_write_of_a_fresh_log() {
    look_at("a fresh log", &[], 0, &script(1, 2000), 2000);
}

#[test]
fn every_torn_write_from_one_segment_to_the_next() {
    // So much that the script goes from the first segment to the second, which is new.
    let before: Vec<Append> = (1..=13).map(|index| (None, vec![entry(index, 1, 700)])).collect();
    look_at("two segments", &before, 0, &script(14, 2000), 2000);
}

#[test]
fn every_torn_write_over_old_frames() {
    // The segments were used before: what is not written yet is an old frame and not zero.
    let before: Vec<Append> = (1..=45).map(|index| (None, vec![entry(index, 1, 700)])).collect();
    look_at("a recycled segment", &before, 40, &script(46, 2000), 2000);
}

/// The canary: were appends acknowledged before they are durable, the tests above would fail.
#[test]
fn an_early_acknowledgement_is_found() {
    assert!(explore(&[], 0, &script(1, 100), true).is_err());
}
