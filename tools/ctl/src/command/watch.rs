//! `watch`: prints what happens, as it happens, until the server ends it.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Arg, ArgMatches, value_parser};
use windlass_api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use windlass_api::mvccpb::Event;
use windlass_client::{Error, Watch};

use super::{LOOK, Outcome, Session, key_range, txn};
use crate::exit::{Code, Failure};
use crate::output::{Format, Reply, Style, event_type, render};
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
pub fn run(matches: &ArgMatches, session: &mut Session) -> Result<Outcome, Failure> {
    if flags::is_set(matches, "interactive") {
        return Err(interactive(session));
    }
    let exec: Vec<OsString> = matches.get_many(EXEC).unwrap_or_default().cloned().collect();
    let request = request(matches, &Range::of_environment()?)?;
    let printer = Printer { format: session.config.format, hex: session.config.hex, exec };
    let mut watch = Watch::while_led(session.client()?, request)?;
    loop {
        let response = watch.next_response().map_err(failed)?;
        if printer.take(response)? {
            return Err(ended());
        }
    }
}

/// What the environment says is to be watched.
#[derive(Default)]
struct Range {
    key: Option<Vec<u8>>,
    end: Option<Vec<u8>>,
}

impl Range {
    fn of_environment() -> Result<Self, Failure> {
        let variable =
            |name: &str| std::env::var_os(name).map(OsString::into_vec).filter(|text| !text.is_empty());
        let range = Self { key: variable("ETCDCTL_WATCH_KEY"), end: variable("ETCDCTL_WATCH_RANGE_END") };
        if let Self { key: None, end: Some(end) } = &range {
            let text = go::quote(end);
            let why = format!("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={text}");
            return Err(Failure::bad_args(why));
        }
        Ok(range)
    }
}

fn ended() -> Failure {
    Failure::new(Code::Interrupted, "watch is canceled by the server")
}

/// Of a watch whose member lost its leader etcdctl says what it says of one that the server canceled.
fn failed(error: Error) -> Failure {
    if !error.is_no_leader() {
        return error.into();
    }
    // Nobody is left to tell when standard error is gone.
    drop(writeln!(io::stderr(), "watch was canceled ({error})"));
    ended()
}

fn request(matches: &ArgMatches, environment: &Range) -> Result<WatchCreateRequest, Failure> {
    let mut args = flags::arguments(matches);
    if let Some(key) = &environment.key {
        if !args.is_empty() {
            return Err(Failure::bad_args("bad number of arguments (found conflicting environment key)"));
        }
        args.push(key.clone());
        args.extend(environment.end.clone());
    }
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

/// Prints what a watch is sent.
struct Printer {
    format: Format,
    hex: bool,
    /// A program and its arguments, run at each event; may be empty.
    exec: Vec<OsString>,
}

impl Printer {
    /// Prints one response; true if it is the last.
    fn take(&self, response: WatchResponse) -> Result<bool, Failure> {
        if response.created && !response.canceled {
            return Ok(false);
        }
        let is_over = response.canceled;
        self.show(response)?;
        Ok(is_over)
    }

    /// Prints one response and runs the program for each of its events.
    fn show(&self, response: WatchResponse) -> Result<(), Failure> {
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
        out.extend_from_slice(&render(&reply, self.format, Style { hex: self.hex, ..Style::default() })?.out);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()?;
        drop(stdout);
        let Reply::Watch(response) = &reply else { return Ok(()) };
        response.events.iter().try_for_each(|event| self.execute(event, revision))
    }

    fn execute(&self, event: &Event, revision: i64) -> Result<(), Failure> {
        let Some((program, args)) = self.exec.split_first() else { return Ok(()) };
        let kv = event.kv.clone().unwrap_or_default();
        let ended = Command::new(program)
            .args(args)
            .env("ETCD_WATCH_REVISION", revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", go::quote(event_type(event).as_bytes()))
            .env("ETCD_WATCH_KEY", go::quote(&kv.key))
            .env("ETCD_WATCH_VALUE", go::quote(&kv.value))
            .status();
        if ended.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        Err(Failure::new(Code::Error, format!("command {program:?} failed")))
    }
}

/// What one line of input asks for.
enum Line {
    /// A watch, and a program to run at each of its events.
    Watch(WatchCreateRequest, Vec<OsString>),
    /// How far all watches are.
    Progress,
}

/// Reads watches, one a line; each prints beside the others, from a thread of its own.
fn interactive(session: &mut Session) -> Failure {
    let environment = match Range::of_environment() {
        Ok(range) => range,
        Err(failure) => return failure,
    };
    // Each watch counts on its own how many of these it has passed on.
    let asked = Arc::new(AtomicU64::new(0));
    loop {
        let mut line = Vec::new();
        match session.input.read_until(b'\n', &mut line) {
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(_) => return Failure::new(Code::InvalidInput, "error reading watch request line: EOF"),
            Err(error) => return error.into(),
        }
        match parse_line(&line, &environment) {
            Ok(Line::Watch(request, exec)) => {
                let printer = Printer { format: session.config.format, hex: session.config.hex, exec };
                let started = session.client().and_then(|client| Ok(Watch::while_led(client, request)?));
                match started {
                    Ok(watch) => follow_beside(watch, printer, Arc::clone(&asked)),
                    Err(failure) => return failure,
                }
            }
            Ok(Line::Progress) => {
                asked.fetch_add(1, Ordering::Relaxed);
            }
            // Nobody is left to tell when standard error is gone.
            Err(text) => drop(writeln!(io::stderr(), "{text}")),
        }
    }
}

fn follow_beside(mut watch: Watch, printer: Printer, asked: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let mut passed_on = asked.load(Ordering::Relaxed);
        loop {
            let ended = watch.next_response_within(LOOK).map_err(failed).and_then(|response| {
                if asked.load(Ordering::Relaxed) > passed_on {
                    passed_on += 1;
                    watch.request_progress()?;
                }
                response.map_or(Ok(false), |response| printer.take(response))
            });
            match ended {
                Ok(false) => {}
                Ok(true) => return,
                // Nobody is left to tell when standard error is gone.
                Err(failure) => return drop(writeln!(io::stderr(), "{failure}")),
            }
        }
    });
}

