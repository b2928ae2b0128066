//! `options`: the options that every command has.

use clap::ArgMatches;

use super::{Outcome, Session};
use crate::config;
use crate::exit::Failure;
use crate::output::Reply;

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("options").about("Lists the options that every command has")
}

/// Runs it.
pub fn run(_: &ArgMatches, _: &mut Session) -> Result<Outcome, Failure> {
    let mut all = clap::Command::new("windlassctl")
        .help_template("The following options can be passed to any command:\n\n{options}")
        .disable_help_flag(true)
        .args(config::args());
    Ok(Reply::Text(all.render_help().to_string().trim_end().to_owned()).into())
}
