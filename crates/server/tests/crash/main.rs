//! Kills a real member again and again while clients write, and checks after every restart that nothing acknowledged
//! is missing, that no revision was given out twice, and that the store is what its history makes.
//!
//! `WINDLASS_CRASH_ROUNDS` sets the number of kills (default 10; the long run is 200), `WINDLASS_CRASH_SEED` the seed.

mod history;
#[path = "../process/mod.rs"]
mod process;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use history::History;
use process::{Member, Scratch};
use windlass_replica::oracle::generate::Random;
use writer::Writer;

const ROUNDS: u64 = 10;
const WRITERS: usize = 4;

#[test]
fn acknowledged_writes_survive_kill() {
    let rounds = number("WINDLASS_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("WINDLASS_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("crash test: {rounds} rounds; WINDLASS_CRASH_SEED={seed} starts with the same choices");
    let mut random = Random::new(seed);
    let folder = Scratch::new();
    let mut history = History::default();
    let mut acknowledged = 0;
    for round in 0..rounds {
        let member = Member::start(folder.path(), &choose_flags(&mut random));
        history.check(&mut member.client());
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|id| {
                let writer = Writer::new(id, round, &history, member.client());
                let (stop, seed) = (Arc::clone(&stop), random.number());
                std::thread::spawn(move || writer.run(&stop, Random::new(seed)))
            })
            .collect();
        // The moment of the kill is random on purpose: nothing is waited for.
        std::thread::sleep(Duration::from_millis(20 + random.below(250)));
        member.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            let report = writer.join().expect("a writer does not panic");
            acknowledged += report.acknowledged.len();
            history.add(report);
        }
    }
    let member = Member::start(folder.path(), &choose_flags(&mut random));
    history.check(&mut member.client());
    history.check_every_revision(&mut member.client());
    member.stop_gracefully();
    let member = Member::start(folder.path(), &[]);
    history.check(&mut member.client());
    eprintln!("crash test: {rounds} kills, {acknowledged} acknowledged writes, none missing");
    assert!(acknowledged > 0, "nothing was written, so nothing was tested");
}

/// Small segments, so that logs are recycled and cut; shard counts change from start to start.
fn choose_flags(random: &mut Random) -> Vec<String> {
    vec![
        "--wal-segment-bytes=4194304".to_owned(),
        format!("--shards={}", 1 + random.below(3)),
        format!("--flush-depth={}", 1 + random.below(3)),
        format!("--shard-flush-interval={}ms", 1 + random.below(60)),
    ]
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
