//! The Raft log on a disk that tears, reorders, loses, fails, fills up and rots.

mod damage;
mod exhaustive;
mod model;

use model::{Life, Random, options};
use windlass_io_disk::sim::SimDisk;
use windlass_io_log::buffer::BLOCK_BYTES;
use windlass_io_log::raft_log::Space;
use windlass_records::log::{Entry, HardState};
use windlass_types::{MemberId, Term};

/// Seeds per run; `LOG_SEEDS=100000` runs more, `LOG_SEED=7` one.
const SEEDS: u64 = 1500;

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    match number("LOG_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LOG_SEEDS").unwrap_or(SEEDS),
    }
}

/// Several lives of one log; says what went wrong.
fn lives(seed: u64, lie: bool) -> Result<(), String> {
    let mut random = Random::new(seed);
    let segment = options(1).segment_bytes;
    let mut disk = SimDisk::new(seed, segment * (3 + random.below(6) as usize));
    let mut last: Option<Life> = None;
    for _ in 0..6 {
        let depth = 1 + random.below(4) as usize;
        let life = Life::start(disk, options(depth)).map_err(|e| format!("recovery refused: {e}"))?;
        if let Some(last) = &last
            && !last.explains(life.recovered(), last.acknowledged())
        {
            return Err(format!("found {:?}", life.recovered()));
        }
        let (crashed, ended) = live(life, &mut random, lie);
        (disk, last) = (crashed, Some(ended));
    }
    Ok(())
}

