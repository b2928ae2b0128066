//! The daemon `windlass`: what turns the pure crates into a running member. Threads, actors and wiring live here;
//! rules of the store do not.

pub mod auth;
pub mod backup;
pub mod consensus;
pub mod local_cluster;
pub mod mailbox;
pub mod member;
pub mod metrics;
pub mod net;
pub mod published;
pub mod restore;
pub mod shard;
pub mod sink;
pub mod snapshot;
pub mod stages;
pub mod startup;
