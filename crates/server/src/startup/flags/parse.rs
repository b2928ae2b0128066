//! From the command line and the environment to checked texts, by the rules of Go's `flag` package and of etcd's
//! `pkg/flags`. Pure: nothing here reads the process's own arguments or environment.

use super::{
    gates::{Gate, parse_gates},
    generate::{KINDS, generate},
    settings,
    table::{self, Flag, Status},
    value::{Kind, Url, parse_bool, parse_integer, parse_number, parse_signed_duration, parse_urls},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Start a member.
    Start(Values),
    /// Start a member as the file at this path says; nothing else counts.
    File(String),
    /// Print the help text and end with code 0.
    Help,
    /// Print the version and end with code 0.
    Version,
    /// Print a text made of the table of flags and end with code 0.
    Generated(String),
}

/// Why the command line or the environment cannot be honoured. The texts are etcd's where etcd has one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The command line cannot be read.
    #[error("{0}")]
    Usage(String),
    /// It can be read, but asks for what cannot be.
    #[error("{0}")]
    Configuration(String),
}

/// Something that the operator should know about the flags, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An environment variable took effect.
    UsedVariable {
        /// Its name.
        variable: String,
        /// Its value.
        value: String,
    },
    /// A line of a settings file took effect.
    UsedSetting {
        /// The flag that it stands for.
        flag: &'static str,
        /// Its value.
        value: String,
    },
    /// An environment variable with etcd's prefix that no flag has.
    UnknownVariable {
        /// The variable as `NAME=value`.
        variable: String,
    },
    /// The configuration comes from a file.
    File {
        /// Its path.
        path: String,
    },
    /// The file has a field that nothing has.
    UnknownField {
        /// Its name, behind its section's.
        field: String,
    },
    /// A feature gate was set that means nothing here.
    Gate {
        /// Its name.
        gate: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// What a flag asks for is ignored in part, as etcd ignores it.
    Ignored {
        /// What, and why.
        what: String,
    },
    /// A flag was set that means nothing here.
    NoMeaning {
        /// The flag's name.
        flag: &'static str,
        /// Why.
        reason: &'static str,
    },
}

/// The checked value of every flag: what was set, or the default.
#[derive(Debug, Default)]
pub struct Values {
    set: BTreeMap<&'static str, String>,
    notices: Vec<Notice>,
    is_from_file: bool,
}

const ETCD_PREFIX: &str = "ETCD_";

/// Reads the arguments (without the program's name) and the environment.
pub fn parse(arguments: &[String], environment: &[(String, String)]) -> Result<Command, Error> {
    let mut values = Values::default();
    match values.take_arguments(arguments)? {
        Some(Word::Help) => return Ok(Command::Help),
        Some(Word::Version) => return Ok(Command::Version),
        Some(Word::Generate(what)) => {
            let text = generate(&what);
            return text.map(Command::Generated).ok_or_else(|| {
                Error::Usage(format!(
                    "invalid value \"{what}\" for flag -generate: one of {}",
                    KINDS.join(", ")
                ))
            });
        }
        None => {}
    }
    if let Some(path) = values.config_file(environment) {
        return Ok(Command::File(path));
    }
    values.take_environment(environment)?;
    values.judge()?;
    Ok(Command::Start(values))
}

/// A flag that replaces the start by some text.
enum Word {
    Help,
    Version,
    /// What to make of the table.
    Generate(String),
}

