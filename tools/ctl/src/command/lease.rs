//! `lease grant`, `revoke`, `timetolive`, `list`, `keep-alive`.

use std::io::Write as _;
use std::time::Duration;

use clap::ArgMatches;
use windlass_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
};

use super::{Outcome, Ran, Session, only_argument};
use crate::exit::{Code, Failure};
use crate::output::{self, Reply, Style};
use crate::{flags, go};

/// etcd's words for a lease that is not there, which a renewal is told by a time to live of zero.
const NOT_FOUND: &str = "etcdserver: requested lease not found";

/// The command line.
pub fn command() -> clap::Command {
    let sub = |name: &'static str, about: &'static str| clap::Command::new(name).about(about);
    clap::Command::new("lease").about("Leases and the keys that are attached to them").subcommands([
        sub("grant", "Grants a lease").arg(flags::positional("its time to live in seconds")),
        sub("revoke", "Ends a lease and deletes its keys").arg(flags::positional("the lease")),
        sub("timetolive", "Shows what is left of a lease")
            .args([flags::switch("keys", "list its keys too"), flags::positional("the lease")]),
        sub("list", "Lists all leases").arg(flags::positional("nothing").hide(true)),
        sub("keep-alive", "Renews a lease, again and again")
            .args([flags::switch("once", "renew it once"), flags::positional("the lease")]),
    ])
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    Some(match name {
        "grant" => grant(matches, session),
        "revoke" => revoke(matches, session),
        "timetolive" => time_to_live(matches, session),
        "list" => list(session),
        "keep-alive" => keep_alive(matches, session),
        _ => unreachable!("clap knows the subcommands of command() only"),
    })
}

fn grant(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let ttl = only_argument(matches, "lease grant command needs TTL argument")?;
    let ttl = go::parse_int(&ttl, 10).map_err(|fault| Failure::bad_args(format!("bad TTL ({fault})")))?;
    let granted = session.client()?.lease_grant(&LeaseGrantRequest { ttl, id: 0 });
    let granted = granted.map_err(|error| failed("grant", &error))?;
    Ok(Reply::LeaseGrant(granted).into())
}

fn revoke(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let id = lease(&only_argument(matches, "lease revoke command needs 1 argument")?)?;
    let revoked = session.client()?.lease_revoke(&LeaseRevokeRequest { id });
    Ok(Reply::LeaseRevoke(id, revoked.map_err(|error| failed("revoke", &error))?).into())
}

fn time_to_live(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let id = lease(&only_argument(matches, "lease timetolive command needs lease ID as argument")?)?;
    let keys = flags::is_set(matches, "keys");
    let response = session.client()?.lease_time_to_live(&LeaseTimeToLiveRequest { id, keys })?;
    Ok(Reply::LeaseTimeToLive(response, keys).into())
}

fn list(session: &mut Session) -> Result<Outcome, Failure> {
    Ok(Reply::Leases(session.client()?.lease_leases(&LeaseLeasesRequest {})?).into())
}

/// Renews until the lease is no more or the program is ended; each renewal is printed as it is answered.
fn keep_alive(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let id = lease(&only_argument(matches, "lease keep-alive command needs lease ID as argument")?)?;
    let mut client = session.client()?;
    loop {
        let renewed = client.lease_keep_alive(&LeaseKeepAliveRequest { id })?;
        let is_gone = renewed.ttl <= 0;
        let pause = Duration::from_millis(renewed.ttl.unsigned_abs().saturating_mul(1000) / 3);
        if flags::is_set(matches, "once") {
            if is_gone {
                // With this exit code, as etcdctl.
                return Err(Failure::new(Code::BadConnection, NOT_FOUND));
            }
            return Ok(Reply::LeaseKeepAlive(renewed).into());
        }
        if is_gone {
            return Ok(Reply::Text(format!("lease {id:016x} expired or revoked.")).into());
        }
        let reply = Reply::LeaseKeepAlive(renewed);
        let rendered = output::render(&reply, session.config.format, Style::default())?;
        let mut out = std::io::stdout();
        out.write_all(&rendered.out)?;
        out.flush()?;
        std::thread::sleep(pause);
    }
}

fn lease(text: &str) -> Result<i64, Failure> {
    go::parse_int(text, 16)
        .map_err(|fault| Failure::bad_args(format!("bad lease ID arg ({fault}), expecting ID in Hex")))
}

fn failed(what: &str, error: &windlass_client::Error) -> Failure {
    Failure::new(Code::Error, format!("failed to {what} lease ({error})"))
}
