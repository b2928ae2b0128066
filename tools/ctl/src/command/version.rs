//! `version`.

use clap::ArgMatches;

use super::{Outcome, Session};
use crate::exit::Failure;
use crate::output::Reply;

/// The etcd API that the program speaks.
const API_VERSION: &str = "3.6";

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("version").about("Prints the version of windlassctl")
}

/// Runs it.
pub fn run(_: &ArgMatches, _: &mut Session) -> Result<Outcome, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(Reply::Text(format!("windlassctl version: {version}\nAPI version: {API_VERSION}")).into())
}
