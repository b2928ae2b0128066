//! Configurations as the command line gives them.

use super::*;
use crate::startup::flags::{Command, parse};
use windlass_types::{ClusterId, MemberId};

fn config(arguments: &str) -> Result<Config, Error> {
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    match parse(&arguments, &[])? {
        Command::Start(values) => Config::from_values(&values, 8),
        other => panic!("{other:?} instead of a start"),
    }
}

fn refusal(arguments: &str) -> String {
    match config(arguments) {
        Err(Error::Configuration(text)) => text,
        other => panic!("{arguments}: {other:?}"),
    }
}

#[test]
fn nothing_given_is_a_lone_member_on_localhost() {
    let config = config("").unwrap();
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.wal_dir, None);
    assert_eq!(config.urls.listen_client[0].address(), "localhost:2379");
    assert!(config.urls.listen_metrics.is_empty());
    assert_eq!(config.bootstrap.member_id, MemberId(0x8e9e_05c5_2164_694d));
    assert_eq!(config.bootstrap.cluster_id, ClusterId(0xcdf8_1819_4e3a_8c32));
    assert!(!config.bootstrap.explicit);
    assert_eq!((config.storage.net_threads, config.storage.shards), (4, 4));
    assert_eq!(config.storage.sync_mode, SyncMode::Auto);
    assert_eq!(config.limits.quota_bytes, Some(2 << 30));
    assert_eq!(config.limits.request_bytes_max, 1_572_864);
    assert_eq!(config.limits.concurrent_streams_max, u32::MAX);
    assert_eq!(config.logging.format, logging::Format::Json);
    assert!(config.notices.is_empty());
}

#[test]
fn the_name_leads_the_folder_and_the_cluster() {
    let config =
        config("--name m1 --initial-advertise-peer-urls http://10.0.0.1:2380 --quota-backend-bytes=-1");
    let config = config.unwrap();
    assert_eq!(config.data_dir, PathBuf::from("m1.etcd"));
    assert!(config.bootstrap.explicit);
    assert_eq!(config.limits.quota_bytes, None);
}

#[test]
fn a_kubeadm_command_line_without_tls_is_taken() {
    let config = config(
        "--name=node1 --listen-client-urls=http://127.0.0.1:2379,http://10.0.0.1:2379 \
         --advertise-client-urls=http://10.0.0.1:2379 --listen-peer-urls=http://10.0.0.1:2380 \
         --initial-advertise-peer-urls=http://10.0.0.1:2380 --initial-cluster=node1=http://10.0.0.1:2380 \
         --data-dir=/var/lib/etcd --snapshot-count=10000 --listen-metrics-urls=http://127.0.0.1:2381 \
         --feature-gates=InitialCorruptCheck=true --watch-progress-notify-interval=5s",
    );
    let config = config.unwrap();
    assert_eq!(config.urls.listen_client.len(), 2);
    assert_eq!(config.urls.listen_metrics[0].address(), "127.0.0.1:2381");
    assert_eq!(config.notices.len(), 2);
}

#[test]
fn what_does_not_fit_together_is_refused_in_one_sentence() {
    let advertise = "--advertise-client-urls=http://h:1";
    let two = "--initial-cluster=default=http://localhost:2380";
    for (arguments, text) in [
        (
            "--listen-client-urls=http://127.0.0.1:1".to_owned(),
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            format!("--listen-client-urls=http://example.com:2379 {advertise}"),
            "expected IP in URL for binding (http://example.com:2379)",
        ),
        ("--advertise-client-urls=http://:1".to_owned(), "unexpected empty host (http://:1)"),
        (
            "--heartbeat-interval=2000".to_owned(),
            "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[2000ms]",
        ),
        (
            "--election-timeout=100000".to_owned(),
            "--election-timeout[100000ms] is too long, and should be set less than 50000ms",
        ),
        ("--heartbeat-interval=0".to_owned(), "--heartbeat-interval must be >0 (set to 0ms)"),
        (
            "--initial-cluster=b=http://localhost:2380".to_owned(),
            "couldn't find local name \"default\" in the initial cluster configuration",
        ),
        (
            "--initial-cluster=default=http://localhost:1".to_owned(),
            "--initial-cluster has default=http://localhost:1 but \
             --initial-advertise-peer-urls=http://localhost:2380",
        ),
        (
            format!("{two},c=http://h:1,b=http://h:1"),
            "initial cluster b=http://h:1,c=http://h:1,default=http://localhost:2380 has duplicate url",
        ),
        (
            format!("{two},b=http://:1"),
            "--initial-cluster: \"http://:1\" is not of the form http://host:port or https://host:port",
        ),
        ("--initial-cluster=default".to_owned(), "--initial-cluster: empty URL given for \"default\""),
        ("--flush-depth=0".to_owned(), "--flush-depth must be >0"),
        ("--shard-flush-interval=0".to_owned(), "--shard-flush-interval must be >0"),
        (
            "--wal-segment-bytes=1000000".to_owned(),
            "--wal-segment-bytes must be a multiple of 1 MiB, at least 4 MiB (set to 1000000)",
        ),
        (
            "--max-request-bytes=33554433".to_owned(),
            "--max-request-bytes must be from 1 to 33554432, half of --wal-segment-bytes (set to 33554433)",
        ),
        ("--log-outputs=default,x".to_owned(), "multi logoutput for \"default\" is not supported yet"),
    ] {
        assert_eq!(refusal(&arguments), text);
    }
    for (arguments, start) in [
        (
            "--listen-peer-urls=https://127.0.0.1:1",
            "cannot listen on https://127.0.0.1:1 without a certificate",
        ),
        ("--listen-metrics-urls=unixs://x", "TLS on Unix sockets is not supported"),
        (
            "--peer-cert-file=x --listen-peer-urls=https://127.0.0.1:1",
            "--peer-cert-file and --peer-key-file must both be present",
        ),
        ("--cors=", "invalid value \"\" for flag -cors: URL scheme must be"),
        ("--cipher-suites=", "unexpected TLS cipher suite \"\""),
        ("--initial-cluster=", "couldn't find local name \"default\""),
        ("--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", "min version (TLS1.3) is greater"),
    ] {
        let refusal = refusal(arguments);
        assert!(refusal.starts_with(start), "{refusal}");
    }
}

