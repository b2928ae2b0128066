//! Runs the same commands through etcdctl and windlassctl, each against an etcd of its own, and compares what they
//! print and how they exit.
//!
//! Needs a real etcd: `WINDLASS_ETCD_DIR` names a folder with `etcd` and `etcdctl` of version 3.5. Without it the test
//! says so and passes.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use windlass_api::etcdserverpb::StatusRequest;
use windlass_client::{Client, Config};

/// How much of a command's output must be equal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    /// Standard output, the exit code and the `Error:` line.
    All,
    /// As `All`, with durations masked.
    NoDurations,
    /// The exit code and the `Error:` line: etcdctl prints its help as well.
    Failure,
    /// The exit code only: etcdctl says nothing useful, or dies of a panic.
    NotZero,
}

use Compare::{All, Failure, NoDurations, NotZero};

/// Arguments, standard input, what to compare. The commands run in this order, so that later ones see earlier writes.
const COMMANDS: &[(&[&str], &str, Compare)] = &[
    (&["put", "a", "1"], "", All),
    (&["put", "a", "2", "--prev-kv"], "", All),
    (&["put", "a", "3", "--prev-kv", "-w", "json"], "", All),
    (&["put", "b", "x\"<>&\u{1}\u{2028}ü"], "", All),
    (&["put", "c", "3", "-w", "fields"], "", All),
    (&["put", "from-stdin"], "line one\nline two\n", All),
    (&["put", "empty", ""], "", All),
    (&["put", "dash", "--", "-v"], "", All),
    (&["put", "--", "-k", "-v"], "", All),
    (&["put", "a", "--ignore-value", "--prev-kv", "-w", "fields"], "", All),
    (&["put", "a", "b", "c"], "", All),
    (&["put", "nokey", "--ignore-value"], "", All),
    (&["put", "nokey", "v", "--ignore-lease"], "", All),
    (&["put", "a", "v", "--lease", "7b"], "", All),
    (&["put", "a", "v", "--lease", "zz"], "", All),
    (&["put", "a", "v", "-w", "table"], "", All),
    (&["put", "a", "x", "--ignore-value"], "", All),
    (&["put", "a"], "", All),
    (&["put"], "", All),
    (&["put", "", "v"], "", All),
    (&["get", "a"], "", All),
    (&["get", "a", "--hex"], "", All),
    (&["get", "b", "-w", "json"], "", All),
    (&["get", "b", "-w", "fields"], "", All),
    (&["get", "b", "-w", "protobuf"], "", All),
    (&["get", "b", "--hex", "-w=json"], "", All),
    (&["get", "b", "--hex", "-w", "fields"], "", All),
    (&["get", "a", "-w", "table"], "", All),
    (&["get", "a", "-w", "yaml"], "", All),
    (&["get", "none"], "", All),
    (&["get", "none", "-w", "json"], "", All),
    (&["get", "", "--prefix", "-w", "json"], "", All),
    (&["get", "", "--from-key"], "", All),
    (&["get", "", "--from-key", "--limit", "2", "-w", "json"], "", All),
    (&["get", "a", "c"], "", All),
    (&["get", "a", "c", "extra"], "", All),
    (&["get", "d", "--prefix"], "", All),
    (&["get", "a", "z", "--order", "DESCEND", "--keys-only"], "", All),
    (&["get", "a", "z", "--sort-by=MODIFY", "--order=descend", "--limit=2"], "", All),
    (&["get", "a", "z", "--sort-by", "version", "--limit", "3"], "", All),
    (&["get", "a", "z", "--sort-by", "VALUE", "--order", "ASCEND"], "", All),
    (&["get", "a", "--rev", "2"], "", All),
    (&["get", "a", "--rev", "0x3"], "", All),
    (&["get", "a", "--rev", "-1"], "", All),
    (&["get", "a", "--rev", "1000"], "", All),
    (&["get", "a", "--consistency", "s"], "", All),
    (&["get", "a", "--print-value-only"], "", All),
    (&["get", "a", "--keys-only", "--print-value-only"], "", All),
    (&["get", "a", "z", "--count-only", "-w", "fields"], "", All),
    (&["get", "a", "--count-only"], "", All),
    (&["get", "a", "--print-value-only", "-w", "json"], "", All),
    (&["get", "a", "--prefix=false"], "", All),
    (&["get", "a", "--prefix", "b"], "", All),
    (&["get", "a", "--prefix", "--from-key"], "", All),
    (&["get", "a", "--order", "x"], "", All),
    (&["get", "a", "--sort-by", "x"], "", All),
    (&["get", "a", "--consistency", "x"], "", All),
    (&["get", ""], "", All),
    (&["get"], "", All),
    (&["get", "a", "--foo"], "", Failure),
    (&["get", "a", "--rev=abc"], "", Failure),
    (&["get", "a", "--prefix=maybe"], "", Failure),
    (&["get", "a", "--command-timeout=5"], "", Failure),
    (&["get", "a", "--command-timeout"], "", Failure),
    (
        &["txn"],
        "mod(\"a\") > \"0\"\n\nput a \"new val\"\nget a\ndel zz\nget a --prefix --limit 1\n\nput b x\n\n",
        All,
    ),
    (&["txn", "-i"], "mod(\"a\") < \"0\"\n\nput a b\n\nput b x\n\n", All),
    (
        &["txn", "-w", "json"],
        "val(\"a\") = \"new val\"\n\nget a --prefix\nput x y --prev-kv\ndel b --prev-kv\n\n\n",
        All,
    ),
    (&["txn", "-w", "fields"], "c(\"a\") != \"0\"\n\nget a\nput x y --prev-kv\ndel x --prev-kv\n\n\n", All),
    (&["txn"], "\nget a --count-only\nget a --keys-only\nget a --print-value-only\n\n\n", All),
    (&["txn"], "\nput quoted \"double \\\\\" q\\\"\"\nget quoted\n\n\n", All),
    (&["txn"], "\nput k 1\nput k 2\n\n\n", All),
    (&["txn"], "ver(\"a\") = \"1\" and more\n\nget a\n\nget b\n\n", All),
    (&["txn"], "\n\n\n", All),
    (&["txn"], "\nget a\n", All),
    (&["txn"], "foo\n\n\n\n", All),
    (&["txn"], "mod(a) = \"1\"\n\n\n\n", All),
    (&["txn"], "mod(\"a\") = 1\n\n\n\n", All),
    (&["txn"], "foo(\"a\") = \"1\"\n\n\n\n", All),
    (&["txn"], "mod(\"a\") ~ \"1\"\n\n\n\n", NotZero),
    (&["txn"], "\nput a\n\n\n", All),
    (&["txn"], "\nput\n\n\n", All),
    (&["txn"], "\nfoo a\n\n\n", All),
    (&["txn"], "\nget a -w json\n\n\n", Failure),
    (&["txn"], "\ndel a b c\n\n\n", All),
    (&["txn", "x"], "\n\n\n", All),
    (&["del", "none"], "", All),
    (&["del", "none", "-w", "json"], "", All),
    (&["del", "a", "--prev-kv", "-w", "json"], "", All),
    (&["del", "b", "-w", "fields"], "", All),
    (&["del", "c", "e", "--prev-kv"], "", All),
    (&["del", "a", "b", "c"], "", All),
    (&["del", "a", "b", "--from-key"], "", All),
    (&["del", "-k", "x"], "", Failure),
    (&["del"], "", All),
    (&["compaction", "3"], "", All),
    (&["compaction", "3"], "", All),
    (&["compaction", "1000"], "", All),
    (&["compaction", "--physical", "5"], "", All),
    (&["compaction", "x"], "", All),
    (&["compaction"], "", All),
    (&["compaction", "1", "2"], "", All),
    (&["get", "a", "--rev", "2"], "", All),
    (&["del", "", "--from-key"], "", All),
    (&["member", "list"], "", All),
    (&["member", "list", "-w", "json"], "", All),
    (&["member", "list", "-w", "fields"], "", All),
    (&["member", "list", "-w", "table"], "", All),
    (&["member", "list", "-w", "protobuf"], "", All),
    (&["endpoint", "status"], "", All),
    (&["endpoint", "status", "-w", "json"], "", All),
    (&["endpoint", "status", "-w", "fields"], "", All),
    (&["endpoint", "status", "-w", "table"], "", All),
    (&["endpoint", "status", "-w", "protobuf"], "", All),
    (&["endpoint", "status", "--cluster"], "", All),
    (&["endpoint", "health"], "", NoDurations),
    (&["endpoint", "health", "-w", "json"], "", NoDurations),
    (&["endpoint", "health", "-w", "fields"], "", NoDurations),
    (&["endpoint", "hashkv"], "", All),
    (&["endpoint", "hashkv", "--rev", "8", "-w", "json"], "", All),
    (&["endpoint", "hashkv", "-w", "fields"], "", All),
    (&["endpoint", "hashkv", "-w", "table"], "", All),
    (&["endpoint", "hashkv", "--rev", "1"], "", Failure),
    (&["nonsense"], "", NotZero),
    (&["get", "a", "--endpoints", ""], "", All),
    (&["get", "a", "--endpoints", "127.0.0.1:1", "--command-timeout", "100ms"], "", All),
    (&["endpoint", "health", "--endpoints", "127.0.0.1:1", "--command-timeout", "100ms"], "", All),
    (&["endpoint", "status", "--endpoints", "127.0.0.1:1", "--command-timeout", "100ms"], "", All),
];

