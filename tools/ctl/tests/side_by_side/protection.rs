//! TLS and users: the same answers and refusals.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::Programs;
use crate::compare::Compare::All;
use crate::compare::comparable;
use crate::etcd::Etcd;

/// How long an etcd may take to start.
const START_TIME_MAX: Duration = Duration::from_secs(20);

/// What an administrator and a user do, with what is typed.
pub const USERS: &[(&[&str], &str)] = &[
    (&["user", "add", "root:rp"], ""),
    (&["user", "grant-role", "root", "root"], ""),
    (&["user", "add", "u:up"], ""),
    (&["role", "add", "r"], ""),
    (&["role", "grant-permission", "r", "readwrite", "a", "--prefix"], ""),
    (&["user", "grant-role", "u", "r"], ""),
    // The root user is given its role on the way.
    (&["auth", "enable"], ""),
    (&["get", "a"], ""),
    (&["--password", "x", "get", "a"], ""),
    (&["--user", "root:rp", "put", "a", "1"], ""),
    (&["--user", "root", "--password", "rp", "get", "a"], ""),
    (&["--user", "root:rp", "--password", "rp", "get", "a"], ""),
    (&["--user", "root:wrong", "get", "a"], ""),
    (&["--user", "none:x", "get", "a"], ""),
    (&["--user", "root", "get", "a"], "rp\n"),
    (&["--user", "u:up", "put", "a", "2", "--prev-kv"], ""),
    (&["--user", "u:up", "get", "b"], ""),
    (&["--user", "u:up", "put", "b", "x"], ""),
    (&["--user", "u:up", "compaction", "1"], ""),
    (&["--user", "u:up", "user", "get", "u"], ""),
    (&["--user", "u:up", "user", "get", "root"], ""),
    (&["--user", "u:up", "lock", "a", "--", "true"], ""),
    (&["--user", "root:rp", "user", "get", "u", "-w", "json"], ""),
    (&["--user", "root:rp", "auth", "status"], ""),
    (&["--user", "root:rp", "auth", "disable"], ""),
    // A user who names himself where nobody need.
    (&["--user", "root:rp", "get", "a"], ""),
    (&["get", "a"], ""),
];

#[test]
fn users_are_let_in_and_refused_as_by_etcdctl() {
    let Some(programs) = Programs::find() else { return };
    let both = [
        (Etcd::start(&programs.etcd), programs.etcdctl.as_path()),
        (Etcd::start(&programs.etcd), programs.windlassctl),
    ];
    let told = both.map(|(etcd, program)| {
        let mut told = Vec::new();
        for (args, input) in USERS {
            told.push(format!(
                "{args:?}: {}",
                comparable(&etcd.run(program, args, input), &etcd.endpoint, All)
            ));
        }
        told
    });
    let [expected, got] = told;
    assert_eq!(expected, got);
}

/// An authority, and certificates that it issued.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        write("ca.pem", &authority.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let params = CertificateParams::new(names).expect("valid");
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            write(&format!("{name}.pem"), &certificate.pem());
            write(&format!("{name}-key.pem"), &key.serialize_pem());
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }
}

/// Waits until a command works.
fn wait(etcd: &Etcd, program: &Path, args: &[&str]) {
    let deadline = Instant::now() + START_TIME_MAX;
    loop {
        let output = etcd.run(program, args, "");
        if output.status.success() {
            return;
        }
        assert!(Instant::now() < deadline, "{args:?}: {output:?}");
    }
}

#[test]
fn servers_with_tls_are_reached_as_by_etcdctl() {
    let Some(programs) = Programs::find() else { return };
    let files = Certificates::new();
    let (ca, cert, key) = (files.path("ca.pem"), files.path("client.pem"), files.path("client-key.pem"));
    let (server, server_key) = (files.path("server.pem"), files.path("server-key.pem"));
    let options =
        ["--cert-file", &server, "--key-file", &server_key, "--client-cert-auth", "--trusted-ca-file", &ca];
    let etcd = Etcd::start_with(&programs.etcd, &options, "https");
    let bare = etcd.endpoint.trim_start_matches("https://").to_owned();
    let known = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    wait(&etcd, &programs.etcdctl, &[&known[..], &["endpoint", "health"]].concat());
    let mut differences = Vec::new();
    for args in [
        [&known[..], &["put", "k", "v"]].concat(),
        [&known[..], &["get", "k"]].concat(),
        // TLS is asked for by the files, not by the endpoint.
        [&known[..], &["get", "k", "--endpoints", &bare]].concat(),
        [&known[2..], &["get", "k", "--insecure-skip-tls-verify", "--endpoints", &bare]].concat(),
        [&known[2..], &["get", "k", "--insecure-skip-tls-verify"]].concat(),
        // An authority that is not the system's.
        [&known[2..], &["get", "k", "--command-timeout", "500ms"]].concat(),
        // No certificate.
        [&known[..2], &["get", "k", "--command-timeout", "500ms"]].concat(),
        vec!["get", "k", "--endpoints", &bare, "--command-timeout", "500ms"],
        [&known[..], &["snapshot", "save", "/none/x"]].concat(),
        [&known[..], &["lease", "grant", "x"]].concat(),
    ] {
        let expected = comparable(&etcd.run(&programs.etcdctl, &args, ""), &etcd.endpoint, All);
        let got = comparable(&etcd.run(programs.windlassctl, &args, ""), &etcd.endpoint, All);
        if expected != got {
            differences.push(format!("{args:?}\netcdctl: {expected}\nwindlassctl: {got}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n\n"));
    // `check` reads metrics by HTTP, `watch` and `make-mirror` have connections of their own.
    let args = [&known[..], &["check", "datascale", "--load", "s"]].concat();
    let checked = etcd.run(programs.windlassctl, &args, "");
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success() && told.contains("PASS: Approximate system memory used : "),
        "{checked:?}"
    );
}
