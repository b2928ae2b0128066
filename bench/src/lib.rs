//! A load generator for the etcd v3 API that costs far less CPU than the servers it measures.
//!
//! Each thread owns some connections, keeps their streams busy over one epoll, and writes each connection once per
//! turn. [`run()`] does a whole run; everything that decides (keys, schedule, report) is pure. `windlass-disk tune` drives
//! servers with it too.
//!
//! It must never measure itself kindly: with a rate, latency counts from the moment a request was due, not from when it
//! could be sent, and whatever was not answered well is an error in the report.

pub mod access;
pub mod compare;
mod connection;
pub mod control;
pub mod flags;
pub mod keys;
pub mod launch;
mod leases;
mod link;
pub mod load;
pub mod plan;
pub mod ports;
pub mod process;
mod progress;
mod random;
mod report;
mod run;
mod schedule;
pub mod scratch;
mod seconds;
mod tally;
pub mod throttle;
mod timeline;
pub mod undo;
mod watching;
mod worker;
pub mod workload;

pub use plan::Plan;
pub use report::{Figures, Report, plots_of};
pub use run::run;
