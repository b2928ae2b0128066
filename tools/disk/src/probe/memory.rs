//! How much memory the server locks for its log, and how much it may: with too many flushes in flight it refuses to start.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// A buffer of the server's log with its default `--batch-bytes`: those, 32 bytes for each of 16,384 commands, and a block for the
/// entry and one for the segment's head. `member::open` of the server knows the same, and a test compares both.
const BUFFER_BYTES: u64 = (1 << 20) + (16 << 10) * 32 + (4 << 10) + (4 << 10);
/// Of each storage shard; `startup::preflight` of the server knows the same.
const SHARD_BYTES: u64 = 128 << 10;
/// The capability to raise limits, CAP_SYS_RESOURCE of capabilities(7), as a bit.
const RAISES_LIMITS: u64 = 1 << 24;

/// Memory that a server with so many flushes in flight and so many shards locks.
#[must_use]
pub fn needed_bytes(flush_depth: usize, shards: usize) -> u64 {
    // One more is being filled.
    (flush_depth as u64 + 1) * BUFFER_BYTES + shards as u64 * SHARD_BYTES
}

/// The shards of a server that is not told how many.
#[must_use]
pub fn default_shards() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}

/// What a server that this user starts here may lock; `None` for any amount.
#[must_use]
pub fn lockable_bytes() -> Option<u64> {
    // A server raises its limit as far as it goes.
    getrlimit(Resource::Memlock).maximum.filter(|_| !may_raise_limits())
}

fn may_raise_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits & RAISES_LIMITS != 0)
}
