//! `move-leader`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::{MoveLeaderRequest, StatusRequest};

use super::{Outcome, Session, only_argument};
use crate::exit::Failure;
use crate::output::admin;
use crate::{flags, go};

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("move-leader")
        .about("Makes another member the leader")
        .arg(flags::positional("the id of the member that is to lead"))
}

/// Runs it; only the leader can be asked, so it must be one of the endpoints.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let id = only_argument(matches, "move-leader command needs 1 argument")?;
    let target_id = go::parse_hex(&id).map_err(Failure::bad_args)?;
    let endpoints = session.config.endpoints.clone();
    for endpoint in &endpoints {
        let mut client = session.client_of(std::slice::from_ref(endpoint))?;
        let status = client.status(&StatusRequest {})?;
        if status.header.is_some_and(|header| header.member_id == status.leader) {
            let response = client.move_leader(&MoveLeaderRequest { target_id })?;
            return Ok(admin::leader_moved(&response, status.leader, target_id).into());
        }
    }
    Err(Failure::bad_args(format!("no leader endpoint given at [{}]", endpoints.join(" "))))
}
