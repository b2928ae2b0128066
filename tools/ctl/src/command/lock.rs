//! `lock`: holds a lock until a signal, or while a program runs.

use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use clap::ArgMatches;
use windlass_api::etcdserverpb::RangeRequest;

use super::{Outcome, Session};
use crate::exit::{Code, Failure};
use crate::flags;
use crate::output::{Reply, Style, render};
use crate::recipe::{Keeper, Line, Place, Stop};

/// The command line.
pub fn command() -> clap::Command {
    clap::Command::new("lock").about("Waits for a lock and holds it").args([
        flags::integer_or("ttl", "10", "seconds after which a lock whose holder is gone is free"),
        flags::positional("the lock, and a program with its arguments to run while it is held"),
    ])
}

/// Runs it.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    let args = flags::arguments(matches);
    let [name, program @ ..] = args.as_slice() else {
        return Err(Failure::bad_args("lock takes a lock name argument and an optional command to execute"));
    };
    let mut client = session.client()?;
    let keeper = Keeper::new(session.client()?, flags::number(matches, "ttl"))?;
    let stop = Stop::on_signals()?;
    let line = Line::new(&String::from_utf8_lossy(name));
    let place = line.enter(&mut client, &keeper, "")?;
    let held = line.wait(&place, &mut client, &mut || session.client(), &stop, &keeper);
    let done = held.and_then(|revision| match program {
        [] => hold(&place, session, &keeper, &stop),
        [program, args @ ..] => execute(program, args, &place, revision),
    });
    // With the lease goes the place in the line.
    let ended = keeper.end(&mut client);
    done.and(ended)?;
    Ok(Reply::Nothing.into())
}

/// Shows the lock, and holds it until there is a signal.
fn hold(place: &Place, session: &mut Session, keeper: &Keeper, stop: &Stop) -> Result<(), Failure> {
    let key = place.key.clone().into();
    let found = session.client()?.range(&RangeRequest { key, ..Default::default() })?;
    if found.kvs.is_empty() {
        return Err(Failure::new(Code::Error, "lock lost on init"));
    }
    let style = Style { hex: session.config.hex, ..Style::default() };
    let rendered = render(&Reply::Range(found), session.config.format, style)?;
    let mut out = io::stdout();
    out.write_all(&rendered.out)?;
    out.flush()?;
    if keeper.wait(stop) { Ok(()) } else { Err(Failure::new(Code::Error, "session expired")) }
}

fn execute(program: &[u8], args: &[Vec<u8>], place: &Place, revision: i64) -> Result<(), Failure> {
    let text = |bytes: &[u8]| std::ffi::OsString::from_vec(bytes.to_vec());
    let status = Command::new(text(program))
        .args(args.iter().map(|arg| text(arg)))
        .env("ETCD_LOCK_KEY", &place.key)
        .env("ETCD_LOCK_REV", revision.to_string())
        .stdin(Stdio::null())
        .status()
        .map_err(|error| {
            let name = crate::go::quote(program);
            let text = match error.kind() {
                io::ErrorKind::NotFound => format!("exec: {name}: executable file not found in $PATH"),
                _ => format!("exec: {name}: {error}"),
            };
            Failure::new(Code::Error, text)
        })?;
    if status.success() { Ok(()) } else { Err(ended(status)) }
}

/// This program ends as the one that it ran.
fn ended(status: ExitStatus) -> Failure {
    match (status.code(), status.signal()) {
        (Some(code), _) => {
            Failure::new(Code::Child(u8::try_from(code).unwrap_or(u8::MAX)), format!("exit status {code}"))
        }
        (None, signal) => {
            Failure::new(Code::Child(u8::MAX), format!("signal: {}", signal.unwrap_or_default()))
        }
    }
}