fn live(mut life: Life, random: &mut Random, lie: bool) -> (SimDisk, Life) {
    if random.one_in(3) {
        life.disk.fail_after(1 + random.below(60));
    }
    for _ in 0..random.below(120) {
        // As an operator may at any time.
        if random.one_in(10) {
            life.log.set_flush_depth(1 + random.below(6) as usize);
        }
        if life.step(random).is_err() {
            break;
        }
    }
    if lie {
        life.lie();
    }
    let disk = std::mem::replace(&mut life.disk, SimDisk::new(0, 0));
    let mut disk = if random.one_in(4) { disk.kill() } else { disk.crash() };
    // A start that is itself cut short, twice at most.
    for _ in 0..random.below(3) {
        disk.fail_after(1 + random.below(2));
        let _ = Life::start_on(&mut disk, options(1));
        disk = if random.one_in(2) { disk.kill() } else { disk.crash() };
    }
    (disk, life)
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_invented() {
    for seed in seeds() {
        if let Err(why) = lives(seed, false) {
            panic!(
                "{why}\nrun again: LOG_SEED={seed} cargo test -p windlass-io-disk --test raft_log nothing"
            );
        }
    }
}

/// The canary: were appends acknowledged before they are durable, the test above would fail.
#[test]
fn early_acknowledgement_would_be_seen() {
    assert!((0..50).any(|seed| lives(seed, true).is_err()));
}

#[test]
fn a_full_disk_refuses_entries_takes_hard_state_and_recovers_by_itself() {
    let mut random = Random::new(1);
    let segment = options(1).segment_bytes;
    let mut life = Life::start(SimDisk::new(1, segment), options(1)).expect("room for one segment");
    let mut index = 1;
    loop {
        let mut ops = Vec::new();
        assert!(life.log.can_flush(), "stuck rather than full");
        let taken = life.append(None, vec![model::entry(index, Term(1), &mut random)], &mut ops);
        life.disk.submit(ops);
        life.complete_all().expect("no failure");
        if !taken {
            break;
        }
        index += 1;
    }
    assert_eq!(life.log.space(), Space::Full);
    let vote = HardState { term: Term(2), vote: MemberId(1), ..HardState::default() };
    let mut ops = Vec::new();
    assert!(life.append(Some(vote), Vec::new(), &mut ops), "the reserve takes the vote");
    life.disk.submit(ops);
    life.complete_all().expect("no failure");

    // The same after a restart on the full disk.
    let now = life.now().clone();
    let mut life = Life::start(life.disk.crash(), options(1)).expect("a full disk can be started on");
    assert_eq!(life.recovered(), &now);

    life.disk.set_capacity(segment * 3);
    let mut ops = Vec::new();
    life.log.retry(&mut ops);
    life.disk.submit(ops);
    life.complete_all().expect("no failure");
    assert_eq!(life.log.space(), Space::Ok);
    let mut ops = Vec::new();
    assert!(life.append(None, vec![model::entry(index, Term(2), &mut random)], &mut ops));
}

#[test]
fn an_entry_that_finds_no_room_where_smaller_ones_would_makes_the_log_full() {
    let mut random = Random::new(4);
    let segment = options(1).segment_bytes;
    let mut life = Life::start(SimDisk::new(4, segment), options(1)).expect("room for one segment");
    let mut index = 1;
    // Until there is no room for a second segment, and still some in the first.
    while life.disk.in_flight() == 0 {
        let mut ops = Vec::new();
        assert!(life.append(None, vec![model::entry(index, Term(1), &mut random)], &mut ops));
        life.disk.submit(ops);
        life.complete().expect("no failure");
        index += 1;
    }
    life.complete_all().expect("no failure");
    assert_eq!(life.log.space(), Space::Ok);
    let data = vec![7; segment / 2].into();
    let large = vec![Entry { data, ..model::entry(index, Term(1), &mut random) }];
    let mut ops = Vec::new();
    assert!(life.append(None, large, &mut ops), "there may be room by now: it is asked for");
    life.disk.submit(ops);
    life.complete_all().expect("no failure");
    assert_eq!(life.log.space(), Space::Full, "somebody has to look for room");

    life.disk.set_capacity(segment * 2);
    let mut ops = Vec::new();
    life.log.retry(&mut ops);
    life.disk.submit(ops);
    life.complete_all().expect("no failure");
    assert_eq!((life.acknowledged() as u64, life.log.space()), (index, Space::Ok));
}

/// Simulated cluster, seed 988: the spare segment was to be made when the disk had no room. When the segment in use was full
/// it had some, and writes were refused all the same until the timer asked.
#[test]
fn a_log_whose_disk_has_room_again_is_not_full_when_it_needs_some() {
    let mut random = Random::new(5);
    let segment = options(1).segment_bytes;
    let mut life = Life::start(SimDisk::new(5, segment), options(1)).expect("room for one segment");
    let mut index = 1;
    // Until there is no room for a second segment, and still some in the first.
    while life.disk.in_flight() == 0 {
        let mut ops = Vec::new();
        assert!(life.append(None, vec![model::entry(index, Term(1), &mut random)], &mut ops));
        life.disk.submit(ops);
        life.complete().expect("no failure");
        index += 1;
    }
    life.complete_all().expect("no failure");
    life.disk.set_capacity(segment * 4);
    for index in index..3 * index {
        let mut ops = Vec::new();
        assert!(life.append(None, vec![model::entry(index, Term(1), &mut random)], &mut ops));
        life.disk.submit(ops);
        life.complete_all().expect("no failure");
        assert_eq!(life.log.space(), Space::Ok);
    }
}

#[test]
fn a_start_on_a_segment_that_is_nearly_full_gets_the_next_one() {
    let mut random = Random::new(3);
    let segment = options(1).segment_bytes;
    let mut life = Life::start(SimDisk::new(3, segment), options(1)).expect("room for one segment");
    for index in 1.. {
        let mut ops = Vec::new();
        let taken = life.append(None, vec![model::entry(index, Term(1), &mut random)], &mut ops);
        life.disk.submit(ops);
        life.complete_all().expect("no failure");
        if !taken {
            break;
        }
    }
    let mut disk = life.disk.crash();
    disk.set_capacity(segment * 3);
    let mut life = Life::start(disk, options(1)).expect("the log is whole");
    assert!(!life.log.can_flush(), "the segment is nearly full");
    let mut ops = Vec::new();
    life.log.make_room(&mut ops);
    life.disk.submit(ops);
    life.complete_all().expect("no failure");
    assert!(life.log.can_flush());
}

#[test]
fn slots_are_recycled_and_the_disk_does_not_grow() {
    let mut random = Random::new(2);
    let mut life = Life::start(SimDisk::new(2, 1 << 30), options(2)).expect("an empty disk");
    for index in 1..2000 {
        let mut ops = Vec::new();
        while !life.log.can_flush() {
            life.complete().expect("no failure");
        }
        assert!(life.append(None, vec![model::entry(index, Term(1), &mut random)], &mut ops));
        life.disk.submit(std::mem::take(&mut ops));
        life.complete_all().expect("no failure");
        life.cut_to(index.saturating_sub(10), &mut ops);
        life.disk.submit(ops);
    }
    let segments = life.disk.used() / options(1).segment_bytes;
    assert!(segments <= 6, "{segments} segments of {} blocks", options(1).segment_bytes / BLOCK_BYTES);
}
