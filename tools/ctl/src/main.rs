//! `windlassctl`: the command line for a Windlass cluster, spoken and written as etcdctl's.
//!
//! It parses, asks the cluster through `windlass-client` and prints; it must know nothing about how a server works.
//! Standard output carries replies only; everything else goes to standard error.

mod access;
mod command;
mod config;
mod dns;
mod exit;
mod flags;
mod go;
mod output;
mod recipe;
mod terminal;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::emulate_default_handler;

use crate::command::{Outcome, Session};
use crate::config::Config;
use crate::exit::{Code, Failure};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (detail, text) = (failure.detail.iter().cloned(), failure.to_string());
            let text = (!text.is_empty()).then(|| format!("Error: {text}"));
            for line in detail.chain(text) {
                // Nobody is left to tell when standard error is gone too.
                let _ = writeln!(io::stderr(), "{line}");
            }
            if failure.code == Code::Unread {
                // As a program of Go's ends. If that does not end it, the exit code says the same.
                let _ = emulate_default_handler(SIGPIPE);
            }
            ExitCode::from(failure.code.number())
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut root = command::root();
    let matches = match root.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => matches,
        Err(help) if help.kind() == ErrorKind::DisplayHelp => return show(&help.to_string()),
        Err(error) => return Err(flags::failure(&error)),
    };
    let mut config = Config::new(&matches, |name| std::env::var(name).ok())?;
    for warning in config.discover(dns::services)? {
        writeln!(io::stderr(), "{warning}")?;
    }
    if config.debug {
        writeln!(io::stderr(), "{config:#?}")?;
    }
    let (hex, format) = (config.hex, config.format);
    let mut session = Session::new(config);
    let Some(outcome) = command::run(&matches, &mut session) else {
        return show(&command::help(&mut root, &matches));
    };
    let Outcome { reply, mut style, warnings, failure } = outcome?;
    style.hex = hex;
    let rendered = output::render(&reply, format, style)?;
    warnings.iter().try_for_each(|warning| writeln!(io::stderr(), "{warning}"))?;
    io::stdout().write_all(&rendered.out)?;
    io::stderr().write_all(&rendered.err)?;
    failure.map_or(Ok(()), Err)
}

fn show(text: &str) -> Result<(), Failure> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}
