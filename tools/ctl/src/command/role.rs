//! `role add`, `delete`, `get`, `list`, `grant-permission`, `revoke-permission`.

use clap::{ArgMatches, Command};
use windlass_api::authpb::Permission;
use windlass_api::authpb::permission::Type;
use windlass_api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest,
    AuthRoleListRequest, AuthRoleRevokePermissionRequest,
};

use super::{Outcome, Ran, Session, no_arguments, only_argument, prefix_end};
use crate::exit::Failure;
use crate::flags;
use crate::output::admin;

/// The command line.
pub fn command() -> Command {
    let sub = |name: &'static str, about: &'static str, arguments: &'static str| {
        Command::new(name).about(about).arg(flags::positional(arguments))
    };
    let range = || {
        [
            flags::switch("prefix", "all keys that start with the key"),
            flags::switch("from-key", "all keys from the key on, in the order of bytes"),
        ]
    };
    Command::new("role").about("Roles, and which keys they may read and write").subcommands([
        sub("add", "Adds a role", "the role"),
        sub("delete", "Removes a role", "the role"),
        sub("get", "Shows a role", "the role"),
        sub("list", "Lists all roles", "nothing"),
        sub(
            "grant-permission",
            "Lets a role have keys",
            "role, one of read write readwrite, key, and where the range ends",
        )
        .args(range()),
        sub("revoke-permission", "Takes keys from a role", "role, key, and where the range ends")
            .args(range()),
    ])
}

/// Runs the subcommand, if there is one.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    Some(match name {
        "add" => add(matches, session),
        "delete" => delete(matches, session),
        "get" => get(matches, session),
        "list" => list(matches, session),
        "grant-permission" => grant(matches, session),
        "revoke-permission" => revoke(matches, session),
        _ => unreachable!("clap knows the subcommands of command() only"),
    })
}

fn add(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let name = only_argument(matches, "role add command requires role name as its argument")?;
    let response = session.client()?.role_add(&AuthRoleAddRequest { name: name.clone() })?;
    Ok(admin::done(response.header, &response, format!("Role {name} created\n")).into())
}

fn delete(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let role = only_argument(matches, "role delete command requires role name as its argument")?;
    let response = session.client()?.role_delete(&AuthRoleDeleteRequest { role: role.clone() })?;
    Ok(admin::done(response.header, &response, format!("Role {role} deleted\n")).into())
}

fn get(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let role = only_argument(matches, "role get command requires role name as its argument")?;
    let response = session.client()?.role_get(&AuthRoleGetRequest { role: role.clone() })?;
    Ok(admin::role(&role, &response).into())
}

fn list(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    no_arguments(matches, "role list command requires no arguments")?;
    Ok(admin::roles(&session.client()?.role_list(&AuthRoleListRequest {})?).into())
}

fn grant(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let args = flags::arguments(matches);
    let [role, kind, range @ ..] = args.as_slice() else { return Err(grant_usage()) };
    if range.is_empty() {
        return Err(grant_usage());
    }
    let kind = String::from_utf8_lossy(kind);
    let known = Type::from_str_name(&kind.to_uppercase());
    let kind = known.ok_or_else(|| Failure::bad_args(format!("invalid permission type: {kind}")))?;
    let (key, range_end) = key_range(matches, range)?;
    let role = String::from_utf8_lossy(role).into_owned();
    let perm = Permission { perm_type: kind.into(), key: key.into(), range_end: range_end.into() };
    let request = AuthRoleGrantPermissionRequest { name: role.clone(), perm: Some(perm) };
    let response = session.client()?.role_grant_permission(&request)?;
    Ok(admin::done(response.header, &response, format!("Role {role} updated\n")).into())
}

fn grant_usage() -> Failure {
    Failure::bad_args(
        "role grant command requires role name, permission type, and key [endkey] as its argument",
    )
}

fn revoke(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let args = flags::arguments(matches);
    let (role, range) = match args.as_slice() {
        [role, range @ ..] if !range.is_empty() => (String::from_utf8_lossy(role).into_owned(), range),
        _ => {
            return Err(Failure::bad_args(
                "role revoke-permission command requires role name and key [endkey] as its argument",
            ));
        }
    };
    let (key, end) = key_range(matches, range)?;
    let (key_text, end_text) = (String::from_utf8_lossy(&key), String::from_utf8_lossy(&end));
    let text = match end_text.as_ref() {
        "" => format!("Permission of key {key_text} is revoked from role {role}\n"),
        "\0" => format!("Permission of range [{key_text}, <open ended> is revoked from role {role}\n"),
        end => format!("Permission of range [{key_text}, {end}) is revoked from role {role}\n"),
    };
    let (key, range_end) = (key.clone().into(), end.clone().into());
    let request = AuthRoleRevokePermissionRequest { role: role.clone(), key, range_end };
    let response = session.client()?.role_revoke_permission(&request)?;
    Ok(admin::done(response.header, &response, text).into())
}

/// What a permission is about. Further arguments are ignored, as in etcdctl.
fn key_range(matches: &ArgMatches, args: &[Vec<u8>]) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let (prefix, from_key) = (flags::is_set(matches, "prefix"), flags::is_set(matches, "from-key"));
    if prefix && from_key {
        return Err(Failure::bad_args("--from-key and --prefix flags are mutually exclusive"));
    }
    if args.len() > 1 && (prefix || from_key) {
        let flag = if prefix { "--prefix" } else { "--from-key" };
        return Err(Failure::bad_args(format!("unexpected endkey argument with {flag} flag")));
    }
    let key = args[0].clone();
    Ok(match args.get(1) {
        Some(end) => (key, end.clone()),
        // No key is empty: all keys.
        None if (prefix || from_key) && key.is_empty() => (vec![0], vec![0]),
        None if prefix => {
            let end = prefix_end(&key);
            (key, end)
        }
        None if from_key => (key, vec![0]),
        None => (key, Vec::new()),
    })
}
