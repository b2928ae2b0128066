//! The programs that tests of the measuring tools start.

use std::path::PathBuf;

/// The program that a build leaves beside the tests; `cargo test --workspace` builds it.
pub fn windlass() -> Option<PathBuf> {
    let test = std::env::current_exe().expect("a test has a program");
    let program = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").join("windlass");
    found(program, "no windlass is built beside this test: cargo build -p windlass")
}

/// The program, if it is there; otherwise the test is to say that it skips, and to fail where CI runs it.
#[allow(dead_code, reason = "not each test that shares this file looks for others")]
pub fn found(program: PathBuf, otherwise: &str) -> Option<PathBuf> {
    if program.is_file() {
        return Some(program);
    }
    assert!(std::env::var_os("CI").is_none(), "{otherwise}");
    eprintln!("skipped: {otherwise}");
    None
}
