//! Stock etcdctls against Windlass: what they print and how they exit must be what they do against a real etcd; and
//! windlassctl must print and exit as etcdctl does.
//!
//! `WINDLASS_ETCD_DIR` names a folder with `etcd` and `etcdctl` 3.5.1, `WINDLASS_ETCDCTL34` an `etcdctl` 3.4, such as
//! Debian's. What is missing is named and its tests pass.

mod auth;
#[path = "../process/mod.rs"]
mod process;
mod run;
mod script;

use std::path::{Path, PathBuf};

use process::{Launch, Scratch};
use run::{Outcome, run};
use script::Command;

/// Both servers are told to be reached here, where nobody is: their ids come from it and are the same.
const ADVERTISED: &[&str] = &[
    "--advertise-client-urls=http://127.0.0.1:1",
    "--initial-advertise-peer-urls=http://127.0.0.1:2",
    "--initial-cluster=default=http://127.0.0.1:2",
];

fn windlass() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_windlass"))
}

/// Runs the whole script, beginning with an empty store.
fn outcomes(server: &Path, program: &Path) -> Vec<Outcome> {
    let folder = Scratch::new();
    let server = Launch::new(folder.path()).program(server);
    let server = ADVERTISED.iter().fold(server, |server, flag| server.flag(*flag)).member();
    script::commands().map(|(args, input)| run(program, &server, args, input)).collect()
}

/// Runs two programs, each against a server of its own, and fails where `comparable` tells them apart.
fn compare(wanted: [&Path; 2], tested: [&Path; 2], comparable: Comparable) {
    let (wanted, tested) = std::thread::scope(|scope| {
        let wanted = scope.spawn(|| outcomes(wanted[0], wanted[1]));
        let tested = outcomes(tested[0], tested[1]);
        (wanted.join().expect("no panic"), tested)
    });
    let differences = differences(&wanted, &tested, comparable);
    assert!(differences.is_empty(), "{} commands differ:\n{}", differences.len(), differences.join("\n\n"));
}

/// What is compared of a command's outcome; `None` if it is not to be compared.
type Comparable = fn(&Command, &Outcome) -> Option<String>;

fn differences(wanted: &[Outcome], tested: &[Outcome], comparable: Comparable) -> Vec<String> {
    let pairs = script::commands().zip(wanted.iter().zip(tested));
    let difference = |(command, (wanted, tested)): (&Command, (&Outcome, &Outcome))| {
        let (wanted, tested) = (comparable(command, wanted)?, comparable(command, tested)?);
        let (args, input) = command;
        (wanted != tested)
            .then(|| format!("{args:?} with input {input:?}\nwanted: {wanted}\ntested: {tested}"))
    };
    pairs.filter_map(difference).collect()
}

/// Where windlassctl does not do what etcdctl 3.5.1 does: the command's words, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("txn lease(", "etcdctl 3.4 and 3.5 panic where a lease is compared"),
    ("member list --hex -w json", "etcdctl 3.5 misspells `clientURLs` there"),
    ("endpoint status -w json", "etcdctl 3.5 does not know the fields that 3.6 added"),
    ("alarm", "windlassctl has no such command"),
    ("nonsense", "the error names the program"),
];

/// Everything that an etcdctl shows.
fn everything(_: &Command, Outcome { stdout, stderr, code }: &Outcome) -> Option<String> {
    Some(format!("exit {code:?}\n{stdout}\n{stderr}"))
}

/// Standard output in the formats `simple` and `json`, the exit code and the `Error:` line. etcdctl shows its help and
/// its client's log besides.
fn simple_and_json(command: &Command, outcome: &Outcome) -> Option<String> {
    let (args, input) = command;
    let words = format!("{} {input}", args.join(" "));
    if DIFFERENCES.iter().any(|(beginning, _)| words.starts_with(beginning)) {
        return None;
    }
    let format = args.iter().position(|arg| *arg == "-w").and_then(|at| args.get(at + 1));
    if !matches!(format, None | Some(&"simple" | &"json")) {
        return None;
    }
    let error = outcome.stderr.lines().rfind(|line| line.starts_with("Error: ")).unwrap_or_default();
    let is_misuse = outcome.code == Some(1) && error.contains("flag");
    let shown = if is_misuse { "" } else { outcome.stdout.as_str() };
    Some(format!("exit {:?}\n{shown}\n{error}", outcome.code))
}

fn stock_etcdctl_prints_the_same(etcdctl: &Path, etcd_folder: &Path) {
    let etcd = etcd_folder.join("etcd");
    compare([&etcd, etcdctl], [windlass(), etcdctl], everything);
}

#[test]
fn etcdctl_3_5_prints_the_same() {
    let Some(folder) = process::etcd_folder() else { return };
    stock_etcdctl_prints_the_same(&folder.join("etcdctl"), &folder);
}

#[test]
fn etcdctl_3_4_prints_the_same() {
    let Some(folder) = process::etcd_folder() else { return };
    let Some(etcdctl) = std::env::var_os("WINDLASS_ETCDCTL34").map(PathBuf::from) else {
        eprintln!("skipped: WINDLASS_ETCDCTL34 does not name an etcdctl 3.4");
        return;
    };
    stock_etcdctl_prints_the_same(&etcdctl, &folder);
}

/// windlassctl is another package's binary: it is there, and as new as this test, if that was built too, as with
/// `--workspace`.
#[test]
fn windlassctl_prints_the_same() {
    let Some(folder) = process::etcd_folder() else { return };
    let windlassctl = windlass().with_file_name("windlassctl");
    if !windlassctl.is_file() {
        eprintln!("skipped: {} is not built", windlassctl.display());
        return;
    }
    let etcdctl = folder.join("etcdctl");
    compare([windlass(), &etcdctl], [windlass(), &windlassctl], simple_and_json);
}

/// The canary: one word more, another code or another error must be found.
#[test]
fn differences_are_found() {
    let outcome = |stdout: &str, stderr: &str, code| {
        vec![Outcome { stdout: stdout.into(), stderr: stderr.into(), code: Some(code) }]
    };
    let wanted = outcome("OK", "Error: x", 0);
    let tested = [outcome("OK.", "Error: x", 0), outcome("OK", "Error: y", 0), outcome("OK", "Error: x", 1)];
    for comparable in [everything as Comparable, simple_and_json] {
        assert!(differences(&wanted, &wanted, comparable).is_empty());
        assert!(tested.iter().all(|tested| differences(&wanted, tested, comparable).len() == 1));
    }
}
