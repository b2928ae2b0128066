//! A member that meets bad luck, with the real binary: a full disk, a write that fails, a signal under load, a quota.
//! Whatever happens, what was acknowledged must be there afterwards.

mod disk_full;
mod failed_write;
mod ledger;
#[path = "../process/mod.rs"]
mod process;
mod quota;
mod signal;
mod small_disk;
