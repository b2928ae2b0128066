//! `windlass-disk probe`: how long durable writes take here, by how they are made durable, by size, by how many are in
//! flight, and by what was on the disk before.

mod measure;
pub mod memory;
mod report;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use windlass_bench::undo::Undo;
use windlass_report::Machine;
use windlass_report::units::bytes;

use crate::device::Device;
use crate::flags::ProbeFlags;
use measure::{Cell, measure};

pub use measure::{Extents, Sync};
pub use report::Report;

/// Bytes of the file that is written to: a log's segment.
pub const FILE_BYTES: u64 = 64 << 20;
/// What is left free beside it: a filesystem that fills up behaves like no other.
const SPARE_BYTES: u64 = 64 << 20;
const SIZES: [u64; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const DEPTHS: [usize; 4] = [1, 2, 4, 8];
/// Extents other than rewritten ones are only measured at these sizes, one write at a time: the log avoids them.
const OTHER_SIZES: [u64; 2] = [4 << 10, 64 << 10];
/// Of the time, what is kept for preparing and removing the file.
const RESERVE: f64 = 0.15;

/// What was measured in one cell.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// How writes were made durable.
    pub sync: Sync,
    /// What was on the disk before.
    pub extents: Extents,
    /// Bytes of a write.
    pub bytes: u64,
    /// Writes in flight.
    pub depth: usize,
    /// Writes that were measured.
    pub writes: u64,
    /// The same per second.
    pub writes_per_s: f64,
    /// Latencies in nanoseconds.
    pub p50_ns: u64,
    /// See `p50_ns`.
    pub p99_ns: u64,
    /// See `p50_ns`.
    pub p999_ns: u64,
    /// See `p50_ns`.
    pub max_ns: u64,
}

/// Probes.
///
/// # Errors
/// There is too little space, the filesystem takes no direct writes, or a write fails.
pub fn run(flags: &ProbeFlags) -> Result<Report> {
    let machine = Machine::here(&flags.folder);
    let device = Device::under(&flags.folder);
    let began = Instant::now();
    let place = Place::new(&flags.folder)?;
    let cells = cells();
    let time = Duration::from_secs(flags.seconds).mul_f64(1.0 - RESERVE);
    let mut left_bytes = flags.write_max << 20;
    let mut measured = Vec::new();
    for (done, cell) in cells.iter().enumerate() {
        let rest = cells.len() - done;
        // What one cell does not use is for those after it.
        let share = time.saturating_sub(began.elapsed()) / rest as u32;
        let share_bytes = left_bytes / rest as u64;
        if share < Duration::from_millis(2) || share_bytes < cell.bytes {
            break;
        }
        let one = measure(&place.file, cell, share, share_bytes)?;
        left_bytes = left_bytes.saturating_sub(one.written_bytes);
        measured.push(one.measured);
    }
    if measured.is_empty() {
        bail!("there was no time for a single write: give it more --seconds");
    }
    let complete = measured.len() == cells.len();
    let (lockable_bytes, took_s) = (memory::lockable_bytes(), began.elapsed().as_secs_f64());
    Ok(Report { machine, device, cells: measured, complete, lockable_bytes, took_s })
}

/// The most telling first: a probe that is cut short has these. All that rewrite come before those that take the file
/// apart.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    let both = [Sync::Dsync, Sync::Fdatasync];
    for depth in DEPTHS {
        for bytes in SIZES {
            cells.extend(both.map(|sync| Cell { sync, extents: Extents::Rewritten, bytes, depth }));
        }
    }
    for extents in [Extents::Preallocated, Extents::Fresh] {
        for bytes in OTHER_SIZES {
            cells.extend(both.map(|sync| Cell { sync, extents, bytes, depth: 1 }));
        }
    }
    cells
}

/// The probe's file. It is removed with the value, or when a signal ends the program.
struct Place {
    file: PathBuf,
    /// Goes after the file.
    _undo: Undo,
}

impl Place {
    fn new(folder: &Path) -> Result<Self> {
        let context = || format!("cannot probe {}", folder.display());
        let stat = rustix::fs::statvfs(folder).with_context(context)?;
        let free = stat.f_bavail * stat.f_frsize;
        let needed = FILE_BYTES + SPARE_BYTES;
        if free < needed {
            bail!(
                "{}: a probe needs {} of free space, and there are {}",
                context(),
                bytes(needed),
                bytes(free)
            );
        }
        let file = folder.join(format!(".windlass-disk-probe-{}", std::process::id()));
        let ((), undo) = Undo::of(|| {
            File::create(&file).with_context(context)?;
            let file = file.clone();
            anyhow::Ok(((), move || remove(&file)))
        })?;
        Ok(Self { file, _undo: undo })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.file);
    }
}

fn remove(file: &Path) {
    // What cannot be removed is left; its name says whose it was.
    let _ = fs::remove_file(file);
}
