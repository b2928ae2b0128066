//! The two drop-ins together: windlassctl against Windlass prints what etcdctl prints against etcd.
//!
//! Left out is what etcd itself changed after 3.5.1: its server asked for a token before it told whether authentication is in
//! force, and the sizes of its files are its own.

use std::path::{Path, PathBuf};

use crate::Programs;
use crate::compare::Compare::{self, All, Failure, NoDurations, NoIds};
use crate::compare::comparable;
use crate::etcd::Etcd;
use crate::protection;

/// The server that is built beside these tests.
fn windlass() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_windlassctl")).with_file_name("windlass");
    if !program.is_file() {
        assert!(std::env::var_os("CI").is_none(), "no windlass is built beside this test");
        eprintln!("skipped: no windlass is built beside this test: cargo build -p windlass");
        return None;
    }
    Some(program)
}

/// Runs the commands one after the other on both pairs.
fn compare(commands: &[(&[&str], &str, Compare)]) {
    let (Some(programs), Some(windlass)) = (Programs::find(), windlass()) else { return };
    let pairs = [
        (Etcd::start(&programs.etcd), programs.etcdctl.as_path()),
        (Etcd::start(&windlass), programs.windlassctl),
    ];
    let mut differences = Vec::new();
    for (args, input, how) in commands {
        let [wanted, got] = pairs
            .each_ref()
            .map(|(server, program)| comparable(&server.run(program, args, input), &server.endpoint, *how));
        if wanted != got {
            differences.push(format!(
                "{args:?}\n--- etcdctl on etcd:\n{wanted}\n--- windlassctl on Windlass:\n{got}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// Each command in each format that has one of its own.
fn in_formats<'a>(
    commands: &[&'a [&'a str]],
    formats: &[&'a str],
    how: Compare,
) -> Vec<(Vec<&'a str>, Compare)> {
    let mut all = Vec::new();
    for args in commands {
        for format in formats {
            all.push(([*args, &["-w", format]].concat(), how));
        }
    }
    all
}

#[test]
fn users_and_roles_look_the_same_on_both() {
    // 3.5.1 let any user compact.
    let commands = protection::USERS.iter().filter(|(args, _)| !args.contains(&"compaction"));
    let commands: Vec<_> = commands.map(|(args, input)| (*args, *input, All)).collect();
    compare(&commands);
}

#[test]
fn users_and_roles_look_the_same_in_every_format() {
    const ROOT: [&str; 2] = ["--user", "root:rp"];
    let mut all: Vec<(Vec<&str>, &str, Compare)> = Vec::new();
    let formats = ["simple", "json", "fields", "table", "protobuf"];
    let add = |all: &mut Vec<(Vec<&'static str>, &'static str, Compare)>, args: &[&'static str]| {
        all.push((args.to_vec(), "", All));
    };
    for args in [
        &["user", "add", "root:rp"][..],
        &["role", "add", "root"],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "u:up"],
        &["user", "add", "bare", "--no-password"],
        &["role", "add", "r"],
        &["role", "add", "s"],
        &["user", "grant-role", "u", "r"],
        &["user", "grant-role", "u", "s"],
        &["role", "grant-permission", "r", "read", "a"],
        &["role", "grant-permission", "r", "write", "b", "c"],
        &["role", "grant-permission", "r", "readwrite", "p/", "--prefix"],
        &["role", "grant-permission", "s", "readwrite", "q", "--from-key"],
        &["role", "grant-permission", "s", "read", "", "--prefix"],
        &["role", "grant-permission", "s", "bogus", "x"],
    ] {
        add(&mut all, args);
    }
    let shown: &[&[&str]] = &[
        &["user", "list"],
        &["user", "get", "u"],
        &["user", "get", "u", "--detail"],
        &["user", "get", "none"],
        &["role", "list"],
        &["role", "get", "r"],
        &["role", "get", "s"],
        &["role", "get", "none"],
        &["user", "add", "u:x"],
        &["role", "add", "r"],
        &["user", "grant-role", "none", "r"],
        &["user", "grant-role", "u", "none"],
        &["user", "revoke-role", "bare", "r"],
        &["user", "delete", "none"],
        &["role", "delete", "none"],
        &["role", "revoke-permission", "r", "none"],
        &["auth", "disable"],
    ];
    for (args, how) in in_formats(shown, &formats, NoIds) {
        all.push((args, "", how));
    }
    add(&mut all, &["auth", "enable"]);
    for args in shown.iter().filter(|args| args[0] != "auth") {
        all.push(([&ROOT[..], args].concat(), "", All));
        all.push(([&["--user", "u:up"][..], args].concat(), "", All));
        all.push((args.to_vec(), "", All));
    }
    for args in [
        &["--user", "root:rp", "user", "delete", "root"][..],
        &["--user", "root:rp", "role", "delete", "root"],
        &["--user", "root:rp", "user", "revoke-role", "root", "root"],
        &["--user", "root:rp", "role", "revoke-permission", "r", "b", "c"],
        &["--user", "root:rp", "role", "delete", "r"],
        &["--user", "root:rp", "user", "get", "u"],
        &["--user", "root:rp", "user", "passwd", "u", "--interactive=false"],
        &["--user", "root:rp", "user", "delete", "u"],
        &["--user", "root:rp", "auth", "status"],
        &["--user", "root:rp", "auth", "disable"],
        &["auth", "status"],
        &["auth", "disable"],
    ] {
        let input = if args.contains(&"passwd") { "np\n" } else { "" };
        all.push((args.to_vec(), input, All));
    }
    let borrowed: Vec<_> = all.iter().map(|(args, input, how)| (&args[..], *input, *how)).collect();
    compare(&borrowed);
}

#[test]
fn everything_else_looks_the_same_on_both() {
    let formats = ["simple", "json", "fields", "protobuf"];
    let keys: &[&[&str]] = &[
        &["put", "a", "1"],
        &["put", "a", "2", "--prev-kv"],
        &["put", "a", "--ignore-value", "--lease", "99"],
        &["get", "a"],
        &["get", "", "--prefix", "--keys-only"],
        &["get", "a", "--rev", "99"],
        &["del", "a", "--prev-kv"],
        &["del", "a"],
        &["compaction", "99"],
        &["lease", "timetolive", "99"],
        &["lease", "revoke", "99"],
        &["lease", "list"],
        &["member", "list"],
        &["member", "remove", "99"],
        &["member", "promote", "99"],
        &["member", "update", "99", "--peer-urls", "http://127.0.0.1:2"],
        &["alarm", "list"],
        &["move-leader", "99"],
    ];
    let mut all: Vec<(Vec<&str>, &str, Compare)> = Vec::new();
    for (args, how) in in_formats(keys, &formats, NoIds) {
        // etcd 3.5.1 may never answer two changes of members in a row.
        if args[0] == "member" {
            all.push((vec!["put", "between", "1"], "", All));
        }
        all.push((args, "", how));
    }
    for (args, input, how) in [
        (&["txn"][..], "mod(\"k\") = \"0\"\n\nput k v\nget k\n\nget k\n", All),
        (&["txn", "-w", "json"], "mod(\"k\") = \"0\"\n\nput k v\n\nget k\ndel k\n", NoIds),
        (&["compaction", "3"], "", All),
        (&["compaction", "3"], "", All),
        (&["defrag"], "", All),
        (&["endpoint", "health"], "", NoDurations),
        (&["alarm", "disarm"], "", All),
        (&["lease", "grant", "x"], "", Failure),
        (&["lease", "grant", "100", "-w", "protobuf"], "", All),
        (&["watch"], "", Failure),
    ] {
        all.push((args.to_vec(), input, how));
    }
    let borrowed: Vec<_> = all.iter().map(|(args, input, how)| (&args[..], *input, *how)).collect();
    compare(&borrowed);
}

/// A verdict without what is measured, and whether it is a good one.
fn shape(output: &std::process::Output, endpoint: &str) -> (String, bool) {
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "\n").replace(endpoint, "ENDPOINT");
    // etcdctl draws its progress on standard output, also where nobody looks, and may go on in the line of the drawing.
    let lines = text.lines().map(|line| &line[line.find("Compacting").unwrap_or(0)..]);
    let lines = lines.filter(|line| !line.is_empty() && !line.contains('%'));
    let shape = lines.map(|line| line.replace(|c: char| c.is_ascii_digit() || c == '.', "") + "\n");
    (shape.collect(), output.status.success())
}

/// A minute of writes on each pair at the same time.
#[test]
fn a_check_of_performance_looks_the_same_on_both() {
    let (Some(programs), Some(windlass)) = (Programs::find(), windlass()) else { return };
    let pairs = [
        (Etcd::start(&programs.etcd), programs.etcdctl.as_path()),
        (Etcd::start(&windlass), programs.windlassctl),
    ];
    let args = ["check", "perf", "--load", "s", "--auto-compact", "--auto-defrag"];
    let started = pairs.each_ref().map(|(server, program)| server.spawn(program, &args));
    let ended = started.map(|process| process.wait_with_output().expect("it ends"));
    for output in &ended {
        let text = String::from_utf8_lossy(&output.stdout);
        let verdicts: Vec<_> = text.lines().rev().take(4).collect();
        let all_passed = verdicts.len() == 4 && verdicts.iter().all(|line| line.starts_with("PASS"));
        assert_eq!(output.status.code(), Some(i32::from(!all_passed)), "{output:?}");
    }
    let [wanted, got] = [0, 1].map(|side| shape(&ended[side], &pairs[side].0.endpoint));
    // On a busy machine one of them may be too slow for a good verdict; then its lines are others.
    if wanted.1 && got.1 {
        assert_eq!(wanted.0, got.0);
    }
}
