//! `downgrade validate`, `enable` and `cancel`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::DowngradeRequest;
use windlass_api::etcdserverpb::downgrade_request::DowngradeAction;

use super::{Outcome, Ran, Session, no_arguments, texts};
use crate::exit::Failure;
use crate::flags;
use crate::output::admin;

/// The command line.
pub fn command() -> clap::Command {
    let sub = |name: &'static str, about: &'static str, argument: &'static str| {
        clap::Command::new(name).about(about).arg(flags::positional(argument))
    };
    clap::Command::new("downgrade").about("Prepares a cluster for an older release").subcommands([
        sub("validate", "Checks whether it can be", "the release, as 3.5"),
        sub("enable", "Begins it", "the release, as 3.5"),
        sub("cancel", "Ends it", "nothing"),
    ])
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    Some(change(name, matches, session))
}

fn change(name: &str, matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let action = match name {
        "validate" => DowngradeAction::Validate,
        "enable" => DowngradeAction::Enable,
        _ => DowngradeAction::Cancel,
    };
    let version = match (action, texts(matches).as_slice()) {
        (DowngradeAction::Cancel, _) => {
            no_arguments(matches, "too many arguments")?;
            String::new()
        }
        (_, []) => return Err(Failure::bad_args("TARGET_VERSION not provided")),
        (_, [version]) => version.clone(),
        _ => return Err(Failure::bad_args("too many arguments")),
    };
    let response = session.client()?.downgrade(&DowngradeRequest { action: action.into(), version })?;
    Ok(admin::downgraded(&response, name).into())
}
