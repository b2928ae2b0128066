//! Stock clients of other languages, against a member and against a real etcd.
//!
//! `WINDLASS_PYTHON` names a Python that has the packages of `.ci/clients.txt`, `WINDLASS_NODE_MODULES` a folder with those of
//! `tests/clients/node/package.json`, `WINDLASS_RUST_CLIENT` the program that is built of `tests/clients/rust`; without one its
//! test says so and passes. What the clients do, and what they leave out, is printed by the scripts in `tests/clients`.

use std::path::Path;
use std::process::Command;

use crate::process::{Launch, Member, Scratch, etcd_folder};

/// Where the scripts are.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Runs a script, which must find everything.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{text}");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("skipped"), "{text}");
}

/// Runs a script against a member, and against a real etcd where there is one.
fn run_on_both(script: impl Fn(&Member)) {
    let folder = Scratch::new();
    script(&Launch::new(folder.path()).member());
    if let Some(etcd) = etcd_folder() {
        let theirs = Scratch::new();
        script(&Launch::new(theirs.path()).program(&etcd.join("etcd")).member());
    }
}

#[test]
fn python_clients_find_what_they_find_in_etcd() {
    let Some(python) = std::env::var_os("WINDLASS_PYTHON") else {
        eprintln!("skipped: WINDLASS_PYTHON does not name a Python with the packages of .ci/clients.txt");
        return;
    };
    run_on_both(|member| {
        let (host, port) = member.endpoint().split_once(':').expect("an address");
        let script = Path::new(SCRIPTS).join("python_clients.py");
        run(Command::new(&python).arg(script).args([host, port]));
    });
}

#[test]
fn the_node_client_finds_what_it_finds_in_etcd() {
    let Some(modules) = std::env::var_os("WINDLASS_NODE_MODULES") else {
        eprintln!("skipped: WINDLASS_NODE_MODULES does not name a folder with Node's package `etcd3`");
        return;
    };
    run_on_both(|member| {
        let script = Path::new(SCRIPTS).join("node/node_clients.js");
        run(Command::new("node").arg(script).arg(member.endpoint()).env("NODE_PATH", &modules));
    });
}

#[test]
fn the_rust_client_finds_what_it_finds_in_etcd() {
    let Some(program) = std::env::var_os("WINDLASS_RUST_CLIENT") else {
        eprintln!("skipped: WINDLASS_RUST_CLIENT does not name the program of tests/clients/rust");
        return;
    };
    run_on_both(|member| run(Command::new(&program).arg(member.endpoint())));
}
