//! `defrag`: each endpoint by itself.

use clap::ArgMatches;
use windlass_api::etcdserverpb::DefragmentRequest;

use super::{Outcome, Session, endpoint};
use crate::exit::{Code, Failure};
use crate::flags;
use crate::output::Reply;

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("defrag").about("Gives space that members do not use back").args([
        flags::switch("cluster", "all members of the cluster"),
        flags::positional("nothing").hide(true),
    ])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let (mut done, mut warnings) = (Vec::new(), Vec::new());
    for endpoint in endpoint::endpoints(matches, session)? {
        let mut client = session.client_of(std::slice::from_ref(&endpoint))?;
        match client.defragment(&DefragmentRequest {}) {
            Ok(_) => done.push(format!("Finished defragmenting etcd member[{endpoint}]")),
            Err(error) => warnings.push(format!("Failed to defragment etcd member[{endpoint}] ({error})")),
        }
    }
    let failure = (!warnings.is_empty()).then(|| Failure::told(Code::Error));
    let reply = if done.is_empty() { Reply::Nothing } else { Reply::Text(done.join("\n")) };
    Ok(Outcome { warnings, failure, ..reply.into() })
}
