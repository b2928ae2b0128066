//! `auth enable`, `auth disable` and `auth status`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthStatusRequest, AuthUserGrantRoleRequest,
};
use windlass_client::{Client, Error};

use super::{Outcome, Ran, Session, no_arguments};
use crate::exit::Failure;
use crate::flags;
use crate::output::{Reply, admin};

/// etcd's words for a root user who may not do everything yet.
const ROOT_LACKS_ROLE: &str = "etcdserver: root user does not have root role";

/// The command line.
pub fn command() -> clap::Command {
    let sub = |name: &'static str, about: &'static str| {
        clap::Command::new(name).about(about).arg(flags::positional("nothing").hide(true))
    };
    clap::Command::new("auth").about("Whether who asks must be a user").subcommands([
        sub("enable", "From now on"),
        sub("disable", "Not any more"),
        sub("status", "Shows whether"),
    ])
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    let refused = format!("auth {name} command does not accept any arguments");
    Some(no_arguments(matches, &refused).and_then(|()| {
        let mut client = session.client()?;
        Ok(match name {
            "enable" => {
                enable(&mut client)?;
                Reply::Text("Authentication Enabled".to_owned()).into()
            }
            "disable" => {
                client.auth_disable(&AuthDisableRequest {})?;
                Reply::Text("Authentication Disabled".to_owned()).into()
            }
            _ => Outcome::from(admin::auth_status(&client.auth_status(&AuthStatusRequest {})?)),
        })
    }))
}

/// Enables it; a root user without its role is given it first, as etcdctl does.
fn enable(client: &mut Client) -> Result<(), Failure> {
    match client.auth_enable(&AuthEnableRequest {}) {
        Err(Error::Status { message, .. }) if message == ROOT_LACKS_ROLE => {}
        answer => return Ok(answer.map(|_| ())?),
    }
    let root = || "root".to_owned();
    client.role_add(&AuthRoleAddRequest { name: root() })?;
    client.user_grant_role(&AuthUserGrantRoleRequest { user: root(), role: root() })?;
    client.auth_enable(&AuthEnableRequest {})?;
    Ok(())
}
