//! `endpoint status`, `endpoint health` and `endpoint hashkv`: each endpoint by itself.
//!
//! An endpoint that does not answer never hides the others.

use std::time::Instant;

use clap::ArgMatches;
use windlass_api::etcdserverpb::{HashKvRequest, MemberListRequest, RangeRequest, StatusRequest};
use windlass_client::Client;

use super::{Outcome, Ran, Session};
use crate::exit::{Code, Failure};
use crate::flags;
use crate::output::{EndpointHashKv, EndpointHealth, EndpointStatus, Reply};

/// The command line.
pub fn command() -> clap::Command {
    let unused = || flags::positional("nothing").hide(true);
    let status = clap::Command::new("status").about("Shows the status of each endpoint").arg(unused());
    let health =
        clap::Command::new("health").about("Asks each endpoint for a linearizable read").arg(unused());
    let hash = clap::Command::new("hashkv").about("Shows the hash of the history of each endpoint");
    let rev = flags::integer("rev", "hash up to this revision, 0 for all");
    clap::Command::new("endpoint")
        .about("The endpoints given with --endpoints")
        .arg(flags::switch("cluster", "use the endpoints of all members of the cluster").global(true))
        .subcommands([status, health, hash.args([rev, unused()])])
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    let outcome = endpoints(matches, session).and_then(|endpoints| match name {
        "status" => status(&endpoints, session),
        "health" => health(&endpoints, session),
        _ => hash_kv(&endpoints, session, flags::number(matches, "rev")),
    });
    Some(outcome)
}

/// Those that were given, or all of the cluster if `--cluster` says so.
pub fn endpoints(matches: &ArgMatches, session: &mut Session) -> Result<Vec<String>, Failure> {
    if !flags::is_set(matches, "cluster") {
        return Ok(session.config.endpoints.clone());
    }
    let members =
        session.client()?.member_list(&MemberListRequest { linearizable: true }).map_err(|error| {
            let text = format!("failed to fetch endpoints from etcd cluster member list: {error}");
            Failure::new(Code::Error, text)
        })?;
    Ok(members.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

/// Answers of the endpoints that gave one, and a warning for each of the others.
struct Asked<T> {
    answers: Vec<T>,
    warnings: Vec<String>,
    last_error: Option<windlass_client::Error>,
}

fn ask_each<T>(
    endpoints: &[String],
    session: &mut Session,
    what: &str,
    ask: impl Fn(String, &mut Client) -> Result<T, windlass_client::Error>,
) -> Result<Asked<T>, Failure> {
    let mut asked = Asked { answers: Vec::new(), warnings: Vec::new(), last_error: None };
    for endpoint in endpoints {
        let mut client = session.client_of(std::slice::from_ref(endpoint))?;
        match ask(endpoint.clone(), &mut client) {
            Ok(answer) => asked.answers.push(answer),
            Err(error) => {
                asked.warnings.push(format!("Failed to get the {what} of endpoint {endpoint} ({error})"));
                asked.last_error = Some(error);
            }
        }
    }
    Ok(asked)
}

fn status(endpoints: &[String], session: &mut Session) -> Result<Outcome, Failure> {
    let Asked { answers, warnings, last_error } =
        ask_each(endpoints, session, "status", |endpoint, client| {
            let status = client.status(&StatusRequest {})?;
            Ok(EndpointStatus { endpoint, status })
        })?;
    let failure = last_error.map(|_| Failure::told(Code::Error));
    Ok(Outcome { warnings, failure, ..Reply::Status(answers).into() })
}

fn hash_kv(endpoints: &[String], session: &mut Session, revision: i64) -> Result<Outcome, Failure> {
    let Asked { answers, warnings, last_error } =
        ask_each(endpoints, session, "hash", |endpoint, client| {
            let hash = client.hash_kv(&HashKvRequest { revision })?;
            Ok(EndpointHashKv { endpoint, hash })
        })?;
    let failure = last_error.map(Failure::from);
    Ok(Outcome { warnings, failure, ..Reply::HashKv(answers).into() })
}

/// All endpoints at once: the slowest decides how long it takes, not the sum.
fn health(endpoints: &[String], session: &mut Session) -> Result<Outcome, Failure> {
    let clients = endpoints.iter().map(|endpoint| session.client_of(std::slice::from_ref(endpoint)));
    let clients = clients.collect::<Result<Vec<Client>, Failure>>()?;
    let answers: Vec<EndpointHealth> = std::thread::scope(|scope| {
        let checks: Vec<_> = std::iter::zip(endpoints, clients)
            .map(|(endpoint, client)| scope.spawn(|| check(endpoint.clone(), client)))
            .collect();
        checks.into_iter().map(|check| check.join().expect("a check does not panic")).collect()
    });
    let is_unhealthy = answers.iter().any(|answer| answer.error.is_some());
    let failure = is_unhealthy.then(|| Failure::new(Code::Error, "unhealthy cluster"));
    Ok(Outcome { failure, ..Reply::Health(answers).into() })
}

/// Any key will do: what counts is that a linearizable read is answered.
fn check(endpoint: String, mut client: Client) -> EndpointHealth {
    let start = Instant::now();
    let answer = client.range(&RangeRequest { key: "health".into(), ..Default::default() });
    let error = match answer {
        Ok(_) => None,
        // The refusal went through consensus too.
        Err(error) if error.code() == Some(windlass_client::Code::PermissionDenied) => None,
        Err(error) => Some(error.to_string()),
    };
    EndpointHealth { endpoint, took: start.elapsed(), error }
}
