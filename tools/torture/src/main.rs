//! `windlass-torture`: a cluster of real processes under load, which it kills, stops, cuts off, fills, slows down and damages,
//! and a judge of all that clients were told.
//!
//! It drives the same processes, networks and disks as the tests of `crates/server`; the modules are theirs. It ends only
//! processes that it started. `docs/operating/torture.md` says how to use it. Exit code 1: a promise was broken; 2: it could not
//! run.

mod calls;
#[path = "../../../crates/server/tests/cluster/cluster.rs"]
mod cluster;
mod corrupt;
mod damage;
mod faults;
mod flags;
mod fuzz;
mod history;
mod judge;
mod leases;
mod load;
#[path = "../../../crates/server/tests/cluster/network.rs"]
mod network;
mod order;
#[path = "../../../crates/server/tests/process/mod.rs"]
mod process;
mod rig;
mod run;
mod search;
#[path = "../../../crates/server/tests/faults/small_disk.rs"]
mod small_disk;
mod story;
mod watching;

use std::process::ExitCode;

use clap::Parser;

/// The exit code of a run that could not be made; 1 is a promise that was broken.
const CANNOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let flags = flags::Flags::parse();
    if let Err(error) = windlass_bench::undo::on_signals() {
        eprintln!("windlass-torture: signals cannot be caught: {error}");
        return ExitCode::from(CANNOT_RUN);
    }
    let kept = match &flags.command {
        Some(flags::Command::Corrupt(flags)) => corrupt::run(flags),
        Some(flags::Command::Fuzz(flags)) => fuzz::run(flags),
        None => run::run(&flags.run),
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("windlass-torture: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}
