//! The commands: which there are, and what each needs and gives.
//!
//! [`COMMANDS`] is the one list of them; parser, help and completions are made of it. A command turns its arguments into
//! requests and the answers into an [`Outcome`]; it never prints its reply, but for those whose reply has no end.

mod alarm;
mod auth;
mod check;
mod compaction;
mod completion;
mod defrag;
mod del;
mod downgrade;
mod elect;
mod endpoint;
mod get;
mod lease;
mod lock;
mod make_mirror;
mod member;
mod move_leader;
mod options;
mod put;
mod role;
mod snapshot;
mod top;
mod txn;
mod user;
mod version;
mod watch;

use std::io::{self, BufRead, Write};
use std::time::Duration;

use clap::ArgMatches;
use windlass_client::{Client, Security};

use crate::config::{self, Config};
use crate::exit::Failure;
use crate::output::{Reply, Style};
use crate::{flags, terminal};

/// How long a command looks for something from the cluster before it looks for signals.
const LOOK: Duration = Duration::from_millis(100);

/// What a command gives; nothing where only a group of commands was named, whose help is shown then.
type Ran = Option<Result<Outcome, Failure>>;

/// A command, or a group of them.
struct Command {
    /// Its command line.
    command: fn() -> clap::Command,
    /// Runs it.
    run: fn(&ArgMatches, &mut Session) -> Ran,
}

/// A command that is no group.
macro_rules! single {
    ($module:ident) => {
        Command { command: $module::command, run: |matches, session| Some($module::run(matches, session)) }
    };
}

/// A group of commands.
macro_rules! group {
    ($module:ident) => {
        Command { command: $module::command, run: $module::run }
    };
}

/// All commands, in the order of the help.
const COMMANDS: &[Command] = &[
    single!(put),
    single!(get),
    single!(del),
    single!(txn),
    single!(compaction),
    single!(watch),
    group!(lease),
    group!(member),
    group!(endpoint),
    group!(alarm),
    single!(defrag),
    single!(move_leader),
    group!(snapshot),
    single!(make_mirror),
    group!(downgrade),
    single!(lock),
    single!(elect),
    group!(auth),
    group!(user),
    group!(role),
    group!(check),
    single!(top),
    single!(completion),
    single!(options),
    single!(version),
];

/// What a command may use.
pub struct Session {
    /// The options that all commands have.
    pub config: Config,
    /// Standard input.
    pub input: Box<dyn BufRead>,
    /// Where prompts go.
    pub prompt: Box<dyn Write>,
    /// Made of the options when the first client is; asks for a password at most once.
    security: Option<Security>,
}

impl Session {
    /// On the process's own streams.
    pub fn new(config: Config) -> Self {
        let (input, prompt) = (Box::new(io::BufReader::new(io::stdin())), Box::new(io::stdout()));
        Self { config, input, prompt, security: None }
    }

    /// A client for all endpoints.
    fn client(&mut self) -> Result<Client, Failure> {
        let endpoints = self.config.endpoints.clone();
        self.client_of(&endpoints)
    }

    fn client_of(&mut self, endpoints: &[String]) -> Result<Client, Failure> {
        let security = self.security()?;
        Ok(Client::secured(&self.config.connect(endpoints), &security)?)
    }

    /// How the cluster is reached, and as whom.
    fn security(&mut self) -> Result<Security, Failure> {
        if let Some(security) = &self.security {
            return Ok(security.clone());
        }
        let access = self.config.access.clone();
        let security = access.security(|| self.ask("Password: "))?;
        Ok(self.security.insert(security).clone())
    }

    /// A line that the terminal does not show.
    fn ask(&mut self, prompt: &str) -> io::Result<String> {
        write!(self.prompt, "{prompt}")?;
        self.prompt.flush()?;
        let line = terminal::without_echo(|| {
            let mut line = Vec::new();
            self.input.read_until(b'\n', &mut line).map(|_| line)
        })?;
        writeln!(self.prompt)?;
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
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
        .subcommands(COMMANDS.iter().map(|entry| (entry.command)()))
}

/// Runs the command that `matches` names, or nothing where it names only a group of commands.
pub fn run(matches: &ArgMatches, session: &mut Session) -> Ran {
    let (name, matches) = matches.subcommand()?;
    let entry = COMMANDS.iter().find(|entry| (entry.command)().get_name() == name);
    (entry.expect("clap knows the commands of root() only").run)(matches, session)
}

/// The help of the group of commands that `matches` names.
pub fn help(root: &mut clap::Command, matches: &ArgMatches) -> String {
    let group = matches.subcommand_name().and_then(|name| root.find_subcommand_mut(name).cloned());
    group.unwrap_or_else(|| root.clone()).render_help().to_string()
}

/// The only argument, as text.
fn only_argument(matches: &ArgMatches, otherwise: &str) -> Result<String, Failure> {
    match flags::arguments(matches).as_slice() {
        [argument] => Ok(String::from_utf8_lossy(argument).into_owned()),
        _ => Err(Failure::bad_args(otherwise)),
    }
}

/// All arguments, as texts.
fn texts(matches: &ArgMatches) -> Vec<String> {
    flags::arguments(matches).iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

/// Refuses arguments where there may be none.
fn no_arguments(matches: &ArgMatches, otherwise: &str) -> Result<(), Failure> {
    if flags::arguments(matches).is_empty() { Ok(()) } else { Err(Failure::bad_args(otherwise)) }
}

/// The end of the range of all keys that start with `prefix`: the prefix plus one at its last byte below 255.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
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

    /// The reference page names every command, and every option that all have.
    #[test]
    fn the_page_is_complete() {
        let page = include_str!("../../../docs/reference/windlassctl.md");
        let mut names = Vec::new();
        for command in root().get_subcommands() {
            let subs: Vec<_> = command
                .get_subcommands()
                .map(|sub| format!("{} {}", command.get_name(), sub.get_name()))
                .collect();
            names.extend(if subs.is_empty() { vec![command.get_name().to_owned()] } else { subs });
        }
        names.extend(config::args().iter().map(|arg| format!("--{}", arg.get_id())));
        let missing: Vec<_> = names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "not in docs/reference/windlassctl.md: {missing:?}");
    }
}