/// How often an endpoint that is still changing is asked again.
const ATTEMPTS_MAX: usize = 20;

/// An etcd that ends with this value.
struct Etcd {
    process: Child,
    endpoint: String,
    _folder: tempfile::TempDir,
}

impl Etcd {
    /// All are one member of equal ids, which come from the advertised URLs.
    fn start(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = || format!("http://127.0.0.1:{}", free_port());
        let (client, peer, advertised) = (url(), url(), "http://127.0.0.1:1");
        let process = Command::new(program)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", advertised])
            .args(["--initial-cluster", &format!("default={advertised}"), "--log-level", "error"])
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        let etcd =
            Self { process, endpoint: client.trim_start_matches("http://").to_owned(), _folder: folder };
        etcd.wait_until_ready();
        etcd
    }

    fn client(&self) -> Client {
        let config = Config {
            endpoints: vec![self.endpoint.clone()],
            dial_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(20),
        };
        Client::new(&config).expect("a valid endpoint")
    }

    fn wait_until_ready(&self) {
        let mut client = self.client();
        // A linearizable read waits for a leader; the first member list follows the cluster's version.
        let ready =
            client.range(&windlass_api::etcdserverpb::RangeRequest { key: "k".into(), ..Default::default() });
        ready.expect("etcd answers");
        client.status(&StatusRequest {}).expect("etcd answers");
    }

