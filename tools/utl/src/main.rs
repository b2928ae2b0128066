//! `windlass-utl`: what is done to files while no member runs on them. Spoken and written as etcdutl's.
//!
//! It reads snapshots and backends of etcd, and snapshots of Windlass, which are of the same format; it must believe
//! nothing that stands in them.

mod cli;
mod crc32c;
mod defrag;
mod exit;
mod hashkv;
mod output;
mod restore;
mod source;
mod status;

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        Ok(text) => {
            // A closed pipe behind `| head` is no failure.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "Error: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