#[test]
fn what_means_nothing_without_tls_is_told_of() {
    for (arguments, told) in [
        ("--cert-file=x", 0),
        ("--client-cert-auth", 1),
        ("--peer-crl-file=x", 1),
        ("--peer-cert-allowed-cn=x", 1),
        (
            "--cert-file=c --key-file=k --client-cert-auth --advertise-client-urls=http://h:1 \
             --listen-client-urls=https://10.0.0.1:1,http://127.0.0.1:1,http://127.0.0.2:1",
            2,
        ),
        ("--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 1),
    ] {
        let notices = config(arguments).unwrap().notices;
        let ignored = notices.iter().filter(|notice| matches!(notice, flags::Notice::Ignored { .. }));
        assert_eq!(ignored.count(), told, "{arguments}: {notices:?}");
    }
}

#[test]
fn retention_is_read_as_etcd_reads_it() {
    let of = |arguments: &str| config(arguments).unwrap().retention;
    for none in ["", "--auto-compaction-retention=", "--auto-compaction-mode= --auto-compaction-retention=1"]
    {
        assert_eq!(of(none), None, "{none}");
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(of("--auto-compaction-retention=1"), Some(Retention::Period(hour)));
    assert_eq!(of("--auto-compaction-retention=30m"), Some(Retention::Period(hour / 2)));
    let revisions = "--auto-compaction-mode=revision --auto-compaction-retention";
    assert_eq!(of(&format!("{revisions}=1000")), Some(Retention::Revisions(1000)));
    assert_eq!(of(&format!("{revisions}=1us")), Some(Retention::Revisions(1000)));
}

#[test]
fn our_own_flags_arrive() {
    let config = config(
        "--net-threads=2 --shards=3 --flush-depth=4 --batch-bytes=65536 --batch-linger=50us \
         --wal-segment-bytes=8388608 --shard-flush-bytes=4096 --shard-flush-interval=1s --sync-mode=dsync \
         --wal-dir=/fast/wal --catch-up-bytes=12345 --cpu-latency=off --poll-us=70 --enable-live-settings",
    );
    let Storage {
        net_threads,
        shards,
        flush_depth,
        batch_bytes_max,
        batch_linger,
        wal_segment_bytes,
        shard_flush_bytes,
        shard_flush_interval,
        sync_mode,
        live_settings,
    } = config.as_ref().unwrap().storage;
    assert_eq!((net_threads, shards, flush_depth, batch_bytes_max), (2, 3, 4, 65_536));
    assert_eq!((wal_segment_bytes, shard_flush_bytes), (8 << 20, 4096));
    assert_eq!(batch_linger, BatchLinger::Fixed(Duration::from_micros(50)));
    assert_eq!(shard_flush_interval, Duration::from_secs(1));
    assert_eq!((sync_mode, live_settings), (SyncMode::Dsync, true));
    assert_eq!(config.as_ref().unwrap().raft.catch_up_bytes, 12_345);
    let waiting = Waiting { hold_cpus: false, poll: Duration::from_micros(70) };
    assert_eq!(config.as_ref().unwrap().waiting, waiting);
    assert_eq!(config.unwrap().wal_dir, Some(PathBuf::from("/fast/wal")));
}

#[test]
fn a_file_need_not_advertise_what_it_listens_on() {
    let values = flags::parse_file("c", "listen-client-urls: http://127.0.0.1:1\n").unwrap();
    let config = Config::from_values(&values, 8).unwrap();
    assert_eq!(config.urls.advertise_client[0].as_str(), "http://localhost:2379");
}

#[test]
fn rotation_needs_one_file() {
    let text = "--log-outputs requires a single file path when --log-rotate-config-json is defined";
    assert_eq!(refusal("--enable-log-rotation"), text);
    assert_eq!(refusal("--enable-log-rotation --log-outputs=/a,/b"), text);
    let config = config("--enable-log-rotation --log-outputs=/a,stderr").unwrap();
    assert!(config.logging.rotation.is_some());
}
