//! The options that every command has, from the command line and the environment.
//!
//! An option given on the command line wins, then `WINDLASSCTL_<NAME>`, then `ETCDCTL_<NAME>`, then the default.
//! `ETCDCTL_API` and other variables that name no option are ignored.

use std::time::Duration;

use clap::{Arg, ArgMatches};

use crate::exit::{Code, Failure};
use crate::output::Format;
use crate::{flags, go};

/// What every command needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `host:port` or `http://host:port`, at least one.
    pub endpoints: Vec<String>,
    /// Bound of one attempt to connect.
    pub dial_timeout: Duration,
    /// Bound of one request with all its attempts to connect.
    pub command_timeout: Duration,
    /// How to print.
    pub format: Format,
    /// Print keys and values as `\xNN`, ids in hexadecimal.
    pub hex: bool,
}

/// The options, for the root command.
pub fn args() -> [Arg; 8] {
    [
        flags::global("endpoints", "gRPC endpoints, separated by commas [default: 127.0.0.1:2379]"),
        flags::global("dial-timeout", "bound of one attempt to connect [default: 2s]"),
        flags::global("command-timeout", "bound of one request [default: 5s]"),
        flags::global("write-out", "output format: fields, json, protobuf, simple, table [default: simple]")
            .short('w'),
        flags::switch("hex", "print byte strings as hexadecimal escapes").global(true),
        flags::switch("debug", "accepted as etcdctl's; the program logs nothing").global(true).hide(true),
        flags::global("keepalive-time", "accepted as etcdctl's; commands are too short to need it")
            .hide(true),
        flags::global("keepalive-timeout", "accepted as etcdctl's; commands are too short to need it")
            .hide(true),
    ]
}

impl Config {
    /// Reads the options; `env` looks a variable of the environment up.
    ///
    /// # Errors
    /// A value that cannot be read, or no endpoint at all.
    pub fn new(matches: &ArgMatches, env: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let value = |name: &str| matches.get_one::<String>(name).cloned().or_else(|| from_env(name, &env));
        let endpoints = value("endpoints").unwrap_or_else(|| "127.0.0.1:2379".to_owned());
        let hex_from_env =
            || from_env("hex", &env).map(|text| parsed("hex", &text, go::parse_bool)).transpose();
        Ok(Self {
            endpoints: endpoints.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            dial_timeout: duration("dial-timeout", value("dial-timeout"), 2)?,
            command_timeout: duration("command-timeout", value("command-timeout"), 5)?,
            format: value("write-out").as_deref().unwrap_or("simple").parse()?,
            hex: flags::is_set(matches, "hex") || hex_from_env()?.unwrap_or(false),
        })
    }
}

/// The variable for option `name`, if it is set.
fn from_env(name: &str, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let name = name.to_uppercase().replace('-', "_");
    env(&format!("WINDLASSCTL_{name}"))
        .or_else(|| env(&format!("ETCDCTL_{name}")))
        .filter(|text| !text.is_empty())
}

fn duration(name: &str, text: Option<String>, default_secs: u64) -> Result<Duration, Failure> {
    text.map_or(Ok(Duration::from_secs(default_secs)), |text| parsed(name, &text, go::parse_duration))
}

fn parsed<T>(name: &str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
    parse(text).map_err(|cause| {
        let value = go::quote(text.as_bytes());
        Failure::new(Code::Error, format!("invalid argument {value} for \"--{name}\" flag: {cause}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str], env: &[(&str, &str)]) -> Result<Config, Failure> {
        let matches = clap::Command::new("t").args(super::args()).get_matches_from([&["t"], args].concat());
        Config::new(&matches, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_are_etcdctls() {
        let config = config(&[], &[]).expect("valid");
        assert_eq!(config.endpoints, ["127.0.0.1:2379"]);
        assert_eq!(
            (config.dial_timeout, config.command_timeout),
            (Duration::from_secs(2), Duration::from_secs(5))
        );
        assert_eq!((config.format, config.hex), (Format::Simple, false));
    }

    #[test]
    fn command_line_then_own_variable_then_etcdctls() {
        let env =
            [("ETCDCTL_ENDPOINTS", "c:1"), ("WINDLASSCTL_ENDPOINTS", "b:1"), ("ETCDCTL_WRITE_OUT", "json")];
        let parsed = config(&["--endpoints", "a:1,a:2"], &env).expect("valid");
        assert_eq!((parsed.endpoints, parsed.format), (vec!["a:1".into(), "a:2".into()], Format::Json));
        assert_eq!(config(&[], &env).expect("valid").endpoints, ["b:1"]);
        assert_eq!(config(&[], &env[..1]).expect("valid").endpoints, ["c:1"]);
    }

    #[test]
    fn wrong_values_are_named() {
        let fault = |args: &[&str]| config(args, &[]).expect_err("is wrong");
        assert_eq!(
            fault(&["--command-timeout=5"]).to_string(),
            "invalid argument \"5\" for \"--command-timeout\" flag: time: missing unit in duration \"5\""
        );
        assert_eq!(fault(&["-w", "foo"]), Failure::new(Code::BadFeature, "unsupported output format"));
    }
}