    fn run(&self, program: &Path, args: &[&str], input: &str) -> Output {
        let mut process = Command::new(program)
            .args(args)
            .env_clear()
            .env("ETCDCTL_API", "3")
            .env(if args.contains(&"--endpoints") { "UNUSED" } else { "ETCDCTL_ENDPOINTS" }, &self.endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // A program that fails early does not read its input.
        let _ = process.stdin.take().expect("piped").write_all(input.as_bytes());
        process.wait_with_output().expect("the program ends")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// What is compared of an output, as text.
fn comparable(output: &Output, endpoint: &str, compare: Compare) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    // The log lines of etcdctl's own client are not for users.
    let told: Vec<&str> =
        error.lines().filter(|line| line.contains("Error: ") || line.contains("unhealthy")).collect();
    let told = told.last().filter(|_| compare != NotZero).copied().unwrap_or_default();
    let shown = match compare {
        All => output.stdout.escape_ascii().to_string(),
        NoDurations => mask_durations(&String::from_utf8_lossy(&output.stdout)),
        Failure | NotZero => String::new(),
    };
    let code = output.status.code().map(|code| if compare == NotZero { i32::from(code != 0) } else { code });
    format!("exit {code:?}\n{told}\n{}", shown.replace(endpoint, "ENDPOINT").replace("\\n", "\n"))
}

/// Replaces `1.234ms` by `T`.
fn mask_durations(text: &str) -> String {
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

#[test]
fn windlassctl_prints_what_etcdctl_prints() {
    let Some(folder) = std::env::var_os("WINDLASS_ETCD_DIR") else {
        eprintln!("skipped: WINDLASS_ETCD_DIR does not name a folder with etcd and etcdctl 3.5");
        return;
    };
    let (etcd, etcdctl) = (Path::new(&folder).join("etcd"), Path::new(&folder).join("etcdctl"));
    let windlassctl = Path::new(env!("CARGO_BIN_EXE_windlassctl"));
    let (theirs, ours) = (Etcd::start(&etcd), Etcd::start(&etcd));
    let mut differences = Vec::new();
    for (args, input, compare) in COMMANDS {
        let run = |etcd: &Etcd, program: &Path| {
            comparable(&etcd.run(program, args, input), &etcd.endpoint, *compare)
        };
        let mut expected = run(&theirs, &etcdctl);
        let mut got = run(&ours, windlassctl);
        // What an endpoint says of itself, such as its size on disk, depends on when its last batch was written. So
        // one and the same is asked, until it says the same before and after.
        for _ in 0..if args[0] == "endpoint" { ATTEMPTS_MAX } else { 0 } {
            got = run(&theirs, windlassctl);
            let before = std::mem::replace(&mut expected, run(&theirs, &etcdctl));
            if before == expected {
                break;
            }
        }
        if expected != got {
            differences
                .push(format!("{args:?} with input {input:?}\netcdctl: {expected}\nwindlassctl: {got}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n\n"));
}

/// On a lease of a known id, which etcdctl cannot choose; in this order.
const LEASE_COMMANDS: &[(&[&str], Compare)] = &[
    (&["put", "k", "v", "--lease", "4d2"], All),
    (&["put", "\"", "v", "--lease", "4d2"], All),
    (&["lease", "timetolive", "4d2"], All),
    (&["lease", "timetolive", "4d2", "--keys"], All),
    (&["lease", "timetolive", "4d2", "-w", "json"], All),
    (&["lease", "timetolive", "4d2", "-w", "fields"], All),
    (&["lease", "timetolive", "4d2", "-w", "table"], All),
    (&["lease", "list"], All),
    (&["lease", "list", "-w", "json"], All),
    (&["lease", "list", "-w", "fields"], All),
    (&["lease", "list", "extra"], All),
    (&["lease", "keep-alive", "4d2", "--once"], All),
    (&["lease", "keep-alive", "4d2", "--once", "-w", "json"], All),
    (&["lease", "keep-alive", "4d2", "--once", "-w", "fields"], All),
    (&["lease", "keep-alive", "1", "--once"], All),
    (&["lease", "keep-alive", "1"], All),
    (&["lease", "keep-alive", "zz"], All),
    (&["lease", "keep-alive"], All),
    (&["lease", "timetolive", "1"], All),
    (&["lease", "timetolive", "1", "--keys", "-w", "json"], All),
    (&["lease", "timetolive", "1", "--keys", "-w", "fields"], All),
    (&["lease", "timetolive", "zz"], All),
    (&["lease", "timetolive"], All),
    (&["lease", "revoke", "4d2"], All),
    (&["lease", "revoke", "4d2"], All),
    (&["lease", "revoke", "1", "2"], All),
    (&["lease", "revoke", "zz"], All),
    (&["get", "k"], All),
    (&["lease", "list", "-w", "json"], All),
    (&["lease", "grant", "9000000001"], All),
    (&["lease", "grant", "x"], All),
    (&["lease", "grant", "0x10"], All),
    (&["lease", "grant"], All),
    (&["lease", "grant", "1", "2"], All),
];

#[test]
fn windlassctl_prints_of_leases_what_etcdctl_prints() {
    let Some(folder) = std::env::var_os("WINDLASS_ETCD_DIR") else {
        eprintln!("skipped: WINDLASS_ETCD_DIR does not name a folder with etcd and etcdctl 3.5");
        return;
    };
    let (etcd, etcdctl) = (Path::new(&folder).join("etcd"), Path::new(&folder).join("etcdctl"));
    let windlassctl = Path::new(env!("CARGO_BIN_EXE_windlassctl"));
    let (theirs, ours) = (Etcd::start(&etcd), Etcd::start(&etcd));
    for etcd in [&theirs, &ours] {
        let request = windlass_api::etcdserverpb::LeaseGrantRequest { ttl: 1000, id: 0x4d2 };
        etcd.client().lease_grant(&request).expect("a lease");
    }
    let mut differences = Vec::new();
    for (args, compare) in LEASE_COMMANDS {
        let run =
            |etcd: &Etcd, program: &Path| comparable(&etcd.run(program, args, ""), &etcd.endpoint, *compare);
        let (mut expected, mut got) = (run(&theirs, &etcdctl), run(&ours, windlassctl));
        // What is left differs where a second ends between the two.
        for _ in 0..if args.contains(&"timetolive") { ATTEMPTS_MAX } else { 0 } {
            if expected == got {
                break;
            }
            (expected, got) = (run(&theirs, &etcdctl), run(&theirs, windlassctl));
        }
        if expected != got {
            differences.push(format!("{args:?}\netcdctl: {expected}\nwindlassctl: {got}"));
        }
    }
    let granted = |program: &Path| ours.run(program, &["lease", "grant", "100"], "").stdout;
    let [expected, got] = [granted(&etcdctl), granted(windlassctl)];
    assert_eq!(expected[22..], got[22..], "all behind the id");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n\n"));
}

#[test]
fn the_mask_hides_durations_only() {
    assert_eq!(mask_durations("took = 1.838972ms\n\"took\":\"950.1µs\"}"), "took = T\n\"took\":\"T\"}");
    assert_eq!(mask_durations("127.0.0.1:57177 is healthy, 3 times"), "127.0.0.1:57177 is healthy, 3 times");
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