impl Values {
    /// Takes all arguments; a wrong one ends it before later ones are looked at, as in Go.
    fn take_arguments(&mut self, arguments: &[String]) -> Result<Option<Word>, Error> {
        let mut word = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some((name, inline)) = split_argument(argument)? else {
                let extra = if argument == "--" { rest.next() } else { Some(argument) };
                match extra {
                    Some(extra) => {
                        return Err(Error::Configuration(format!("'{extra}' is not a valid flag")));
                    }
                    None => break,
                }
            };
            match name {
                "h" | "help" => return Ok(Some(Word::Help)),
                "version" => {
                    let wanted = boolean_flag(name, inline.unwrap_or("true"))?;
                    word = wanted.then_some(Word::Version);
                }
                "generate" => {
                    let what = inline.map(str::to_owned).or_else(|| rest.next().cloned());
                    let missing = || Error::Usage(format!("flag needs an argument: -{name}"));
                    word = Some(Word::Generate(what.ok_or_else(missing)?));
                }
                _ => self.take_flag(name, inline, || rest.next().cloned())?,
            }
        }
        Ok(word)
    }

    fn take_flag(
        &mut self,
        name: &str,
        inline: Option<&str>,
        next: impl FnOnce() -> Option<String>,
    ) -> Result<(), Error> {
        let flag = table::find(name)
            .ok_or_else(|| Error::Usage(format!("flag provided but not defined: -{name}")))?;
        if flag.kind == Kind::Bool {
            let text = inline.unwrap_or("true");
            boolean_flag(name, text)?;
            self.set.insert(flag.name, text.to_owned());
            return Ok(());
        }
        let text = match inline {
            Some(text) => text.to_owned(),
            None => next().ok_or_else(|| Error::Usage(format!("flag needs an argument: -{name}")))?,
        };
        check(flag, &text)
            .map_err(|why| Error::Usage(format!("invalid value \"{text}\" for flag -{name}: {why}")))?;
        self.set.insert(flag.name, text);
        Ok(())
    }

    /// Fills in from the environment what the command line left open. An empty variable counts as not set.
    fn take_environment(&mut self, environment: &[(String, String)]) -> Result<(), Error> {
        let lookup: BTreeMap<&str, &str> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let on_command_line: BTreeSet<&str> = self.set.keys().copied().collect();
        let mut known = BTreeSet::new();
        for (group, flag) in table::all() {
            for variable in table::variables(group, flag) {
                let Some(value) = lookup.get(variable.as_str()).filter(|value| !value.is_empty()) else {
                    known.insert(variable);
                    continue;
                };
                if on_command_line.contains(flag.name) {
                    return Err(Error::Configuration(format!(
                        "conflicting environment variable \"{variable}\" is shadowed by corresponding \
                         command-line flag (either unset environment variable or disable flag)"
                    )));
                }
                check(flag, value).map_err(|why| {
                    Error::Configuration(format!("invalid value \"{value}\" for {variable}: {why}"))
                })?;
                self.set.insert(flag.name, (*value).to_owned());
                self.notices
                    .push(Notice::UsedVariable { variable: variable.clone(), value: (*value).to_owned() });
                known.insert(variable);
            }
        }
        for (name, value) in environment {
            if name.starts_with(ETCD_PREFIX) && !known.contains(name) {
                self.notices.push(Notice::UnknownVariable { variable: format!("{name}={value}") });
            }
        }
        Ok(())
    }

    /// None of what a command line says, for the file at `path`.
    pub(super) fn from_file(path: &str) -> Self {
        let notices = vec![Notice::File { path: path.to_owned() }];
        Self { notices, is_from_file: true, ..Self::default() }
    }

    /// Takes a value that was checked.
    pub(super) fn put(&mut self, flag: &'static Flag, text: String) {
        self.set.insert(flag.name, text);
    }

    pub(super) fn note(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// The file that replaces everything else, of the command line or else of the environment.
    fn config_file(&self, environment: &[(String, String)]) -> Option<String> {
        const VARIABLE: &str = "ETCD_CONFIG_FILE";
        let given = Some(self.text("config-file")).filter(|path| !path.is_empty()).map(str::to_owned);
        given.or_else(|| {
            let variable = environment.iter().find(|(name, value)| name == VARIABLE && !value.is_empty());
            variable.map(|(_, path)| path.clone())
        })
    }

    /// Refuses what must not be ignored and notes what has no meaning.
    pub(super) fn judge(&mut self) -> Result<(), Error> {
        for (&name, text) in &self.set {
            let flag = table::find(name).expect("only flags of the table are set");
            match flag.status {
                Status::Used if flag.kind == Kind::Gates => {
                    let set = parse_gates(text).expect("checked when it was set");
                    let changed = set.into_iter().filter(|(gate, is_on)| *is_on != gate.default);
                    let note = |(gate, _): (&'static Gate, bool)| Notice::Gate {
                        gate: gate.name,
                        reason: gate.reason,
                    };
                    self.notices.extend(changed.map(note));
                }
                Status::Used => {}
                Status::Refused(_) if text.is_empty() || flag.kind.same(text, flag.default) => {}
                Status::Refused(reason) => {
                    return Err(Error::Configuration(format!(
                        "--{name} is not supported in this version: {reason}"
                    )));
                }
                Status::NoMeaning(reason) => self.notices.push(Notice::NoMeaning { flag: name, reason }),
            }
        }
        Ok(())
    }

    /// Fills in from a settings file what command line and environment left open.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn take_settings(&mut self, text: &str) -> Result<(), String> {
        for (name, value) in settings::parse(text)? {
            let flag = table::find(name).expect("settings are flags of the table");
            check(flag, value).map_err(|why| format!("invalid value \"{value}\" for {name}: {why}"))?;
            if !self.is_set(flag.name) {
                self.set.insert(flag.name, value.to_owned());
                self.notices.push(Notice::UsedSetting { flag: flag.name, value: value.to_owned() });
            }
        }
        Ok(())
    }

    /// Whether the command line, the environment or a settings file set the flag.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// Whether all of it comes from a file, which may leave out what a command line must say twice.
    pub fn is_from_file(&self) -> bool {
        self.is_from_file
    }

    /// What should be logged once logging works.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The value, or the default. Panics when the table has no such flag.
    pub fn text(&self, name: &str) -> &str {
        let flag = table::find(name).expect("the flag is in the table");
        self.set.get(name).map_or(flag.default, String::as_str)
    }

    pub(in crate::startup) fn boolean(&self, name: &str) -> bool {
        parse_bool(self.text(name)).expect("checked when it was set")
    }

    pub(in crate::startup) fn number(&self, name: &str) -> u64 {
        parse_number(self.text(name), u64::MAX).expect("checked when it was set")
    }

    pub(in crate::startup) fn integer(&self, name: &str) -> i64 {
        parse_integer(self.text(name)).expect("checked when it was set")
    }

    pub(in crate::startup) fn duration(&self, name: &str) -> Duration {
        parse_signed_duration(self.text(name)).expect("checked when it was set")
    }

    pub(in crate::startup) fn urls(&self, name: &str) -> Vec<Url> {
        match self.text(name) {
            "" => Vec::new(),
            text => parse_urls(text).expect("checked when it was set"),
        }
    }
}

/// `-name`, `--name`, `-name=value` or `--name=value`; none for what is no flag.
fn split_argument(argument: &str) -> Result<Option<(&str, Option<&str>)>, Error> {
    let Some(body) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
        return Ok(None);
    };
    if body.is_empty() {
        return Ok(None);
    }
    if body.starts_with(['-', '=']) {
        return Err(Error::Usage(format!("bad flag syntax: {argument}")));
    }
    Ok(Some(match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    }))
}

fn boolean_flag(name: &str, text: &str) -> Result<bool, Error> {
    parse_bool(text)
        .map_err(|why| Error::Usage(format!("invalid boolean value \"{text}\" for -{name}: {why}")))
}

/// An empty list of URLs means none, where the flag allows none.
pub(super) fn check(flag: &Flag, text: &str) -> Result<(), String> {
    if flag.kind == Kind::Urls && text.is_empty() && flag.default.is_empty() {
        return Ok(());
    }
    flag.kind.check(text)
}
