//! When this machine itself stood still, because other programs kept its disk or its cores busy: no cluster could have
//! served then, so times that are held against a bound are measured beside it.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// A look that takes longer counts as a stall.
const STALL_MIN: Duration = Duration::from_millis(50);

/// Members wait for their disks one after the other: a candidate for its vote, voters for theirs, then the new leader and
/// its followers for the first entry.
const CHAIN: u32 = 4;

/// A file of the members' disk that is written and flushed all the time.
pub struct Stalls {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Duration, Duration)>>,
}

impl Stalls {
    /// Watches the disk of this folder; times count from `begun`.
    pub fn watch(folder: &Path, begun: Instant) -> Self {
        let mut file = File::create(folder.join("stalls")).expect("a file");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut stalls = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let from = begun.elapsed();
                std::thread::sleep(INTERVAL);
                file.seek(SeekFrom::Start(0))
                    .and_then(|_| file.write_all(&[0; 512]))
                    .expect("the disk takes it");
                file.sync_data().expect("the disk takes it");
                let to = begun.elapsed();
                if to - from > INTERVAL + STALL_MIN {
                    stalls.push((from, to));
                }
            }
            stalls
        });
        Self { stop, thread }
    }

    /// When there were stalls, from when to when.
    pub fn finish(self) -> Vec<(Duration, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watcher does not panic")
    }
}

/// By how much stalls may have prolonged what took from `from` to `to`.
pub fn allowance(stalls: &[(Duration, Duration)], from: Duration, to: Duration) -> Duration {
    let within = stalls.iter().filter(|(begin, end)| *end > from && *begin < to);
    within.map(|(begin, end)| *end - *begin).sum::<Duration>() * CHAIN
}
