//! A load generator for the etcd v3 API that costs far less CPU than the servers it measures.
//!
//! Each thread owns some connections, keeps their streams busy over one epoll, and writes each connection once per
//! turn. [`run()`] does a whole run; everything that decides (keys, schedule, report) is pure.
//!
//! It must never measure itself kindly: with a rate, latency counts from the moment a request was due, not from when it
//! could be sent, and whatever was not answered well is an error in the report.

mod connection;
pub mod flags;
mod keys;
mod process;
mod random;
mod report;
mod run;
mod schedule;
mod tally;
mod worker;
mod workload;

pub use report::Report;
pub use run::run;
