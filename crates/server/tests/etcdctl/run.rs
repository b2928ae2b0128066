//! One command against one server, and what of its outcome is compared.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use prost::Message;
use windlass_api::etcdserverpb::ResponseHeader;

use crate::process::Member;

/// Digits that only an id has: other numbers of a status are smaller.
const ID_DIGITS_MIN: usize = 15;

/// What a command printed and how it ended.
pub struct Outcome {
    /// Standard output, made comparable.
    pub stdout: String,
    /// Standard error, made comparable.
    pub stderr: String,
    /// The exit code.
    pub code: Option<i32>,
}

/// Runs `program` with `args` against `server`.
pub fn run(program: &Path, server: &Member, args: &[&str], input: &str) -> Outcome {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", server.endpoint())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    // It may fail before it reads its input.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(server.endpoint(), "ENDPOINT");
    let stdout = match args {
        [_, .., "-w", "protobuf"] => protobuf_without_term(&stdout),
        ["endpoint", "status", ..] => without_padding(&without_state(&text(&stdout))),
        ["endpoint", ..] => without_padding(&without_durations(&text(&stdout))),
        _ => without_term(&text(&stdout)),
    };
    let stderr = without_durations(&without_log_fields(without_stack(&text(&stderr))));
    Outcome { stdout, stderr, code: status.code() }
}

/// Hides the term, in JSON and in the format `fields`: how many elections there were is a matter of chance.
fn without_term(text: &str) -> String {
    ["\"raft_term\":", "\"RaftTerm\" : "].iter().fold(text.to_owned(), |text, name| {
        let mut parts = text.split(name);
        let first = parts.next().unwrap_or_default().to_owned();
        let digits = |c: char| c.is_ascii_digit();
        parts.fold(first, |out, part| format!("{out}{name}N{}", part.trim_start_matches(digits)))
    })
}

/// Hides the term of a response, which is printed as its bytes.
fn protobuf_without_term(bytes: &[u8]) -> String {
    // Every response begins with its header, field 1, which is shorter than 128 bytes.
    let header = |bytes: &[u8]| {
        let (prefix, rest) = bytes.split_first_chunk::<2>()?;
        let (header, rest) = (prefix[0] == 0x0a).then(|| rest.split_at_checked(prefix[1].into()))??;
        Some((ResponseHeader::decode(header).ok()?, rest.to_vec()))
    };
    match header(bytes) {
        Some((mut header, rest)) => {
            header.raft_term = 0;
            format!("{header:?} {}", rest.escape_ascii())
        }
        None => bytes.escape_ascii().to_string(),
    }
}

/// Hides what a status says of one server at one time: its version, sizes, terms and indexes. Ids stay: they come from
/// the advertised addresses, which are the same.
fn without_state(text: &str) -> String {
    let is_number = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.len() < ID_DIGITS_MIN
            && word.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let is_separator = |c: char| " ,|\n\"}:".contains(c);
    let hidden = |word: &str| match word.trim_end_matches(is_separator) {
        core if is_number(core) => word.replacen(core, "N", 1),
        core @ ("B" | "kB" | "MB") => word.replacen(core, "SIZE", 1),
        _ => word.to_owned(),
    };
    text.split_inclusive(is_separator).map(hidden).collect()
}

/// Makes the cells and lines of a table equally wide.
fn without_padding(text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    chars.dedup_by(|a, b| a == b && (*a == ' ' || *a == '-'));
    chars.into_iter().collect()
}

/// Leaves of a panic of etcdctl what it says.
fn without_stack(text: &str) -> &str {
    match text.strip_prefix("panic: ") {
        Some(_) => text.lines().next().unwrap_or_default(),
        None => text,
    }
}

/// Hides when a line of etcdctl's own log was written, and the address of its client in memory.
fn without_log_fields(text: &str) -> String {
    ["\"ts\":\"", "\"target\":\""].iter().fold(text.to_owned(), |text, name| {
        let mut parts = text.split(name);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |out, part| {
            format!(
                "{out}{name}X{}",
                part.split_once('"').map_or(String::new(), |(_, rest)| format!("\"{rest}"))
            )
        })
    })
}

/// Replaces `1.234ms` by `T`.
fn without_durations(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_digit() || ".µmns".contains(c);
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !is_part(c)) {
        let core = word.trim_end_matches(|c: char| !is_part(c));
        let is_duration = core.starts_with(|c: char| c.is_ascii_digit())
            && core.ends_with('s')
            && core.chars().filter(char::is_ascii_digit).count() > 1;
        out.push_str(if is_duration { "T" } else { core });
        out.push_str(&word[core.len()..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_term_is_hidden() {
        let json = r#"{"header":{"cluster_id":12,"revision":3,"raft_term":2},"count":1}"#;
        let hidden = r#"{"header":{"cluster_id":12,"revision":3,"raft_term":N},"count":1}"#;
        assert_eq!(without_term(json), hidden);
        assert_eq!(without_term("\"RaftTerm\" : 7\n\"Revision\" : 3"), "\"RaftTerm\" : N\n\"Revision\" : 3");
    }

    #[test]
    fn only_the_term_is_hidden_in_bytes() {
        let put = |raft_term, revision| {
            let header = ResponseHeader { cluster_id: 1, member_id: 2, revision, raft_term };
            let put = windlass_api::etcdserverpb::PutResponse { header: Some(header), prev_kv: None };
            protobuf_without_term(&put.encode_to_vec())
        };
        assert_eq!(put(1, 7), put(2, 7));
        assert_ne!(put(1, 7), put(1, 8));
    }

    #[test]
    fn the_state_of_a_status_is_hidden() {
        assert_eq!(
            without_state("E, 43ccf13c9d84d8d2, 3.5.1, 25 kB, true, false, 2, 8, 8, \n"),
            without_state("E, 43ccf13c9d84d8d2, 3.6.14, 132 B, true, false, 1, 15, 15, \n")
        );
        assert_ne!(without_state("E, 43ccf13c9d84d8d2, true"), without_state("E, 43ccf13c9d84d8d2, false"));
        assert_ne!(without_state("E, 43ccf13c9d84d8d2, true"), without_state("E, 53ccf13c9d84d8d2, true"));
        assert_eq!(
            without_padding(&without_state("+----+------+\n|  1 | 2 kB |\n+----+------+\n")),
            without_padding(&without_state("+---+-------+\n| 27 | 24 MB |\n+----+--+\n"))
        );
        let json = |id, size| without_state(&format!("{{\"ID\":{id},\"dbSize\":{size}}}"));
        assert_eq!(json("4885544938433206482", "7"), json("4885544938433206482", "20480"));
        assert_ne!(json("4885544938433206482", "7"), json("4885544938433206483", "7"));
    }

    #[test]
    fn the_fields_of_a_log_line_are_hidden() {
        let line = |ts, error| {
            without_log_fields(&format!(
                r#"{{"level":"warn","ts":"{ts}","target":"{ts}","error":"{error}"}}"#
            ))
        };
        assert_eq!(line("1", "x"), line("22", "x"));
        assert_ne!(line("1", "x"), line("1", "y"));
    }

    #[test]
    fn durations_are_hidden_and_nothing_else() {
        assert_eq!(
            without_durations("took = 1.838972ms\n\"took\":\"950.1µs\"}"),
            "took = T\n\"took\":\"T\"}"
        );
        assert_eq!(
            without_durations("127.0.0.1:57177 is healthy, 3 times"),
            "127.0.0.1:57177 is healthy, 3 times"
        );
    }
}
