//! One cell of the probe: threads that write in turn and wait until each write is durable.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rustix::fs::{FallocateFlags, OFlags, fallocate, fdatasync};
use rustix::io::{ReadWriteFlags, pwritev2};
use serde::Serialize;
use windlass_io_log::buffer::Buffer;

use super::{FILE_BYTES, Measured};

/// Latencies above this, a minute, count as it.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Writes of each thread before the time counts.
const WARM_UP: u64 = 3;
/// Writes of a cell: more say nothing further.
const WRITES_MAX: u64 = 4_000;
const FILL_BYTES: usize = 1 << 20;

/// How a write is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// The write itself is.
    Dsync,
    /// A write and an fdatasync after it.
    Fdatasync,
}

/// What was on the disk where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Extents {
    /// Nothing: the file grows.
    Fresh,
    /// Space that is reserved and was never written.
    Preallocated,
    /// Other data: as a log does that recycles its segments.
    Rewritten,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub sync: Sync,
    pub extents: Extents,
    pub bytes: u64,
    pub depth: usize,
}

/// What came of it.
pub struct Outcome {
    pub measured: Measured,
    /// All writes, those that prepared the file included.
    pub written_bytes: u64,
}

impl Sync {
    /// As the server's flag has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dsync => "dsync",
            Self::Fdatasync => "fdatasync",
        }
    }

    /// What the write itself is asked for, as by a server: `RWF_DSYNC`, which is `O_DSYNC` for one write. (rustix's `OFlags::DSYNC` is
    /// `O_SYNC`, for which the file's times are written, too.)
    fn flags(self) -> ReadWriteFlags {
        match self {
            Self::Dsync => ReadWriteFlags::DSYNC,
            Self::Fdatasync => ReadWriteFlags::empty(),
        }
    }
}

/// Measures one cell for at most `time` and `bytes_max`, on the file at `path`.
pub fn measure(path: &Path, cell: &Cell, time: Duration, bytes_max: u64) -> Result<Outcome> {
    let prepared = prepare(path, cell.extents)?;
    let flags = i32::try_from(OFlags::DIRECT.bits()).expect("flags of open fit");
    let opened = OpenOptions::new().write(true).custom_flags(flags).open(path);
    let file = opened.with_context(|| format!("{} takes no direct writes", path.display()))?;
    let next = AtomicU64::new(0);
    // A file that grows or that is reserved has each of its places once.
    let places = FILE_BYTES / cell.bytes;
    let once = if cell.extents == Extents::Rewritten { u64::MAX } else { places };
    let most = WRITES_MAX.min(bytes_max / cell.bytes).min(once).max(1);
    let (mut all, timed) = (histogram(), Instant::now());
    let mut writes = 0;
    std::thread::scope(|scope| -> Result<()> {
        let work = || one_thread(&file, cell, &next, most, timed + time);
        let threads: Vec<_> = (0..cell.depth).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (latencies, count) = thread.join().expect("a writer's panic is a bug")?;
            all.add(&latencies).expect("all have the same bounds");
            writes += count;
        }
        Ok(())
    })?;
    let took_s = timed.elapsed().as_secs_f64();
    let measured = Measured {
        sync: cell.sync,
        extents: cell.extents,
        bytes: cell.bytes,
        depth: cell.depth,
        writes: all.len(),
        writes_per_s: writes as f64 / took_s,
        p50_ns: all.value_at_percentile(50.0),
        p99_ns: all.value_at_percentile(99.0),
        p999_ns: all.value_at_percentile(99.9),
        max_ns: all.max(),
    };
    Ok(Outcome { measured, written_bytes: prepared + writes * cell.bytes })
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are valid")
}

/// Takes numbers of writes and carries them out until there are enough or the time is over. Gives the latencies of those
/// after the warm-up, and the number of all.
fn one_thread(
    file: &File,
    cell: &Cell,
    next: &AtomicU64,
    most: u64,
    until: Instant,
) -> Result<(Histogram<u64>, u64)> {
    let mut buffer = Buffer::zeroed(cell.bytes as usize, None);
    buffer.memory().fill(0x5a);
    buffer.set_len(cell.bytes as usize);
    let (mut latencies, mut count) = (histogram(), 0);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= most || (count > WARM_UP && Instant::now() >= until) {
            return Ok((latencies, count));
        }
        let offset = number * cell.bytes % FILE_BYTES;
        let begin = Instant::now();
        let bytes = [IoSlice::new(buffer.bytes())];
        let written = pwritev2(file, &bytes, offset, cell.sync.flags()).context("a write failed")?;
        if written as u64 != cell.bytes {
            bail!("only {written} of {} bytes were written: is the disk full?", cell.bytes);
        }
        if cell.sync == Sync::Fdatasync {
            fdatasync(file).context("an fdatasync failed")?;
        }
        count += 1;
        if count > WARM_UP || most <= WARM_UP {
            latencies.saturating_record(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

/// Makes the file what the cell wants; gives the bytes that it wrote. A file that is rewritten once is left as it is.
fn prepare(path: &Path, extents: Extents) -> Result<u64> {
    let context = || format!("cannot prepare {}", path.display());
    let mut file = OpenOptions::new().write(true).open(path).with_context(context)?;
    if extents == Extents::Rewritten {
        let is_filled = file.metadata().with_context(context)?.len() == FILE_BYTES && marked(path)?;
        return if is_filled { Ok(0) } else { fill(&mut file).with_context(context).map(|()| FILE_BYTES) };
    }
    file.set_len(0).with_context(context)?;
    if extents == Extents::Preallocated {
        fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES).with_context(context)?;
    }
    file.sync_all().with_context(context)?;
    Ok(0)
}

/// Whether the last byte is what [`fill`] or a cell writes: reserved space reads as zeroes.
fn marked(path: &Path) -> Result<bool> {
    let file = File::open(path)?;
    let mut last = [0];
    rustix::io::pread(&file, &mut last, FILE_BYTES - 1)?;
    Ok(last[0] != 0)
}

fn fill(file: &mut File) -> std::io::Result<()> {
    let block = vec![0x5a; FILL_BYTES];
    for _ in 0..FILE_BYTES / FILL_BYTES as u64 {
        file.write_all(&block)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durable_write_leaves_the_files_times_alone() {
        // Source: linux/fs.h, where RWF_DSYNC is 2 and RWF_SYNC 4.
        assert_eq!(Sync::Dsync.flags().bits(), 2);
        assert_eq!(Sync::Fdatasync.flags().bits(), 0);
    }
}
