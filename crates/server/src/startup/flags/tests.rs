//! The command line and the environment as a whole.

use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn variables(text: &str) -> Vec<(String, String)> {
    let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.split_whitespace().filter_map(pair).collect()
}

fn start(arguments: &str, environment: &str) -> Result<Values, Error> {
    match parse(&words(arguments), &variables(environment))? {
        Command::Start(values) => Ok(values),
        other => panic!("{other:?} instead of a start"),
    }
}

fn usage(text: &str) -> Error {
    Error::Usage(text.to_owned())
}

fn configuration(text: &str) -> Error {
    Error::Configuration(text.to_owned())
}

#[test]
fn every_spelling_of_a_flag_sets_it() {
    for arguments in ["-name x", "--name x", "-name=x", "--name=x", "--name y --name=x", "--name=x --"] {
        assert_eq!(start(arguments, "").unwrap().text("name"), "x", "{arguments}");
    }
    assert_eq!(start("--name=", "").unwrap().text("name"), "");
    assert_eq!(start("--initial-cluster=a=http://h:1", "").unwrap().text("initial-cluster"), "a=http://h:1");
    for (arguments, value) in [("--pre-vote", true), ("-pre-vote=false", false), ("--pre-vote=F", false)] {
        assert_eq!(start(arguments, "").unwrap().boolean("pre-vote"), value);
    }
    assert_eq!(start("", "").unwrap().text("name"), "default");
}

#[test]
fn a_wrong_command_line_gets_etcds_text() {
    for (arguments, text) in [
        ("--nosuch", "flag provided but not defined: -nosuch"),
        ("--nosuch=1", "flag provided but not defined: -nosuch"),
        ("--name", "flag needs an argument: -name"),
        ("---name", "bad flag syntax: ---name"),
        ("-=x", "bad flag syntax: -=x"),
        ("--heartbeat-interval=x", "invalid value \"x\" for flag -heartbeat-interval: parse error"),
        ("--grpc-keepalive-min-time=5", "invalid value \"5\" for flag -grpc-keepalive-min-time: parse error"),
        ("--pre-vote=maybe", "invalid boolean value \"maybe\" for -pre-vote: parse error"),
        ("--version=maybe", "invalid boolean value \"maybe\" for -version: parse error"),
        ("--max-request-bytes=-1", "invalid value \"-1\" for flag -max-request-bytes: parse error"),
        (
            "--initial-cluster-state=foo",
            "invalid value \"foo\" for flag -initial-cluster-state: invalid value",
        ),
        (
            "--listen-client-urls=foo",
            "invalid value \"foo\" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: foo",
        ),
    ] {
        assert_eq!(start(arguments, "").unwrap_err(), usage(text), "{arguments}");
    }
    for (arguments, text) in [
        ("extra", "'extra' is not a valid flag"),
        ("--pre-vote maybe", "'maybe' is not a valid flag"),
        ("-- --name=x", "'--name=x' is not a valid flag"),
        ("- x", "'-' is not a valid flag"),
    ] {
        assert_eq!(start(arguments, "").unwrap_err(), configuration(text), "{arguments}");
    }
}

#[test]
fn help_and_version_replace_the_start() {
    for arguments in ["-h", "--help", "--name x -h", "--help=false"] {
        assert!(matches!(parse(&words(arguments), &[]), Ok(Command::Help)), "{arguments}");
    }
    for arguments in ["--version", "-version=true --name x"] {
        assert!(matches!(parse(&words(arguments), &[]), Ok(Command::Version)), "{arguments}");
    }
    assert!(matches!(parse(&words("--version=false"), &[]), Ok(Command::Start(_))));
    assert!(parse(&words("--nosuch --help"), &[]).is_err(), "the first fault counts");
}

#[test]
fn the_environment_fills_what_the_command_line_left_open() {
    let values = start("--pre-vote=false", "ETCD_NAME=x ETCD_DATA_DIR= WINDLASS_SHARDS=3 PATH=/bin").unwrap();
    assert_eq!(values.text("name"), "x");
    assert_eq!(values.number("shards"), 3);
    assert!(!values.is_set("data-dir"));
    let used = |variable: &str, value: &str| Notice::UsedVariable {
        variable: variable.to_owned(),
        value: value.to_owned(),
    };
    assert_eq!(values.notices(), [used("ETCD_NAME", "x"), used("WINDLASS_SHARDS", "3")]);
}

