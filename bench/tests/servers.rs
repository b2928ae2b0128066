//! Every load against real servers: Windlass, and etcd where `WINDLASS_ETCD_DIR` says where it is.

mod built;

use std::path::{Path, PathBuf};

use clap::Parser;
use windlass_bench::Report;
use windlass_bench::flags::Flags;
use windlass_bench::launch::{Cluster, Launch};

use built::{found, windlass};

/// A server in a folder of its own.
struct Server {
    cluster: Cluster,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(label: &str, program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let launch = Launch { label, program, nodes: 1, flags: &[], folder: folder.path(), throttle: None };
        Self { cluster: Cluster::start(&launch).expect("starts"), _folder: folder }
    }

    fn load(&self, flags: &str) -> Report {
        let endpoint = &self.cluster.endpoints()[0];
        let line = format!("windlass-bench --endpoints {} {flags}", endpoint.authority());
        let flags = Flags::try_parse_from(line.split_whitespace()).expect("the flags are valid");
        windlass_bench::run(&flags.plan().expect("the flags fit together")).expect("runs")
    }
}

/// Each load with a few requests; how many answers of the named class there must be.
fn every_load(server: &Server) {
    let pid = server.cluster.pids()[0];
    for (flags, class, count) in [
        ("put --total 300 --clients 10 --conns 2 --key-space-size 100 --check-hashkv", "put", 300),
        (
            "put --total 2000 --clients 10 --rate 4000 --compact-interval 100ms --compact-index-delta 50",
            "put",
            2_000,
        ),
        ("range 0 a --total 50 --limit 10", "range", 50),
        ("range --total 50 --key-space-size 100 --consistency s", "range", 50),
        ("txn-put --total 100 --txn-ops 4 --key-space-size 500 --sequential-keys", "txn", 100),
        ("txn-put --total 100 --key-space-size 50 --if-absent --clients 5", "txn", 100),
        (
            "stm --total 200 --clients 10 --keys 3 --keys-per-txn 2 --isolation r --txn-wr-percent 100",
            "transaction",
            200,
        ),
        ("stm --total 200 --clients 10 --keys 3 --keys-per-txn 2 --isolation ss", "transaction", 200),
        ("stm --total 50 --isolation c", "transaction", 50),
        (
            "watch --streams 4 --watch-per-stream 5 --watched-key-total 3 --put-total 30 --conns 2 --clients 2",
            "watch event",
            200,
        ),
        ("watch-latency --total 50 --put-rate 500 --streams 2 --watchers-per-stream 3", "watch event", 300),
        ("lease-keepalive --total 100 --leases 5", "keepalive", 100),
    ] {
        let report = server.load(&format!("{flags} --server-pid {pid}"));
        assert!(report.is_clean(), "{flags}: {report}");
        assert_eq!(report.section(class).expect("has the class").requests, count, "{flags}: {report}");
        assert!(report.used().count() == 1, "{flags}: {report}");
    }
    let mixed =
        server.load("txn-mixed 0 1 --total 400 --rw-ratio 3 --limit 5 --key-space-size 10 --clients 4");
    assert_eq!((mixed.requests(), mixed.is_clean()), (400, true), "{mixed}");
    assert!(
        mixed.section("read").expect("reads").requests > mixed.section("write").expect("writes").requests
    );
    let behind = server.load("watch-get --watchers 40 --streams 4 --events 6 --conns 1");
    assert!(behind.is_clean() && behind.notes.iter().any(|note| note == "240 events received"), "{behind}");
}

#[test]
fn every_load_runs_against_windlass() {
    if let Some(program) = windlass() {
        every_load(&Server::start("windlass", &program));
    }
}

#[test]
fn every_load_runs_against_etcd() {
    let folder = std::env::var_os("WINDLASS_ETCD_DIR").map(PathBuf::from).unwrap_or_default();
    if let Some(program) = found(folder.join("etcd"), "WINDLASS_ETCD_DIR names no folder with an etcd") {
        every_load(&Server::start("etcd", &program));
    }
}

/// A process that ends with its value.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn protected_connections_carry_loads_too() {
    const READY_MAX: std::time::Duration = std::time::Duration::from_secs(30);
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let [client, peer] = [(); 2].map(|()| windlass_bench::ports::Port::free().expect("a free port").keep());
    let (client, peer) = (format!("https://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let child = std::process::Command::new(program)
        .args(["--auto-tls", "--log-level", "error", "--initial-cluster", &format!("default={peer}")])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .spawn();
    let _process = Process(child.expect("starts"));
    let load = |flags: &str| {
        let line = format!("windlass-bench --endpoints {client} --insecure-skip-tls-verify {flags}");
        let flags = Flags::try_parse_from(line.split_whitespace()).expect("the flags are valid");
        windlass_bench::run(&flags.plan().expect("the flags fit together"))
    };
    let deadline = std::time::Instant::now() + READY_MAX;
    while !load("put --total 1").is_ok_and(|report| report.is_clean()) {
        assert!(std::time::Instant::now() < deadline, "the server is not ready");
        std::thread::yield_now();
    }
    for flags in [
        "put --total 500 --conns 3 --clients 30 --val-size 3000",
        "put --total 20 --clients 4 --val-size 1000000",
        "range 0 a --total 20",
        "lease-keepalive --total 20 --leases 2",
        "watch --streams 2 --watch-per-stream 5 --put-total 20",
    ] {
        let report = load(flags).expect("runs");
        assert!(report.is_clean(), "{flags}: {report}");
    }
}

#[test]
fn watches_of_a_server_that_ends_are_reported_until_then() {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
    let Some(program) = windlass() else { return };
    let server = Server::start("windlass", &program);
    let endpoint = server.cluster.endpoints()[0].authority().to_owned();
    let load = |flags: &str| {
        let line = format!("windlass-bench --endpoints {endpoint} {flags}");
        let flags = Flags::try_parse_from(line.split_whitespace()).expect("the flags are valid");
        let plan = flags.plan().expect("the flags fit together");
        std::thread::spawn(move || windlass_bench::run(&plan).expect("is reported"))
    };
    let watch = load("watch --streams 2 --conns 2 --clients 2 --put-total 1000000 --put-rate 500");
    let ask = windlass_client::Config {
        endpoints: vec![endpoint.clone()],
        dial_timeout: PATIENCE,
        command_timeout: PATIENCE,
    };
    let mut client = windlass_client::Client::new(&ask).expect("has an endpoint");
    let deadline = std::time::Instant::now() + PATIENCE;
    let revision = |client: &mut windlass_client::Client| {
        let status = client.status(&windlass_api::etcdserverpb::StatusRequest::default()).expect("answers");
        status.header.map_or(0, |header| header.revision)
    };
    while revision(&mut client) < 100 {
        assert!(std::time::Instant::now() < deadline, "nothing is put");
        std::thread::yield_now();
    }
    drop(server);
    let report = watch.join().expect("no panic");
    assert!(!report.is_clean() && report.errors.keys().any(|why| why.contains("connection")), "{report}");
    assert!(report.section("watch event").expect("has the class").requests > 20, "{report}");
}

#[test]
fn a_program_that_ends_without_a_word_is_said_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = Path::new("/bin/true");
    let launch =
        Launch { label: "etcd", program, nodes: 1, flags: &[], folder: folder.path(), throttle: None };
    let error = Cluster::start(&launch).map(drop).expect_err("is no server");
    assert_eq!(error.to_string(), "etcd ended (exit status: 0); its log is empty");
}
