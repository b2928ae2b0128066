//! `watch`: prints what happens, as it happens, until the server ends it.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::process::Command;

use clap::{Arg, ArgMatches, value_parser};
use windlass_api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use windlass_client::Watch;

use super::{Session, key_range, txn};
use crate::config::Config;
use crate::exit::{Code, Failure};
use crate::output::{Reply, Style, event_type, render};
use crate::{flags, go};

/// The name under which the program to run is kept.
const EXEC: &str = "exec";

/// The command line.
pub fn command() -> clap::Command {
    let exec = Arg::new(EXEC)
        .value_name("PROGRAM")
        .help("after --: a program to run at each event, told of it by ETCD_WATCH_* variables")
        .last(true)
        .num_args(0..)
        .value_parser(value_parser!(OsString));
    clap::Command::new("watch")
        .about("Watches a key or a range of keys")
        .args(options())
        .args([flags::switch("interactive", "read watches from standard input").short('i'), exec])
}

/// What one watch may be told, on the command line and on a line of input.
fn options() -> [Arg; 5] {
    [
        flags::switch("prefix", "all keys that start with the key"),
        flags::integer("rev", "the revision to start from, 0 for now"),
        flags::switch("prev-kv", "also what was there before"),
        flags::switch("progress-notify", "also, now and then, how far the watch is"),
        flags::positional("the key, and where the range ends"),
    ]
}

/// Runs it. It ends with a failure, if it ends.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Failure {
    if flags::is_set(matches, "interactive") {
        return interactive(session);
    }
    let exec: Vec<OsString> = matches.get_many(EXEC).unwrap_or_default().cloned().collect();
    request(matches).and_then(|request| follow(&session.config, request, &exec)).err().unwrap_or_else(ended)
}

fn ended() -> Failure {
    Failure::new(Code::Interrupted, "watch is canceled by the server")
}

fn request(matches: &ArgMatches) -> Result<WatchCreateRequest, Failure> {
    let args = flags::arguments(matches);
    if args.is_empty() || args.len() > 2 {
        return Err(Failure::bad_args("bad number of arguments"));
    }
    let (key, range_end) = key_range(&args, flags::is_set(matches, "prefix"), false)
        .map_err(|_| Failure::bad_args("`range_end` and `--prefix` are mutually exclusive"))?;
    Ok(WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision: flags::number(matches, "rev"),
        prev_kv: flags::is_set(matches, "prev-kv"),
        progress_notify: flags::is_set(matches, "progress-notify"),
        ..WatchCreateRequest::default()
    })
}

/// Prints responses until the watch ends.
fn follow(config: &Config, request: WatchCreateRequest, exec: &[OsString]) -> Result<(), Failure> {
    let Config { dial_timeout, command_timeout, .. } = *config;
    let endpoints = config.endpoints.clone();
    let mut watch =
        Watch::new(&windlass_client::Config { endpoints, dial_timeout, command_timeout }, request)?;
    loop {
        let response = watch.next_response()?;
        if response.created && !response.canceled {
            continue;
        }
        let is_over = response.canceled;
        show(config, response, exec)?;
        if is_over {
            return Ok(());
        }
    }
}

/// Prints one response and runs the program for each of its events.
fn show(config: &Config, response: WatchResponse, exec: &[OsString]) -> Result<(), Failure> {
    if response.canceled {
        let why = if response.compact_revision != 0 {
            "etcdserver: mvcc: required revision has been compacted"
        } else {
            &response.cancel_reason
        };
        writeln!(io::stderr(), "watch was canceled ({why})")?;
    }
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    let mut out = Vec::new();
    if !response.canceled && response.events.is_empty() {
        writeln!(out, "progress notify: {revision}")?;
    }
    let reply = Reply::Watch(response);
    let style = Style { hex: config.hex, ..Style::default() };
    out.extend_from_slice(&render(&reply, config.format, style)?.out);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&out)?;
    stdout.flush()?;
    drop(stdout);
    let (Reply::Watch(response), Some((program, args))) = (&reply, exec.split_first()) else { return Ok(()) };
    for event in &response.events {
        let kv = event.kv.clone().unwrap_or_default();
        let ended = Command::new(program)
            .args(args)
            .env("ETCD_WATCH_REVISION", revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", go::quote(event_type(event).as_bytes()))
            .env("ETCD_WATCH_KEY", go::quote(&kv.key))
            .env("ETCD_WATCH_VALUE", go::quote(&kv.value))
            .status();
        if !ended.is_ok_and(|status| status.success()) {
            return Err(Failure::new(Code::Error, format!("command {program:?} failed")));
        }
    }
    Ok(())
}

/// Reads watches, one a line; each prints beside the others.
fn interactive(session: &mut Session) -> Failure {
    loop {
        let mut line = Vec::new();
        match session.input.read_until(b'\n', &mut line) {
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(_) => return Failure::new(Code::InvalidInput, "error reading watch request line: EOF"),
            Err(error) => return error.into(),
        }
        match watch_of_line(&line) {
            Ok(request) => {
                let config = session.config.clone();
                std::thread::spawn(move || {
                    if let Err(failure) = follow(&config, request, &[]) {
                        // Nobody is left to tell when standard error is gone.
                        let _ = writeln!(io::stderr(), "{failure}");
                    }
                });
            }
            Err(text) => {
                let _ = writeln!(io::stderr(), "{text}");
            }
        }
    }
}

fn watch_of_line(line: &[u8]) -> Result<WatchCreateRequest, String> {
    let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
    let words = txn::words(line.trim_ascii()).filter(|words| !words.is_empty());
    let Some(words) = words.filter(|words| words[0] == b"watch") else {
        return Err(format!("Invalid command {text} (only support watch)"));
    };
    if words.len() < 2 {
        return Err(format!("Invalid command {text} (command type or key is not provided)"));
    }
    let words = words.into_iter().skip(1).map(std::os::unix::ffi::OsStringExt::from_vec);
    let matches = clap::Command::new("watch")
        .no_binary_name(true)
        .args(options())
        .try_get_matches_from(words.collect::<Vec<OsString>>())
        .map_err(|error| format!("Invalid command {text} ({})", flags::failure(&error)))?;
    request(&matches).map_err(|failure| format!("Invalid command {text} ({failure})"))
}
