//! `user add`, `delete`, `get`, `list`, `passwd`, `grant-role`, `revoke-role`.

use std::io::BufRead as _;

use clap::ArgMatches;
use windlass_api::authpb::UserAddOptions;
use windlass_api::etcdserverpb::{
    AuthRoleGetRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
};

use super::{Outcome, Ran, Session, no_arguments, only_argument, texts};
use crate::exit::Failure;
use crate::flags;
use crate::output::{Reply, Style, admin, render};

/// The command line.
pub fn command() -> clap::Command {
    let sub = |name: &'static str, about: &'static str, arguments: &'static str| {
        clap::Command::new(name).about(about).arg(flags::positional(arguments))
    };
    let interactive =
        || flags::switch_on("interactive", "prompt for the password; else it is read from standard input");
    clap::Command::new("user").about("Users, and which roles they have").subcommands([
        sub("add", "Adds a user", "name or name:password").args([
            interactive(),
            flags::text("new-user-password", "", "the password"),
            flags::switch("no-password", "a user who is known by a certificate alone"),
        ]),
        sub("delete", "Removes a user", "the user"),
        sub("get", "Shows a user", "the user")
            .arg(flags::switch("detail", "show what the user's roles may do")),
        sub("list", "Lists all users", "nothing"),
        sub("passwd", "Sets a user's password", "the user").arg(interactive()),
        sub("grant-role", "Gives a user a role", "user and role"),
        sub("revoke-role", "Takes a role from a user", "user and role"),
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
        "passwd" => change_password(matches, session),
        "grant-role" => grant_role(matches, session),
        "revoke-role" => revoke_role(matches, session),
        _ => unreachable!("clap knows the subcommands of command() only"),
    })
}

fn add(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let argument = only_argument(matches, "user add command requires user name as its argument")?;
    let given = flags::string(matches, "new-user-password");
    let no_password = flags::is_set(matches, "no-password");
    let (name, password) = if no_password {
        (argument, String::new())
    } else if !given.is_empty() {
        (argument, given.to_owned())
    } else if let Some((name, password)) = argument.split_once(':') {
        if name.is_empty() {
            return Err(Failure::bad_args("empty user name is not allowed"));
        }
        (name.to_owned(), password.to_owned())
    } else {
        let password = new_password(matches, session, &argument)?;
        (argument, password)
    };
    let options = Some(UserAddOptions { no_password });
    let request = AuthUserAddRequest { name: name.clone(), password, options, ..Default::default() };
    let response = session.client()?.user_add(&request)?;
    Ok(admin::done(response.header, &response, format!("User {name} created\n")).into())
}

/// From standard input, or typed twice.
fn new_password(matches: &ArgMatches, session: &mut Session, name: &str) -> Result<String, Failure> {
    if !flags::is_set(matches, "interactive") {
        let mut line = String::new();
        session.input.read_line(&mut line)?;
        return Ok(line.split_whitespace().next().unwrap_or_default().to_owned());
    }
    let asked = |error| Failure::bad_args(format!("failed to ask password: {error}"));
    let first = session.ask(&format!("Password of {name}: ")).map_err(asked)?;
    if first.is_empty() {
        return Err(Failure::bad_args("empty password"));
    }
    let again = session.ask(&format!("Type password of {name} again for confirmation: ")).map_err(asked)?;
    if first == again { Ok(first) } else { Err(Failure::bad_args("given passwords are different")) }
}

fn delete(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let name = only_argument(matches, "user delete command requires user name as its argument")?;
    let response = session.client()?.user_delete(&AuthUserDeleteRequest { name: name.clone() })?;
    Ok(admin::done(response.header, &response, format!("User {name} deleted\n")).into())
}

fn get(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let name = only_argument(matches, "user get command requires user name as its argument")?;
    let mut client = session.client()?;
    let response = client.user_get(&AuthUserGetRequest { name: name.clone() })?;
    if !flags::is_set(matches, "detail") {
        return Ok(admin::user(&name, &response).into());
    }
    let mut out = format!("User: {name}\n").into_bytes();
    for role in response.roles {
        let reply = admin::role(&role, &client.role_get(&AuthRoleGetRequest { role: role.clone() })?);
        out.push(b'\n');
        match render(&reply, session.config.format, Style::default()) {
            Ok(rendered) => out.extend(rendered.out),
            Err(failure) => return Ok(Outcome { failure: Some(failure), ..Reply::Rendered(out).into() }),
        }
    }
    Ok(Reply::Rendered(out).into())
}

fn list(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    no_arguments(matches, "user list command requires no arguments")?;
    Ok(admin::users(&session.client()?.user_list(&AuthUserListRequest {})?).into())
}

fn change_password(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let name = only_argument(matches, "user passwd command requires user name as its argument")?;
    let password = new_password(matches, session, &name)?;
    let request = AuthUserChangePasswordRequest { name, password, ..Default::default() };
    let response = session.client()?.user_change_password(&request)?;
    Ok(admin::done(response.header, &response, "Password updated\n".to_owned()).into())
}

fn grant_role(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let why = "user grant command requires user name and role name as its argument";
    let (user, role) = user_and_role(matches, why)?;
    let request = AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() };
    let response = session.client()?.user_grant_role(&request)?;
    Ok(admin::done(response.header, &response, format!("Role {role} is granted to user {user}\n")).into())
}

fn revoke_role(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let why = "user revoke-role requires user name and role name as its argument";
    let (user, role) = user_and_role(matches, why)?;
    let request = AuthUserRevokeRoleRequest { name: user.clone(), role: role.clone() };
    let response = session.client()?.user_revoke_role(&request)?;
    Ok(admin::done(response.header, &response, format!("Role {role} is revoked from user {user}\n")).into())
}

fn user_and_role(matches: &ArgMatches, otherwise: &str) -> Result<(String, String), Failure> {
    match <[String; 2]>::try_from(texts(matches)) {
        Ok([user, role]) => Ok((user, role)),
        Err(_) => Err(Failure::bad_args(otherwise)),
    }
}
