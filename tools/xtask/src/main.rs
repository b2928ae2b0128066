//! `cargo xtask`: the chores of this repository.

mod generate;
mod workspace;

use anyhow::{Result, bail};
use std::process::ExitCode;
use workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask <command>

  gen [--check]   write (or compare) the code generated from protobuf and flatbuffers schemas
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    let workspace = Workspace::find()?;
    match arguments {
        ["gen"] => generate::run(&workspace, generate::Mode::Write),
        ["gen", "--check"] => generate::run(&workspace, generate::Mode::Check),
        _ => bail!("{USAGE}"),
    }
}
