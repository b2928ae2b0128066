//! One shard's keys: every version since the last compaction, in memory.
//!
//! Pure: no I/O, no clock, no threads. A [`Shard`] does what it is told, in the order in which it is told; it must
//! never decide what a request means, and it knows nothing of other shards.

mod chunked;
mod compact;
mod hash;
mod history;
mod key;
mod leases;
mod revision_log;
mod scan;
mod shard;
mod slots;
mod tree;
mod versions;

pub use hash::{HashScan, HashSum};
pub use history::Change;
pub use scan::Cursor;
pub use shard::{Pair, Shard, Totals, Usage, VERSION_BYTES};
pub use versions::Stamp;
