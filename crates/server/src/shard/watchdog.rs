//! Sees to it that every shard's thread keeps turning.
//!
//! A thread that has nothing to do still turns twenty times a second.
//! glommio sleeps on one io_uring that watches another, and very rarely the wake is lost in between, timers
//! included, so that the thread would sleep for ever (DataDog/glommio#552 tells of the same hangs). An interrupted
//! system call is all it needs to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::thread::Pid;
use windlass_io_disk::interrupt::Interrupter;

/// How often the threads are looked at: several times the longest sleep, so that a healthy thread is left alone.
const INTERVAL: Duration = Duration::from_millis(200);

/// Counts the turns of one thread.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// A turn was made.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A thread to be watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its turns.
    pub pulse: Arc<Pulse>,
    /// Its id in the kernel.
    pub thread: Pid,
}

/// Interrupts every thread that has not turned since the last look, for ever.
pub async fn watch(threads: Vec<Watched>, interrupter: Interrupter) {
    let mut counts: Vec<u64> = threads.iter().map(|t| t.pulse.count()).collect();
    loop {
        tokio::time::sleep(INTERVAL).await;
        for (watched, last) in threads.iter().zip(&mut counts) {
            let count = watched.pulse.count();
            if count == *last {
                tracing::debug!(thread = %watched.thread.as_raw_pid(), "a shard's thread slept too long: interrupting it");
                interrupter.interrupt(watched.thread);
            }
            *last = count;
        }
    }
}
