//! A deterministic simulator: the real cores of one to seven members (consensus, Raft log, sequencer, shards, streams)
//! in one thread, on simulated disks and a simulated network, in virtual time, with clients whose every answer is judged.
//!
//! Everything follows from a seed, so a failure is one number that anybody can replay. The simulator must never call
//! a clock, a thread or a true disk, and never change the code under test: known bugs, by which the checks are
//! checked, are built into its own glue only.
//!
//! `docs/operating/simulator.md` says how to use it.

mod administration;
pub mod agenda;
mod audience;
pub mod bug;
pub mod check;
mod checker;
mod clients;
mod clock;
mod disks;
mod env;
mod mailbox;
mod member;
mod network;
mod operator;
pub mod profile;
mod random;
pub mod record;
mod repair;
pub mod report;
pub mod runner;
mod start;
mod transfer;
pub mod world;
