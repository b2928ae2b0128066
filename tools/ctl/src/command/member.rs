//! `member list`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::MemberListRequest;

use super::{Outcome, Session, get};
use crate::exit::Failure;
use crate::flags;
use crate::output::Reply;

/// The command line.
pub fn command() -> clap::Command {
    let list = clap::Command::new("list").about("Lists the members of the cluster").args([
        flags::text("consistency", "l", "l: linearizable, s: serializable, what this member knows"),
        flags::positional("nothing").hide(true),
    ]);
    clap::Command::new("member").about("The members of the cluster").subcommand(list)
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Option<Result<Outcome, Failure>> {
    let (_, matches) = matches.subcommand()?;
    Some(list(matches, session))
}

fn list(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let linearizable = !get::is_serializable(matches)?;
    let members = session.client()?.member_list(&MemberListRequest { linearizable })?;
    Ok(Reply::Members(members).into())
}
