//! Real members crash at every fail point, under load. They must start again, and hold all that was acknowledged.
//!
//! `cargo test -p windlass --features failpoints --test failpoints`

#[path = "../cluster/cluster.rs"]
mod cluster;
mod control;
#[path = "../cluster/history.rs"]
mod history;
#[path = "../cluster/load.rs"]
mod load;
mod points;
#[path = "../process/mod.rs"]
mod process;
#[path = "../cluster/stalls.rs"]
mod stalls;
#[path = "../cluster/state.rs"]
mod state;
