//! `completion`: what makes a shell complete this program's commands and options.

use clap::ArgMatches;
use clap_complete::{Shell, generate};

use super::{Outcome, Session, only_argument, root};
use crate::exit::Failure;
use crate::flags;
use crate::output::Reply;

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("completion")
        .about("Prints a script that makes a shell complete commands and options")
        .arg(flags::positional("one of bash, fish, powershell, zsh"))
}

/// Runs it.
pub fn run(matches: &ArgMatches, _: &mut Session) -> Result<Outcome, Failure> {
    let usage = "completion command needs one argument: bash, fish, powershell or zsh";
    let shell = match only_argument(matches, usage)?.as_str() {
        "bash" => Shell::Bash,
        "fish" => Shell::Fish,
        "powershell" => Shell::PowerShell,
        "zsh" => Shell::Zsh,
        _ => return Err(Failure::bad_args(usage)),
    };
    let mut script = Vec::new();
    generate(shell, &mut root(), "windlassctl", &mut script);
    Ok(Reply::Text(String::from_utf8_lossy(&script).trim_end().to_owned()).into())
}
