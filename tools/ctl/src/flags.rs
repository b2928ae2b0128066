//! Command-line options in etcdctl's spelling (Go's pflag), on clap.
//!
//! A boolean takes its value only after `=`, every other option after a space or `=`; the last one wins; `--` ends
//! them. What is wrong is said in pflag's words.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::exit::{Code, Failure};
use crate::go;

/// The name under which the positional arguments are kept.
const POSITIONAL: &str = "args";

/// A boolean option, false by default.
pub fn switch(name: &'static str, help: &'static str) -> Arg {
    boolean(name, help).default_value("false")
}

/// A boolean option, true by default.
pub fn switch_on(name: &'static str, help: &'static str) -> Arg {
    boolean(name, help).default_value("true")
}

/// A boolean option without a default, which [`crate::config`] reads.
pub fn global_switch(name: &'static str, help: &'static str) -> Arg {
    boolean(name, help).global(true)
}

fn boolean(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .overrides_with(name)
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_parser(|text: &str| go::parse_bool(text))
}

/// An integer option, 0 by default.
pub fn integer(name: &'static str, help: &'static str) -> Arg {
    integer_or(name, "0", help)
}

/// An integer option.
pub fn integer_or(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    valued(name, help).default_value(default).value_parser(|text: &str| go::parse_int(text, 0))
}

/// A text option.
pub fn text(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    valued(name, help).default_value(default).hide_default_value(default.is_empty())
}

/// An option without a default, whose text [`crate::config`] reads.
pub fn global(name: &'static str, help: &'static str) -> Arg {
    valued(name, help).global(true)
}

fn valued(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::Set).overrides_with(name).allow_hyphen_values(true)
}

/// Any number of positional arguments: keys and values need not be UTF-8.
pub fn positional(help: &'static str) -> Arg {
    Arg::new(POSITIONAL).value_name("ARGS").help(help).num_args(0..).value_parser(value_parser!(OsString))
}

/// The positional arguments as bytes.
pub fn arguments(matches: &ArgMatches) -> Vec<Vec<u8>> {
    let args = matches.get_many::<OsString>(POSITIONAL).unwrap_or_default();
    args.map(|arg| arg.as_bytes().to_vec()).collect()
}

/// A [`global_switch`]'s value, if it is given.
pub fn given(matches: &ArgMatches, name: &str) -> Option<bool> {
    matches.get_one(name).copied()
}

/// A [`switch`]'s value.
pub fn is_set(matches: &ArgMatches, name: &str) -> bool {
    *matches.get_one(name).expect("a switch has a default")
}

/// An [`integer`]'s value.
pub fn number(matches: &ArgMatches, name: &str) -> i64 {
    *matches.get_one(name).expect("an integer has a default")
}

/// A [`text`]'s value.
pub fn string<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).expect("a text has a default")
}

/// pflag's words for what clap found wrong.
pub fn failure(error: &clap::Error) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let flag = context(ContextKind::InvalidArg);
    let name = flag.split([' ', '=', '[']).next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    let message = match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with("--") => format!("unknown flag: {name}"),
        ErrorKind::UnknownArgument => {
            let letter: String = name.chars().skip(1).take(1).collect();
            format!("unknown shorthand flag: '{letter}' in {name}")
        }
        ErrorKind::InvalidSubcommand => {
            format!("unknown command {}", go::quote(context(ContextKind::InvalidSubcommand).as_bytes()))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {name}"),
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            format!("invalid argument {} for \"{name}\" flag: {cause}", go::quote(value.as_bytes()))
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    Failure::new(Code::Error, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<ArgMatches, String> {
        clap::Command::new("t")
            .args([switch("prefix", ""), integer("rev", ""), text("order", "", ""), positional("")])
            .try_get_matches_from([&["t"], args].concat())
            .map_err(|error| failure(&error).to_string())
    }

    #[test]
    fn options_and_arguments_mix() {
        let matches =
            parse(&["k", "--prefix", "true", "--rev", "-3", "--order=", "--", "-v"]).expect("parses");
        assert!(is_set(&matches, "prefix"));
        assert_eq!(number(&matches, "rev"), -3);
        assert_eq!(string(&matches, "order"), "");
        assert_eq!(arguments(&matches), [b"k".to_vec(), b"true".to_vec(), b"-v".to_vec()]);
    }

    #[test]
    fn the_last_one_wins() {
        let matches = parse(&["--rev=1", "--rev", "0x10", "--prefix", "--prefix=f"]).expect("parses");
        assert_eq!(number(&matches, "rev"), 16);
        assert!(!is_set(&matches, "prefix"));
    }

    #[test]
    fn faults_in_pflags_words() {
        let fault = |args: &[&str]| parse(args).expect_err("is wrong");
        assert_eq!(fault(&["--foo"]), "unknown flag: --foo");
        assert_eq!(fault(&["--foo=3"]), "unknown flag: --foo");
        assert_eq!(fault(&["-k"]), "unknown shorthand flag: 'k' in -k");
        assert_eq!(fault(&["--rev"]), "flag needs an argument: --rev");
        assert_eq!(
            fault(&["--rev=abc"]),
            "invalid argument \"abc\" for \"--rev\" flag: strconv.ParseInt: parsing \"abc\": invalid syntax"
        );
        assert_eq!(
            fault(&["--prefix=maybe"]),
            "invalid argument \"maybe\" for \"--prefix\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
    }
}
