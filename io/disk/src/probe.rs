//! Which way of making a write durable is faster on this device: a few dozen writes each way at start-up.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use windlass_io_log::buffer::{BLOCK_BYTES, Buffer};
use windlass_io_log::op::{Completion, Failure, FileSlot, Op, Ticket};
use windlass_types::ByteOffset;

use crate::preflight;
use crate::uring::{SyncMode, Uring};

/// Writes each way; enough for a stable median.
const WRITES: usize = 40;
/// Writes each way before the time counts.
const WARM_UP: usize = 4;
/// On a slow device the probe ends early, after this time.
const TIME_MAX: Duration = Duration::from_millis(800);
/// How long one operation may take before the device counts as broken.
const OPERATION_TIME_MAX: Duration = Duration::from_secs(30);
/// What the probe calls its file.
const SLOT: FileSlot = FileSlot(0);
const FILE_BYTES: usize = 64 * BLOCK_BYTES;

/// What the probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The better way.
    pub mode: SyncMode,
    /// Median of a durable 4 KiB write with [`SyncMode::Dsync`].
    pub dsync_median: Duration,
    /// The same with [`SyncMode::WriteThenSync`].
    pub write_then_sync_median: Duration,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See there.
    #[error(transparent)]
    Preflight(#[from] preflight::Error),
    /// An operation failed.
    #[error("the disk probe failed: {0}")]
    Failed(Failure),
}

/// Writes to a file without a name in `folder`, which exists; it may be that of a log which nobody has open.
/// Takes well under a tenth of a second on a good disk, about one second on a slow one.
///
/// # Errors
/// See [`Error`]. Without room for the file there is no result: start with [`SyncMode::Dsync`] then.
pub fn probe(folder: &Path) -> Result<Probe, Error> {
    let mut uring = Uring::without_files(folder, SyncMode::Dsync, &[])?;
    uring.make_unnamed(SLOT, ByteOffset(FILE_BYTES as u64)).map_err(Error::Failed)?;
    Prober { uring, tickets: 0 }.measure()
}

struct Prober {
    uring: Uring,
    tickets: u64,
}

impl Prober {
    /// Takes turns, so that a noisy moment hits both ways, and changes who goes first: whoever comes second finds
    /// a device cache that was just flushed.
    fn measure(&mut self) -> Result<Probe, Error> {
        let (mut dsync, mut then_sync) = (Vec::new(), Vec::new());
        let start = Instant::now();
        for i in 0..WARM_UP + WRITES {
            if i % 2 == 0 {
                dsync.push(self.write(SyncMode::Dsync, i)?);
                then_sync.push(self.write(SyncMode::WriteThenSync, i)?);
            } else {
                then_sync.push(self.write(SyncMode::WriteThenSync, i)?);
                dsync.push(self.write(SyncMode::Dsync, i)?);
            }
            if start.elapsed() > TIME_MAX {
                break;
            }
        }
        let (dsync_median, write_then_sync_median) = (median(dsync), median(then_sync));
        let mode = choose(dsync_median, write_then_sync_median);
        Ok(Probe { mode, dsync_median, write_then_sync_median })
    }

    fn write(&mut self, mode: SyncMode, i: usize) -> Result<Duration, Error> {
        let mut buffer = Buffer::zeroed(BLOCK_BYTES, None);
        buffer.memory().fill(i as u8);
        buffer.set_len(BLOCK_BYTES);
        self.uring.set_mode(mode);
        let offset = ByteOffset((i * BLOCK_BYTES % FILE_BYTES) as u64);
        let start = Instant::now();
        self.run(|ticket| Op::WriteDurable { ticket, slot: SLOT, offset, buffer })?;
        Ok(start.elapsed())
    }

    /// Executes one operation and waits for its end.
    fn run(&mut self, op: impl FnOnce(Ticket) -> Op) -> Result<(), Error> {
        self.tickets += 1;
        self.uring.submit([op(Ticket(self.tickets))]);
        self.uring.flush().map_err(Error::Failed)?;
        wait(&mut self.uring).map_err(Error::Failed)?.result.map_err(Error::Failed)
    }
}

/// The faster way; but a sync runs on a worker thread of the ring, whose wake costs CPU that the medians do not show, so
/// it must be a fifth faster to be worth it.
fn choose(dsync: Duration, write_then_sync: Duration) -> SyncMode {
    if write_then_sync * 5 < dsync * 4 { SyncMode::WriteThenSync } else { SyncMode::Dsync }
}

/// Waits for the end of the one operation in flight.
fn wait(uring: &mut Uring) -> Result<Completion, Failure> {
    let mut out = Vec::new();
    let deadline = Instant::now() + OPERATION_TIME_MAX;
    loop {
        uring.reap(&mut out);
        if let Some(completion) = out.pop() {
            return Ok(completion);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Io(format!("no answer within {OPERATION_TIME_MAX:?}")));
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let eventfd = uring.eventfd();
        let fd = eventfd.as_fd();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout))
            .map_err(|e| Failure::Io(e.to_string()))?;
        // Level-triggered: take the signal before looking again.
        let _ = rustix::io::read(fd, &mut [0_u8; 8]);
    }
}

/// Of what follows the warm-up; of fewer times, the later half.
fn median(mut times: Vec<Duration>) -> Duration {
    times.drain(..WARM_UP.min(times.len() / 2));
    times.sort_unstable();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_must_be_clearly_faster() {
        let us = Duration::from_micros;
        assert_eq!(choose(us(100), us(100)), SyncMode::Dsync);
        assert_eq!(choose(us(100), us(81)), SyncMode::Dsync);
        assert_eq!(choose(us(100), us(79)), SyncMode::WriteThenSync);
    }
}
