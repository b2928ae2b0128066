//! Stock etcdctls against Windlass: what they print and how they exit must be what they do against a real etcd.
//!
//! `WINDLASS_ETCD_DIR` names a folder with `etcd` and `etcdctl` 3.5; an `etcdctl` in the `PATH`, such as Debian's 3.4,
//! is run too. Without the variable the test says so and passes.

#[path = "differential/server.rs"]
mod server;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server::Server;

/// Arguments and standard input, run in this order.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["put", "a", "1"], ""),
    (&["put", "a", "2", "--prev-kv"], ""),
    (&["put", "b", "x\"<>&ü", "-w", "json"], ""),
    (&["put", "c", "3", "-w", "fields"], ""),
    (&["put", "d"], "from standard input\n"),
    (&["put", "e", ""], ""),
    (&["put", "e", "--ignore-value", "--prev-kv"], ""),
    (&["put", "none", "--ignore-value"], ""),
    (&["put", "a", "v", "--lease", "7b"], ""),
    (&["put", "", "v"], ""),
    (&["get", "a"], ""),
    (&["get", "b", "--hex"], ""),
    (&["get", "b", "-w", "json"], ""),
    (&["get", "b", "-w", "fields"], ""),
    (&["get", "none", "-w", "json"], ""),
    (&["get", "", "--prefix"], ""),
    (&["get", "", "--prefix", "-w", "json"], ""),
    (&["get", "b", "--from-key", "--limit", "2", "-w", "json"], ""),
    (&["get", "a", "c"], ""),
    (&["get", "a", "z", "--order", "DESCEND", "--keys-only"], ""),
    (&["get", "a", "z", "--sort-by=MODIFY", "--order=DESCEND", "--limit=2"], ""),
    (&["get", "a", "z", "--sort-by=VERSION", "--limit=3"], ""),
    (&["get", "a", "--rev", "2"], ""),
    (&["get", "a", "--rev", "1000"], ""),
    (&["get", "a", "--consistency", "s"], ""),
    (&["get", "a", "--print-value-only"], ""),
    (&["get", "a", "z", "--count-only", "-w", "fields"], ""),
    (&["get", ""], ""),
    (&["txn"], "mod(\"a\") > \"0\"\n\nput a \"new val\"\nget a\ndel none\n\nput b x\n\n"),
    (&["txn"], "val(\"a\") = \"other\"\n\nput a 1\n\nput b x\nget a --prefix\n\n"),
    (&["txn", "-w", "json"], "c(\"a\") != \"0\"\n\nget a --prefix\nput x y --prev-kv\ndel b --prev-kv\n\n\n"),
    (&["txn", "-w", "fields"], "ver(\"none\") = \"0\"\n\nget a\nput x z --prev-kv\n\n\n"),
    (&["txn"], "\nput k 1\nput k 2\n\n\n"),
    (&["txn"], "\nget a --rev 1000\n\n\n"),
    (&["txn"], "\n\n\n"),
    (&["del", "none"], ""),
    (&["del", "none", "-w", "json"], ""),
    (&["del", "x", "--prev-kv"], ""),
    (&["del", "c", "e", "--prev-kv", "-w", "json"], ""),
    (&["get", "", "--prefix", "--rev", "6", "-w", "json"], ""),
    (&["compaction", "4"], ""),
    (&["compaction", "4"], ""),
    (&["compaction", "1000"], ""),
    (&["compaction", "--physical", "6"], ""),
    (&["get", "a", "--rev", "3"], ""),
    (&["get", "", "--prefix", "--rev", "6", "-w", "json"], ""),
    (&["del", "", "--prefix"], ""),
    (&["get", "", "--prefix", "-w", "json"], ""),
];

/// Fields of an answer that differ between any two servers, in JSON and in the format `fields`.
const IDENTITIES: &[&str] = &[
    "\"cluster_id\":",
    "\"member_id\":",
    "\"raft_term\":",
    "\"ClusterID\" : ",
    "\"MemberID\" : ",
    "\"RaftTerm\" : ",
];

/// What is compared of one command: standard output without identities, the exit code and the error.
fn outcome(etcdctl: &Path, server: &Server, args: &[&str], input: &str) -> String {
    let mut process = Command::new(etcdctl)
        .args(args)
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", server.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("etcdctl starts");
    // It may fail before it reads its input.
    let _ = process.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = process.wait_with_output().expect("etcdctl ends");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let error = errors.lines().rfind(|line| line.starts_with("Error: ")).unwrap_or_default();
    let shown = without_identities(&String::from_utf8_lossy(&output.stdout));
    format!("exit {:?}, {error:?}\n{shown}", output.status.code())
}

/// Replaces the numbers after [`IDENTITIES`], but not their absence.
fn without_identities(text: &str) -> String {
    IDENTITIES.iter().fold(text.to_owned(), |text, name| {
        let mut parts = text.split(name);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |out, part| {
            format!("{out}{name}N{}", part.trim_start_matches(|c: char| c.is_ascii_digit()))
        })
    })
}

/// The etcdctl beside the real etcd, and another one in the `PATH`.
fn etcdctls(folder: &Path) -> Vec<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let in_path =
        std::env::split_paths(&paths).map(|folder| folder.join("etcdctl")).find(|path| path.is_file());
    [folder.join("etcdctl")].into_iter().chain(in_path).collect()
}

#[test]
fn stock_etcdctls_print_the_same() {
    let Some(folder) = std::env::var_os("WINDLASS_ETCD_DIR").map(PathBuf::from) else {
        eprintln!("skipped: WINDLASS_ETCD_DIR does not name a folder with etcd and etcdctl 3.5");
        return;
    };
    for etcdctl in etcdctls(&folder) {
        let etcd = Server::start(&folder.join("etcd"));
        let windlass = Server::start(Path::new(env!("CARGO_BIN_EXE_windlass")));
        eprintln!("{} against {} and {}", etcdctl.display(), etcd.name(), windlass.name());
        for (args, input) in COMMANDS {
            let wanted = outcome(&etcdctl, &etcd, args, input);
            let got = outcome(&etcdctl, &windlass, args, input);
            assert_eq!(got, wanted, "{args:?} with {input:?}, log of windlass: {}", windlass.log());
        }
    }
}

#[test]
fn only_identities_are_left_out() {
    let json = r#"{"header":{"cluster_id":12,"revision":3,"raft_term":2},"count":1}"#;
    assert_eq!(
        without_identities(json),
        r#"{"header":{"cluster_id":N,"revision":3,"raft_term":N},"count":1}"#
    );
    assert_eq!(
        without_identities("\"MemberID\" : 7\n\"Revision\" : 3"),
        "\"MemberID\" : N\n\"Revision\" : 3"
    );
}
