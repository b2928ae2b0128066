//! `member list`, `add`, `remove`, `update`, `promote`.

use clap::ArgMatches;
use windlass_api::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
    ResponseHeader,
};

use super::{Outcome, Ran, Session, get, only_argument, texts};
use crate::exit::{Code, Failure};
use crate::output::{Reply, admin};
use crate::{flags, go};

/// The command line.
pub fn command() -> clap::Command {
    let sub = |name: &'static str, about: &'static str, arguments: &'static str| {
        clap::Command::new(name).about(about).arg(flags::positional(arguments))
    };
    let peer_urls = || flags::text("peer-urls", "", "where the member listens to peers, separated by commas");
    clap::Command::new("member").about("The members of the cluster").subcommands([
        sub("list", "Lists the members of the cluster", "nothing").arg(flags::text(
            "consistency",
            "l",
            "l: linearizable, s: serializable, what this member knows",
        )),
        sub("add", "Adds a member", "its name")
            .args([peer_urls(), flags::switch("learner", "one that does not vote")]),
        sub("remove", "Removes a member", "its id"),
        sub("update", "Changes where a member listens to peers", "its id").arg(peer_urls()),
        sub("promote", "Makes a learner a voter", "its id"),
    ])
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    Some(match name {
        "list" => list(matches, session),
        "add" => add(matches, session),
        "remove" => remove(matches, session),
        "update" => update(matches, session),
        "promote" => promote(matches, session),
        _ => unreachable!("clap knows the subcommands of command() only"),
    })
}

fn list(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let linearizable = !get::is_serializable(matches)?;
    let members = session.client()?.member_list(&MemberListRequest { linearizable })?;
    Ok(Reply::Members(members).into())
}

fn add(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let args = texts(matches);
    let [name, further @ ..] = args.as_slice() else {
        return Err(Failure::bad_args("member name not provided"));
    };
    if !further.is_empty() {
        let urls = further.iter().filter(|arg| arg.to_lowercase().starts_with("http"));
        let guesses: String = urls.map(|url| format!(", did you mean --peer-urls={url}")).collect();
        return Err(Failure::bad_args(format!("too many arguments{guesses}")));
    }
    let urls = peer_urls(matches)?;
    let is_learner = flags::is_set(matches, "learner");
    let request = MemberAddRequest { peer_ur_ls: urls.split(',').map(str::to_owned).collect(), is_learner };
    let response = session.client()?.member_add(&request)?;
    Ok(admin::member_added(&response, name, urls).into())
}

fn remove(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let id = member_id(matches)?;
    let response = session.client()?.member_remove(&MemberRemoveRequest { id })?;
    let text = format!("Member {id:16x} removed from cluster {:16x}\n", cluster_id(response.header));
    Ok(admin::members_changed(response.header, &response.members, &response, text).into())
}

fn update(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let id = member_id(matches)?;
    let peer_ur_ls = peer_urls(matches)?.split(',').map(str::to_owned).collect();
    let response = session.client()?.member_update(&MemberUpdateRequest { id, peer_ur_ls })?;
    let text = format!("Member {id:16x} updated in cluster {:16x}\n", cluster_id(response.header));
    Ok(admin::members_changed(response.header, &response.members, &response, text).into())
}

fn promote(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let id = member_id(matches)?;
    let response = session.client()?.member_promote(&MemberPromoteRequest { id })?;
    let text = format!("Member {id:16x} promoted in cluster {:16x}\n", cluster_id(response.header));
    Ok(admin::members_changed(response.header, &response.members, &response, text).into())
}

fn member_id(matches: &ArgMatches) -> Result<u64, Failure> {
    go::parse_hex(&only_argument(matches, "member ID is not provided")?)
        .map_err(|fault| Failure::bad_args(format!("bad member ID arg ({fault}), expecting ID in Hex")))
}

/// As they were given, and checked as Go's client checks them.
fn peer_urls(matches: &ArgMatches) -> Result<&str, Failure> {
    let urls = flags::string(matches, "peer-urls");
    if urls.is_empty() {
        return Err(Failure::bad_args("member peer urls not provided"));
    }
    match urls.split(',').find_map(url_fault) {
        Some(fault) => Err(Failure::new(Code::Error, fault)),
        None => Ok(urls),
    }
}

fn url_fault(url: &str) -> Option<String> {
    let rest = match url.trim().split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(("unix" | "unixs", _)) => return None,
        _ => return Some(format!("URL scheme must be http, https, unix, or unixs: {url}")),
    };
    let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !address.contains(':') {
        return Some(format!("URL address does not have the form \"host:port\": {url}"));
    }
    (!path.is_empty()).then(|| format!("URL must not contain a path: {url}"))
}

fn cluster_id(header: Option<ResponseHeader>) -> u64 {
    header.unwrap_or_default().cluster_id
}
