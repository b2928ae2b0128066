//! Watches of command-line clients at a member that loses its leader: they end, and say so.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::cluster::{Cluster, until};
use crate::process::etcd_folder;

/// The programs that are here: etcdctl shows what windlassctl must do.
fn programs() -> Vec<PathBuf> {
    let windlassctl = Path::new(env!("CARGO_BIN_EXE_windlass")).with_file_name("windlassctl");
    if !windlassctl.is_file() {
        eprintln!("skipped: {} is not built", windlassctl.display());
    }
    let etcdctl = etcd_folder().map(|folder| folder.join("etcdctl"));
    etcdctl.into_iter().chain([windlassctl]).filter(|program| program.is_file()).collect()
}

fn watch(program: &Path, endpoint: &str) -> Child {
    Command::new(program)
        .args(["watch", "k"])
        .env_clear()
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", endpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}

/// Standard error without what etcdctl's client logs.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().filter(|line| !line.starts_with('{')).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_watch_ends_where_there_is_no_leader() {
    let mut cluster = Cluster::start(3, &[]);
    let alone = cluster.follower();
    let watches: Vec<_> = programs().iter().map(|program| watch(program, &cluster.endpoint(alone))).collect();
    let metric = "etcd_debugging_mvcc_watcher_total";
    let count = watches.len() as f64;
    until("the watches to begin", || (cluster.member(alone).metric(metric) >= count).then_some(()));
    (0..3).filter(|i| *i != alone).for_each(|i| cluster.kill(i));
    for watch in watches {
        let output = watch.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        assert_eq!(
            said(&output),
            "watch was canceled (etcdserver: no leader)\nError: watch is canceled by the server",
            "{output:?}"
        );
    }
}
