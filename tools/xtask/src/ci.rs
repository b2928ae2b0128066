//! `cargo xtask ci`: every check, one after the other, stopping at the first that fails.

use crate::{generate, layers, licences, tidy, workspace::Workspace};
use anyhow::{Result, ensure};
use std::{process::Command, time::Instant};

/// Which part of the checks to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Everything but the tests, for those who have run them already.
    WithoutTests,
}

type Check = fn(&Workspace) -> Result<()>;

/// The checks in order, the cheap ones first.
const CHECKS: &[(&str, Check)] = &[
    ("fmt", |workspace| cargo(workspace, &["fmt", "--all", "--check"], &[])),
    ("tidy", tidy::run),
    ("layers", layers::run),
    ("gen", |workspace| generate::run(workspace, generate::Mode::Check)),
    ("licences", licences::run),
    ("clippy", |workspace| {
        cargo(workspace, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
    }),
    ("doc", |workspace| {
        let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items"];
        cargo(workspace, &arguments, &[("RUSTDOCFLAGS", "-D warnings")])
    }),
    (TESTS[0], |workspace| cargo(workspace, &["test", "--workspace"], &[])),
    // Another build of the server: what is shipped has no fail points.
    (TESTS[1], |workspace| {
        let arguments =
            ["test", "-p", "windlass", "--features", "failpoints", "--lib", "--test", "failpoints"];
        cargo(workspace, &arguments, &[])
    }),
];
const TESTS: [&str; 2] = ["tests", "failpoints"];

/// Runs the checks and says how long each took.
pub fn run(workspace: &Workspace, scope: Scope) -> Result<()> {
    for (name, check) in CHECKS {
        if TESTS.contains(name) && scope == Scope::WithoutTests {
            continue;
        }
        eprintln!("== {name}");
        let start = Instant::now();
        check(workspace).map_err(|error| error.context((*name).to_owned()))?;
        eprintln!("   {name} took {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn cargo(workspace: &Workspace, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(&workspace.root)
        .status()?;
    ensure!(status.success(), "`cargo {}`: {status}", arguments.join(" "));
    Ok(())
}
