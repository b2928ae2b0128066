//! Real members crash at every fail point, under load. They must start again, and hold all that was acknowledged.
//!
//! `cargo test -p windlass --features failpoints --test failpoints`

#[path = "../cluster/cluster.rs"]
mod cluster;
mod control;
#[path = "../cluster/history.rs"]
#[allow(dead_code, reason = "the tests of clusters use the rest")]
mod history;
#[path = "../cluster/load.rs"]
#[allow(dead_code, reason = "the tests of clusters use the rest")]
mod load;
mod points;
#[path = "../process/mod.rs"]
mod process;
#[path = "../cluster/stalls.rs"]
#[allow(dead_code, reason = "the tests of clusters use the rest")]
mod stalls;
#[path = "../cluster/state.rs"]
mod state;
