//! The commands: which there are, and what each needs and gives.
//!
//! A command turns its arguments into requests and the answers into an [`Outcome`]; it never prints its reply, but for
//! `watch`, whose reply has no end.

mod compaction;
mod del;
mod endpoint;
mod get;
mod lease;
mod member;
mod put;
mod txn;
mod version;
mod watch;

use std::io::{BufRead, Write};

use clap::ArgMatches;
use windlass_client::Client;

use crate::config::{self, Config};
use crate::exit::Failure;
use crate::output::{Reply, Style};

/// What a command may use.
pub struct Session {
    /// The options that all commands have.
    pub config: Config,
    /// Standard input.
    pub input: Box<dyn BufRead>,
    /// Where prompts go.
    pub prompt: Box<dyn Write>,
}

impl Session {
    /// A client for all endpoints.
    fn client(&self) -> Result<Client, Failure> {
        self.client_of(&self.config.endpoints)
    }

    fn client_of(&self, endpoints: &[String]) -> Result<Client, Failure> {
        let Config { dial_timeout, command_timeout, .. } = self.config;
        let config = windlass_client::Config { endpoints: endpoints.to_vec(), dial_timeout, command_timeout };
        Ok(Client::new(&config)?)
    }
}

/// What a command has achieved.
#[derive(Debug)]
pub struct Outcome {
    /// What to print.
    pub reply: Reply,
    /// How; the option `--hex` is added later.
    pub style: Style,
    /// Lines for standard error, before the reply.
    pub warnings: Vec<String>,
    /// What the program fails with after it has printed the reply.
    pub failure: Option<Failure>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self { reply, style: Style::default(), warnings: Vec::new(), failure: None }
    }
}

/// The whole command line.
pub fn root() -> clap::Command {
    clap::Command::new("windlassctl")
        .about("The command line for a Windlass or etcd cluster")
        .args(config::args())
        // As etcdctl: `compact` will do.
        .infer_subcommands(true)
        .subcommands([
            put::command(),
            get::command(),
            del::command(),
            txn::command(),
            compaction::command(),
            endpoint::command(),
            lease::command(),
            member::command(),
            version::command(),
            watch::command(),
        ])
}

/// Runs the command that `matches` names, or nothing where it names only a group of commands.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Option<Result<Outcome, Failure>> {
    let (name, matches) = matches.subcommand()?;
    Some(match name {
        "put" => put::run(matches, session),
        "get" => get::run(matches, session),
        "del" => del::run(matches, session),
        "txn" => txn::run(matches, session),
        "compaction" => compaction::run(matches, session),
        "endpoint" => return endpoint::run(matches, session),
        "lease" => return lease::run(matches, session),
        "member" => return member::run(matches, session),
        "version" => Ok(version::run()),
        "watch" => Err(watch::run(matches, session)),
        _ => unreachable!("clap knows the commands of root() only"),
    })
}

/// The help of the group of commands that `matches` names.
pub fn help(root: &mut clap::Command, matches: &ArgMatches) -> String {
    let group = matches.subcommand_name().and_then(|name| root.find_subcommand_mut(name).cloned());
    group.unwrap_or_else(|| root.clone()).render_help().to_string()
}

/// The end of the range of all keys that start with `prefix`: the prefix plus one at its last byte below 255.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let Some(last) = prefix.iter().rposition(|&byte| byte < 0xff) else {
        return vec![0];
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end
}

/// `(key, range_end)` for `--prefix` and `--from-key`, of which at most one is set.
///
/// # Errors
/// Both are set, or one is with a range end.
fn key_range(args: &[Vec<u8>], prefix: bool, from_key: bool) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    if prefix && from_key {
        return Err(Failure::bad_args(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    let key = args[0].clone();
    match args.get(1) {
        Some(_) if prefix || from_key => Err(Failure::bad_args(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        )),
        Some(end) => Ok((key, end.clone())),
        // No key is empty, so the empty prefix and everything from the empty key on are the same: all keys.
        None if (prefix || from_key) && key.is_empty() => Ok((vec![0], vec![0])),
        None if prefix => {
            let end = prefix_end(&key);
            Ok((key, end))
        }
        None if from_key => Ok((key, vec![0])),
        None => Ok((key, Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends() {
        assert_eq!(prefix_end(b"foo"), b"fop");
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
    }

    #[test]
    fn every_command_is_well_formed() {
        root().debug_assert();
    }
}
