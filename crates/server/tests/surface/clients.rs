//! Stock clients of other languages, against a member and against a real etcd.
//!
//! `WINDLASS_PYTHON` names a Python that has the packages of `.ci/clients.txt`; without it the test says so and passes.
//! What the clients do, and what they leave out, is printed by `tests/clients/python_clients.py`.

use std::path::Path;
use std::process::Command;

use crate::process::{Launch, Member, Scratch, etcd_folder};

fn run(python: &Path, member: &Member) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python_clients.py");
    let (host, port) = member.endpoint().split_once(':').expect("an address");
    let output = Command::new(python).args([script, host, port]).output().expect("the Python runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{text}");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn python_clients_find_what_they_find_in_etcd() {
    let Some(python) = std::env::var_os("WINDLASS_PYTHON") else {
        eprintln!("skipped: WINDLASS_PYTHON does not name a Python with the packages of .ci/clients.txt");
        return;
    };
    let python = Path::new(&python);
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let parts = run(python, &member);
    assert!(!parts.contains("skipped"), "{parts}");
    if let Some(etcd) = etcd_folder() {
        let theirs = Scratch::new();
        let etcd = Launch::new(theirs.path()).program(&etcd.join("etcd")).member();
        let parts = run(python, &etcd);
        assert!(!parts.contains("skipped"), "{parts}");
    }
}