#[test]
fn the_same_option_in_both_places_is_fatal_whatever_the_values() {
    let text = "conflicting environment variable \"ETCD_NAME\" is shadowed by corresponding command-line flag \
                (either unset environment variable or disable flag)";
    assert_eq!(start("--name=x", "ETCD_NAME=x").unwrap_err(), configuration(text));
    assert!(start("--name=x", "ETCD_NAME=").is_ok());
}

#[test]
fn wrong_and_unknown_variables_are_named() {
    assert_eq!(
        start("", "ETCD_PRE_VOTE=zzz").unwrap_err(),
        configuration("invalid value \"zzz\" for ETCD_PRE_VOTE: parse error")
    );
    let values = start("", "ETCD_NOSUCH=1 ETCDCTL_API=3 ETCD_VERSION=v3").unwrap();
    let unknown = |variable: &str| Notice::UnknownVariable { variable: variable.to_owned() };
    assert_eq!(values.notices(), [unknown("ETCD_NOSUCH=1"), unknown("ETCD_VERSION=v3")]);
}

#[test]
fn what_has_no_meaning_is_noted_once_and_what_protects_is_refused() {
    let values = start("--snapshot-count=5 --snapshot-count=6", "").unwrap();
    assert!(matches!(values.notices(), [Notice::NoMeaning { flag: "snapshot-count", .. }]));
    for arguments in ["--unsafe-no-fsync", "--discovery=x", "--unsafe-no-fsync=true"] {
        let Err(Error::Configuration(text)) = start(arguments, "") else { panic!("{arguments} was taken") };
        let name = arguments.split('=').next().unwrap();
        assert!(text.starts_with(&format!("{name} is not supported in this version: ")), "{text}");
    }
    assert!(start("", "ETCD_UNSAFE_NO_FSYNC=true").is_err());
    for arguments in ["--unsafe-no-fsync=false", "--discovery=", "--unsafe-no-fsync=0"] {
        assert!(start(arguments, "").unwrap().notices().is_empty(), "{arguments}");
    }
}

#[test]
fn experimental_spellings_mean_the_same() {
    let values = start("--experimental-warning-apply-duration=7s", "").unwrap();
    assert_eq!(values.duration("warning-apply-duration").as_secs(), 7);
    let values = start("", "ETCD_EXPERIMENTAL_WARNING_APPLY_DURATION=7s").unwrap();
    assert_eq!(values.duration("warning-apply-duration").as_secs(), 7);
    assert!(start("--experimental-name=x", "").is_err());
}

#[test]
fn a_file_replaces_everything_else() {
    let of = |arguments: &str, environment: &str| match parse(&words(arguments), &variables(environment)) {
        Ok(Command::File(path)) => path,
        other => panic!("{other:?} instead of a file"),
    };
    assert_eq!(of("--config-file=c --name=x --unsafe-no-fsync", "ETCD_NAME=y"), "c");
    assert_eq!(of("", "ETCD_CONFIG_FILE=d"), "d");
    assert_eq!(of("--config-file c", "ETCD_CONFIG_FILE=d"), "c");
    assert!(parse(&words("--config-file=c --nosuch"), &[]).is_err(), "the command line must be one");
    assert!(matches!(parse(&words("--config-file="), &[]), Ok(Command::Start(_))));
}

#[test]
fn feature_gates_are_known_and_told_of() {
    let values = start("--feature-gates=InitialCorruptCheck=true,LeaseCheckpoint=false", "").unwrap();
    assert!(
        matches!(values.notices(), [Notice::Gate { gate: "InitialCorruptCheck", .. }]),
        "{:?}",
        values.notices()
    );
    assert_eq!(
        start("--feature-gates=Foo=true", "").unwrap_err(),
        usage("invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo")
    );
}

#[test]
fn texts_are_generated() {
    assert!(
        matches!(parse(&words("--generate man"), &[]), Ok(Command::Generated(text)) if text.starts_with(".TH"))
    );
    assert!(parse(&words("--generate=x"), &[]).is_err() && parse(&words("--generate"), &[]).is_err());
}
