//! Whole clusters of real processes: what clients are told while members crash, stop, are cut off, come and go must be
//! what one linearizable store could have told them, and in the end all members must hold the same.
//!
//! `WINDLASS_CLUSTER_ROUNDS` multiplies how often faults are repeated (default 1);
//! `WINDLASS_CLUSTER_LOGS=1` prints what the members logged.

#![allow(clippy::print_stderr, reason = "figures are printed for whoever reads the test's output")]

mod amnesia;
mod cluster;
mod differs;
mod etcdctl;
mod faults;
mod frozen;
mod growth;
mod history;
mod led;
mod load;
mod local;
mod locks;
mod membership;
mod network;
mod networks;
mod partitions;
#[path = "../process/mod.rs"]
mod process;
mod repair;
mod snapshots;
mod stalls;
mod state;
mod tokens;
mod tolerance;

/// How often faults are repeated.
fn rounds() -> usize {
    let Ok(text) = std::env::var("WINDLASS_CLUSTER_ROUNDS") else { return 1 };
    text.parse().unwrap_or_else(|_| panic!("WINDLASS_CLUSTER_ROUNDS is not a number: {text}"))
}
