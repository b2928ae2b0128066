//! Snapshots for clients: `Maintenance.Snapshot`, a file that etcd's tools take for their own.
//!
//! What the shards hand out comes by key and goes by revision, and the file's beginning names its end. So it is first
//! written to the disk (`spool`, sorted by `sort`), as fast as the shards give it, and then sent as fast as the client
//! takes it: a slow client holds up no compaction. The files have no name, so nothing is left of them after a crash.

mod sort;
mod spool;

pub use spool::{Spool, Spooled};

/// Name of the folder within the data folder.
pub const FOLDER_NAME: &str = "backup";