fn parse_line(line: &[u8], environment: &Range) -> Result<Line, String> {
    let text = String::from_utf8_lossy(line).trim_end_matches('\n').to_owned();
    let words = txn::words(line.trim_ascii()).unwrap_or_default();
    let Some((command, words)) = words.split_first() else {
        return Err(format!("Invalid command: {text} (watch and progress supported)"));
    };
    match command.as_slice() {
        b"watch" => {}
        b"progress" => return Ok(Line::Progress),
        _ => return Err(format!("Invalid command {text} (only support watch)")),
    }
    if words.is_empty() && environment.key.is_none() {
        return Err(format!("Invalid command {text} (command type or key is not provided)"));
    }
    let end = words.iter().position(|word| word == b"--").unwrap_or(words.len());
    let exec = words.iter().skip(end + 1).cloned().map(OsString::from_vec).collect();
    let matches = clap::Command::new("watch")
        .no_binary_name(true)
        .args(options())
        .try_get_matches_from(words[..end].iter().cloned().map(OsString::from_vec).collect::<Vec<_>>())
        .map_err(|error| format!("Invalid command {text} ({})", flags::failure(&error)))?;
    let request =
        request(&matches, environment).map_err(|failure| format!("Invalid command {text} ({failure})"))?;
    Ok(Line::Watch(request, exec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(line: &str, environment: &Range) -> Result<(WatchCreateRequest, usize), String> {
        parse_line(line.as_bytes(), environment).map(|line| match line {
            Line::Watch(request, exec) => (request, exec.len()),
            Line::Progress => panic!("a watch"),
        })
    }

    #[test]
    fn lines_take_options_and_programs() {
        let none = Range::default();
        let (request, exec) = watch("watch a --rev 3 --prefix -- echo -n x\n", &none).expect("valid");
        assert_eq!((request.key, request.range_end, request.start_revision), ("a".into(), "b".into(), 3));
        assert_eq!(exec, 3);
        assert!(matches!(parse_line(b"progress\n", &none), Ok(Line::Progress)));
        let told = Range { key: Some(b"k".to_vec()), end: Some(b"z".to_vec()) };
        assert_eq!(watch("watch\n", &told).expect("valid").0.range_end, "z");
        assert!(watch("watch a\n", &told).is_err());
    }

    #[test]
    fn wrong_lines_are_named() {
        let fault = |line: &str| watch(line, &Range::default()).expect_err("is wrong");
        assert_eq!(fault("foo\n"), "Invalid command foo (only support watch)");
        assert_eq!(fault("watch\n"), "Invalid command watch (command type or key is not provided)");
        assert_eq!(fault("\n"), "Invalid command:  (watch and progress supported)");
    }
}
