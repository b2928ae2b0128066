//! `cargo xtask`: the chores of this repository.

mod ci;
mod generate;
mod layers;
mod licences;
mod metadata;
mod tidy;
mod workspace;

use anyhow::{Result, bail};
use std::process::ExitCode;
use workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask <command>

  ci [--skip-tests]   every check: fmt, tidy, layers, gen, licences, clippy, doc, tests
  tidy                lengths, module docs, names, unsafe, root folder, reasons of dependencies, line ends
  layers              which crate may depend on which
  gen [--check]       write (or compare) the code generated from protobuf and flatbuffers schemas
  licences            every dependency has an allowed licence";

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
        ["ci"] => ci::run(&workspace, ci::Scope::All),
        ["ci", "--skip-tests"] => ci::run(&workspace, ci::Scope::WithoutTests),
        ["tidy"] => tidy::run(&workspace),
        ["layers"] => layers::run(&workspace),
        ["gen"] => generate::run(&workspace, generate::Mode::Write),
        ["gen", "--check"] => generate::run(&workspace, generate::Mode::Check),
        ["licences"] => licences::run(&workspace),
        _ => bail!("{USAGE}"),
    }
}
