//! The torture command itself, for some seconds: it must find nothing, and say what it did; and where it is shown a store that
//! loses writes, the judge must say so (unit tests of the judge).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the command on the member's program that cargo has built beside it, in a folder of its own.
fn torture(arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_windlass-torture"));
    let member: PathBuf = program.with_file_name("windlass");
    assert!(member.is_file(), "build the member first: cargo build -p windlass");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    Command::new(program)
        .args(arguments)
        .arg("--folder")
        .arg(folder.path())
        .env("WINDLASS_PROGRAM", member)
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn twenty_seconds_of_torture_break_no_promise() {
    let output = torture(&["--duration=20s", "--seed=1"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("every promise was kept"), "{said}");
    assert!(said.contains(" calls, revision "), "{said}");
}

#[test]
fn two_hundred_changed_bytes_are_noticed_or_harmless() {
    let output = torture(&["corrupt", "--count=200", "--seed=1"]);
    let said = said(&output);
    assert!(output.status.success() && said.contains("\n0 wrong"), "{said}");
}

#[test]
fn wrong_flags_are_told_from_broken_promises() {
    assert_eq!(torture(&["--duration=soon"]).status.code(), Some(2));
}
