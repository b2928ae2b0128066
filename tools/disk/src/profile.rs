//! `windlass-disk profile`: watches a running member's flushes, and what else the machine does meanwhile, and says where
//! commits spend their time and what made the slow ones slow.
//!
//! It only reads: the member's `/debug/commits`, `/proc` and, where that is permitted, the kernel's trace of the disk. What
//! other processes write is only known to root.

mod analysis;
mod block;
pub(crate) mod commits;
mod evidence;
mod page;
mod report;
pub(crate) mod world;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use windlass_report::Machine;
use windlass_report::machine::Mount;

use crate::device::Device;
use crate::flags::ProfileFlags;
use block::Tracer;
use commits::{Reader, Timeline};
use world::World;

pub use evidence::{Cause, Finding};
pub use report::Report;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Watches.
///
/// # Errors
/// The member does not answer, or is none that tells of its commits.
pub fn run(flags: &ProfileFlags) -> Result<Report> {
    let mut reader = Reader::new(&flags.endpoint, flags.access.http()?);
    let mut timeline = Timeline::default();
    // What came before is not what is watched.
    reader.skip().with_context(|| format!("cannot profile {}", flags.endpoint))?;
    let mut world = World::new(reader.pid());
    let folder = world.log_folder().unwrap_or_else(|| ".".into());
    let (machine, device) = (Machine::here(&folder), Device::under(&folder));
    let mut tracer = Tracer::of(Mount::under(&folder).map(|mount| mount.device).as_deref());
    let began = Instant::now();
    let mut due = began;
    while began.elapsed() < Duration::from_secs(flags.seconds) {
        due += INTERVAL;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let clock_ns = reader.read(&mut timeline)?;
        world.look(clock_ns);
        tracer.look(clock_ns);
    }
    tracer.look(reader.read(&mut timeline)?);
    if timeline.flushes.is_empty() {
        bail!("the member flushed nothing in {} seconds: profile it under load", flags.seconds);
    }
    Ok(Report::new(machine, device, timeline, world.into_moments(), tracer.finish()))
}
