//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::exit::{BAD_ARGS, ERROR, Failure};
use crate::output::Format;
use crate::source::SnapshotFile;
use crate::{defrag, hashkv, restore, status};

/// The member's flags that `snapshot restore` takes and hands on, with what etcdutl says of them.
const MEMBER_FLAGS: [(&str, &str); 6] = [
    ("name", "Human-readable name for this member"),
    ("initial-cluster", "Initial cluster configuration for restore bootstrap"),
    (
        "initial-advertise-peer-urls",
        "List of this member's peer URLs to advertise to the rest of the cluster",
    ),
    ("initial-cluster-token", "Initial cluster token for the cluster during restore bootstrap"),
    ("data-dir", "Path to the output data directory"),
    ("wal-dir", "Path to the WAL directory, as the member will be given it (use --data-dir if none given)"),
];

/// Runs what the arguments say; what it prints.
///
/// # Errors
/// If it does not work.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<String, Failure> {
    let mut root = root();
    let matches = match root.try_get_matches_from_mut(arguments) {
        Ok(matches) => matches,
        Err(help) if matches!(help.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(help.to_string());
        }
        Err(error) => {
            let text = error.to_string();
            return Err(Failure::new(ERROR, text.trim_start_matches("error: ").trim_end()));
        }
    };
    let format = Format::parse(matches.get_one::<String>("write-out").expect("it has a default"))?;
    match matches.subcommand() {
        Some(("snapshot", matches)) => match matches.subcommand() {
            Some(("status", matches)) => status::status(&file(matches, "snapshot status")?, format),
            Some(("restore", matches)) => restore::restore(&restore_options(matches)?),
            _ => Ok(help(&mut root, &["snapshot"])),
        },
        Some(("hashkv", matches)) => {
            let revision = *matches.get_one("rev").expect("it has a default");
            hashkv::hash_kv(&file(matches, "hashkv")?, revision, format)
        }
        Some(("defrag", matches)) => {
            defrag::defrag(matches.get_one::<PathBuf>("data-dir").expect("it is required"))
        }
        Some(("version", _)) => Ok(version()),
        Some(("completion", matches)) => Ok(completion(*matches.get_one("shell").expect("it is required"))),
        _ => Ok(help(&mut root, &[])),
    }
}

fn root() -> Command {
    let format = Arg::new("write-out").short('w').long("write-out").global(true).default_value("simple");
    Command::new("windlass-utl")
        .about("Works on the files of a member that does not run, and on snapshots")
        .arg(format.help("set the output format (fields, json, simple, table)"))
        .subcommand(
            Command::new("snapshot")
                .about("Manages snapshots")
                .subcommand(
                    Command::new("status").about("Says what a snapshot file holds").arg(path_argument()),
                )
                .subcommand(restore_command()),
        )
        .subcommand(
            Command::new("hashkv")
                .about("Prints the hash of the keys of a snapshot file, as etcd's HashKV")
                .arg(path_argument())
                .arg(Arg::new("rev").long("rev").default_value("0").value_parser(value_parser!(i64))),
        )
        .subcommand(
            Command::new("defrag").about("Does nothing: a member gives space back while it runs").arg(
                Arg::new("data-dir").long("data-dir").required(true).value_parser(value_parser!(PathBuf)),
            ),
        )
        .subcommand(Command::new("version").about("Prints the version of windlass-utl"))
        .subcommand(
            Command::new("completion")
                .about("Writes a script that completes commands")
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell))),
        )
}

fn restore_command() -> Command {
    let switch = |name, help| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    let bump =
        Arg::new("bump-revision").long("bump-revision").default_value("0").value_parser(value_parser!(u64));
    let restore = Command::new("restore")
        .about("Restores a snapshot of etcd or of Windlass to the data folder of a member")
        .arg(path_argument())
        .arg(switch("skip-hash-check", "Ignore snapshot integrity hash value (required if copied from data directory)"))
        .arg(bump.help("How much to increase the latest revision after restore"))
        .arg(switch(
            "mark-compacted",
            "Mark the latest revision after restore as compacted (required if --bump-revision > 0, disallowed otherwise)",
        ));
    MEMBER_FLAGS.iter().fold(restore, |restore, (name, help)| {
        restore.arg(Arg::new(*name).long(*name).help(*help).action(ArgAction::Set))
    })
}

fn path_argument() -> Arg {
    Arg::new("filename").num_args(0..).value_parser(value_parser!(PathBuf))
}

/// The only argument of a command.
fn path(matches: &ArgMatches, command: &str) -> Result<PathBuf, Failure> {
    let mut paths = matches.get_many::<PathBuf>("filename").unwrap_or_default();
    match (paths.next(), paths.next()) {
        (Some(path), None) => Ok(path.clone()),
        _ => Err(Failure::new(BAD_ARGS, format!("{command} requires exactly one argument"))),
    }
}

fn file(matches: &ArgMatches, command: &str) -> Result<SnapshotFile, Failure> {
    SnapshotFile::open(&path(matches, command)?)
}

fn restore_options(matches: &ArgMatches) -> Result<restore::Options, Failure> {
    let given =
        |(name, _): &(&str, &str)| matches.get_one::<String>(name).map(|value| format!("--{name}={value}"));
    Ok(restore::Options {
        file: path(matches, "snapshot restore")?,
        flags: MEMBER_FLAGS.iter().filter_map(given).collect(),
        skip_hash_check: matches.get_flag("skip-hash-check"),
        bump_revision: *matches.get_one("bump-revision").expect("it has a default"),
        mark_compacted: matches.get_flag("mark-compacted"),
    })
}

fn help(root: &mut Command, below: &[&str]) -> String {
    let mut command = root;
    for name in below {
        command = command.find_subcommand_mut(name).expect("a command of the table");
    }
    command.render_help().to_string()
}

fn version() -> String {
    format!("windlass-utl version: {}\nAPI version: 3.6\n", env!("CARGO_PKG_VERSION"))
}

fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut root(), "windlass-utl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
