//! `compaction`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::CompactionRequest;

use super::{Outcome, Session};
use crate::exit::{Code, Failure};
use crate::output::Reply;
use crate::{flags, go};

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("compaction")
        .about("Forgets what is older than a revision")
        .args([flags::switch("physical", "wait until the space is free"), flags::positional("the revision")])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let args = flags::arguments(matches);
    let [revision] = args.as_slice() else {
        return Err(Failure::bad_args("compaction command needs 1 argument"));
    };
    let revision = go::parse_int(&String::from_utf8_lossy(revision), 10)
        .map_err(|fault| Failure::new(Code::Error, fault))?;
    let physical = flags::is_set(matches, "physical");
    session.client()?.compact(&CompactionRequest { revision, physical })?;
    Ok(Reply::Text(format!("compacted revision {revision}")).into())
}
