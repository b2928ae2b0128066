//! What is compared of two programs' outputs.

use std::process::Output;

/// How much of a command's output must be equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Standard output, the exit code and the `Error:` line.
    All,
    /// As `All`, with durations masked.
    NoDurations,
    /// As `All`, with ids that are made at random masked.
    NoIds,
    /// As `NoIds`, with what commas separate sorted: a cluster's members are in the order of their ids.
    InAnyOrder,
    /// The exit code and the `Error:` line: etcdctl prints its help as well.
    Failure,
    /// The exit code only: etcdctl says nothing useful, or dies of a panic.
    NotZero,
}

use Compare::{All, Failure, InAnyOrder, NoDurations, NoIds, NotZero};

/// What is compared of an output, as text.
pub fn comparable(output: &Output, endpoint: &str, compare: Compare) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    // The log lines of etcdctl's own client are not for users.
    let told: Vec<&str> =
        error.lines().filter(|line| line.contains("Error: ") || line.contains("unhealthy")).collect();
    let told = told.last().filter(|_| compare != NotZero).copied().unwrap_or_default();
    let shown = match compare {
        All => output.stdout.escape_ascii().to_string(),
        InAnyOrder => {
            let text = mask_ids(&output.stdout.escape_ascii().to_string());
            let mut parts: Vec<&str> = text.split(['"', '\\', ',']).collect();
            parts.sort_unstable();
            parts.join(",")
        }
        NoIds => mask_ids(&output.stdout.escape_ascii().to_string()),
        NoDurations => mask_durations(&String::from_utf8_lossy(&output.stdout)),
        Failure | NotZero => String::new(),
    };
    let code = output.status.code().map(|code| if compare == NotZero { i32::from(code != 0) } else { code });
    format!("exit {code:?}\n{told}\n{}", shown.replace(endpoint, "ENDPOINT").replace("\\n", "\n"))
}

/// Replaces `1.234ms` by `T`.
pub fn mask_durations(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_digit() || ".µmns".contains(c);
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !is_part(c)) {
        let core = word.trim_end_matches(|c: char| !is_part(c));
        let is_duration = core.starts_with(|c: char| c.is_ascii_digit()) && core.ends_with('s');
        out.push_str(if is_duration { "T" } else { core });
        out.push_str(&word[core.len()..]);
    }
    out
}

/// Replaces ids, of 12 digits or more in any base, by `ID`: they are random, so some are short, and padded to 16 places with spaces.
fn mask_ids(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let core = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        if core.len() >= 12 {
            for _ in core.len()..16 {
                if out.ends_with("  ") {
                    out.pop();
                }
            }
            out.push_str("ID");
        } else {
            out.push_str(core);
        }
        out.push_str(&word[core.len()..]);
    }
    out
}

#[test]
fn the_mask_hides_durations_only() {
    assert_eq!(mask_durations("took = 1.838972ms\n\"took\":\"950.1µs\"}"), "took = T\n\"took\":\"T\"}");
    assert_eq!(mask_durations("127.0.0.1:57177 is healthy, 3 times"), "127.0.0.1:57177 is healthy, 3 times");
}

#[test]
fn the_mask_hides_short_ids_with_their_padding() {
    for id in ["fedcba9876543210", " edcba9876543210", "  dcba9876543210"] {
        assert_eq!(
            mask_ids(&format!("Member {id} removed from 1 cluster")),
            "Member ID removed from 1 cluster"
        );
    }
}

#[test]
fn a_difference_is_seen() {
    let output = |code: i32, out: &str, err: &str| {
        let status = std::os::unix::process::ExitStatusExt::from_raw(code << 8);
        comparable(&Output { status, stdout: out.into(), stderr: err.into() }, "e", All)
    };
    let same = output(1, "a", "log\nError: x");
    assert_eq!(output(1, "a", "another log\nError: x"), same);
    for different in [output(0, "a", "Error: x"), output(1, "b", "Error: x"), output(1, "a", "Error: y")] {
        assert_ne!(different, same);
    }
}

#[test]
fn the_mask_hides_ids_only() {
    assert_eq!(
        mask_ids("Member acfedcb52407d4a2 added, ID:9137926572267418314 7b"),
        "Member ID added, ID:ID 7b"
    );
}
