//! The life of the process: open, serve, stop.
//!
//! Everything that can refuse the start is looked at before anything is written (`open`, `recovery`); then threads
//! and actors are made and wired (`serve`), and end in the reverse order when a signal comes.

mod assemble;
pub mod examine;
pub(crate) mod join;
mod listeners;
mod open;
pub mod protect;
mod recovery;
mod repair;
mod serve;
mod signals;

use crate::startup::{Config, fatal, preflight};

pub use open::OpenError;

/// Runs a member until a signal stops it. Ends the process.
pub fn run(mut config: Config) -> ! {
    use_small_pages();
    let opened = open::open(&mut config).unwrap_or_else(|error| fatal(error.reason(), error));
    let opened = match opened {
        open::Start::Member(opened) => *opened,
        open::Start::Repair(damaged) => actix_rt::System::new().block_on(repair::run(&config, *damaged)),
    };
    let signal = actix_rt::System::new().block_on(serve::serve(&config, opened));
    signals::end_by(signal)
}

/// Keeps the kernel from backing the process with huge pages: see docs/adr/0004-no-huge-pages.md. A kernel without
/// them refuses, which is as good.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "transparent huge pages stay as they are");
    }
}

/// Locked memory in bytes that a member with this configuration needs, beside its executors'.
fn registered_bytes(buffers: &[windlass_io_log::buffer::Buffer]) -> u64 {
    buffers.iter().map(|buffer| buffer.capacity() as u64).sum()
}

/// Raises the limits of the process to what the configuration needs.
fn raise_limits(config: &Config, registered_bytes: u64) -> Result<(), preflight::Error> {
    preflight::raise_limits(config.storage.shards, registered_bytes)
}
