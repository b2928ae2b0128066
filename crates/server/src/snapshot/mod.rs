//! A snapshot that arrives for this member: kept in a file of its own until it is whole, then installed by a start.
//!
//! The file and the stream are one format (`docs/formats/snapshot.md`): records of a length, a checksum and bytes. The
//! first is the snapshot's place, the others are frames of the shards' WAL format, an empty one is the end.
//!
//! A member that needs a snapshot cannot serve anyway, so nothing is swapped under running threads: when the file is
//! whole and durable the process begins anew, and the start builds the shards and the Raft log from it ([`Install`]).
//! A crash at any point leaves either the old state, or the file, from which the next start does the same again.

mod file;
mod install;
mod receiving;

use file::receive;
pub use file::{FILE_NAME, Making, Reader, end, framed};
pub use install::{Install, found};
pub use receiving::Receiving;

use std::os::unix::process::CommandExt;
use std::process::Command;

use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use windlass_records::state::State;

use crate::startup::{Reason, fatal};

/// Name of the folder within the data folder.
pub const FOLDER_NAME: &str = "snapshot";

/// The first record: what a snapshot holds.
#[must_use]
pub fn place(state: &State) -> Bytes {
    let mut fbb = FlatBufferBuilder::new();
    state.encode(&mut fbb);
    Bytes::copy_from_slice(fbb.finished_data())
}

/// Begins the process anew, in place: same id, same command line, nothing else kept.
pub fn restart_to_install() -> ! {
    failpoint!("raftBeforeApplySnap");
    tracing::info!("starting anew to install the snapshot");
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = Command::new("/proc/self/exe").arg0(name).args(arguments).exec();
    fatal(Reason::Failure, anyhow::Error::from(error).context("the process cannot be started anew"))
}
