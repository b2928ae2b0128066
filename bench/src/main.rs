//! `windlass-bench`: reads the flags, runs, prints the report. Exit code 1 when anything failed, 2 for wrong flags.
#![allow(clippy::print_stdout)] // the report is what this program is for

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use windlass_bench::flags::Flags;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let as_json = flags.json();
    let plan = match flags.plan() {
        Ok(plan) => plan,
        Err(why) => Flags::refuse(ErrorKind::ValueValidation, &why).exit(),
    };
    let report = match windlass_bench::run(&plan) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("windlass-bench: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if as_json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
