//! Command lines and environments that cannot be honoured.

use crate::process::{Launch, Scratch};
use crate::refused;

/// Bad flags beside good ones, the code and what the sentence must say.
const BAD: &[(&[&str], i32, &[&str])] = &[
    (&["--no-such-flag=1"], 2, &["no-such-flag"]),
    (&["--heartbeat-interval=soon"], 2, &["soon", "heartbeat-interval"]),
    (&["--max-txn-ops=-1"], 2, &["-1", "max-txn-ops"]),
    (&["--log-level=loud"], 2, &["loud", "log-level"]),
    (&["--data-dir"], 2, &["data-dir"]),
    (&["--listen-client-urls=nonsense"], 2, &["nonsense", "listen-client-urls"]),
    (&["--listen-client-urls=http://127.0.0.1"], 2, &["listen-client-urls"]),
    (&["--listen-client-urls=http://example.com:2379"], 1, &["expected IP", "example.com"]),
    (&["--election-timeout=100"], 1, &["--election-timeout", "--heartbeat-interval"]),
    (&["--wal-segment-bytes=1000"], 1, &["--wal-segment-bytes", "1 MiB"]),
    (&["--wal-segment-bytes=3145728"], 1, &["--wal-segment-bytes", "at least 4 MiB"]),
    (&["--log-outputs=/dev/null/x"], 1, &["--log-outputs", "/dev/null/x"]),
    (&["--wal-dir=/dev/null/x"], 11, &["/dev/null", "is not a folder"]),
    (
        &["--initial-cluster=default=http://localhost:2380", "--initial-cluster-state=existing"],
        1,
        &["cannot fetch cluster info", "no peer URLs"],
    ),
    (&["--initial-cluster=other=http://localhost:2380"], 1, &["default", "initial cluster"]),
    (
        &["--listen-client-urls=https://127.0.0.1:0"],
        1,
        &["without a certificate", "--cert-file", "--auto-tls"],
    ),
    (
        &[
            "--cert-file=/tmp/no-such.pem",
            "--key-file=/tmp/no-such.key",
            "--listen-client-urls=https://127.0.0.1:0",
            "--advertise-client-urls=https://127.0.0.1:0",
        ],
        1,
        &["/tmp/no-such.pem"],
    ),
    (&["--initial-cluster="], 1, &["couldn't find local name"]),
    (&["--config-file=/no/such.yml"], 1, &["open /no/such.yml: no such file or directory"]),
    (&["--feature-gates=Nonsense=true"], 2, &["unrecognized feature gate: Nonsense"]),
    (&["--enable-log-rotation"], 1, &["--log-outputs requires a single file path"]),
];

#[test]
fn bad_flags_are_refused() {
    let scratch = Scratch::new();
    for (flags, code, parts) in BAD {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        refused(&scratch, Launch::new(scratch.path()).flags(&flags), *code, parts);
        assert!(!scratch.path().join("data").exists(), "{flags:?}");
    }
}

#[test]
fn a_bad_environment_is_refused() {
    let scratch = Scratch::new();
    let launch = || Launch::new(scratch.path());
    let bad = launch().variable("ETCD_HEARTBEAT_INTERVAL", "soon");
    refused(&scratch, bad, 1, &["ETCD_HEARTBEAT_INTERVAL", "soon"]);
    let conflict = launch().variable("ETCD_DATA_DIR", "/somewhere/else");
    refused(&scratch, conflict, 1, &["ETCD_DATA_DIR", "unset environment variable"]);
    assert!(!scratch.path().join("data").exists());
}
