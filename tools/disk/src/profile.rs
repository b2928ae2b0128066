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
pub(crate) mod whereabouts;
pub(crate) mod world;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use windlass_report::Machine;

use crate::device::Device;
use crate::flags::ProfileFlags;
use block::Tracer;
use commits::{Reader, Timeline};
use whereabouts::Whereabouts;
use world::World;

pub use evidence::{Cause, Finding};
pub use report::{Lost, Report};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Watches.
///
/// # Errors
/// The member does not answer, or is none that tells of its commits.
pub fn run(flags: &ProfileFlags) -> Result<Report> {
    let mut reader = Reader::new(&flags.endpoint, flags.trust.http()?);
    let mut timeline = Timeline::default();
    // What came before is not what is watched.
    reader.skip().with_context(|| format!("cannot profile {}", flags.endpoint))?;
    // What goes on beside a member elsewhere cannot be seen from here, and what goes on here is nothing to it.
    let whereabouts = reader.whereabouts();
    let mut world = whereabouts.pid().map(World::new);
    let mount = whereabouts.pid().and_then(world::log_mount);
    let mut tracer = match whereabouts {
        Whereabouts::Here(_) => Tracer::of(mount.as_ref().map(|mount| mount.device.as_str())),
        Whereabouts::Elsewhere(why) => Tracer::Off(why.to_owned()),
    };
    let machine = Machine::with(mount.as_ref());
    let device = mount.map(Device::of).unwrap_or_default();
    let began = Instant::now();
    let mut due = began;
    let mut lost = None;
    while lost.is_none() && began.elapsed() < Duration::from_secs(flags.seconds) {
        due += INTERVAL;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        match reader.read(&mut timeline) {
            Ok(clock_ns) => {
                if let Some(world) = &mut world {
                    world.look(clock_ns);
                }
                tracer.look(clock_ns);
            }
            Err(error) => {
                lost = Some(Lost { after_s: began.elapsed().as_secs_f64(), why: format!("{error:#}") })
            }
        }
    }
    if let (Some(lost), true) = (&lost, timeline.flushes.is_empty()) {
        bail!("{} does not answer any more: {}", flags.endpoint, lost.why);
    }
    if timeline.flushes.is_empty() {
        bail!("the member flushed nothing in {} seconds: profile it under load", flags.seconds);
    }
    let moments = world.map(World::into_moments).unwrap_or_default();
    let report = Report::new(machine, device, timeline, moments, tracer.finish());
    Ok(Report { lost, ..report })
}
