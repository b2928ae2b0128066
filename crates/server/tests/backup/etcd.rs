//! Out to etcd: its own tools save, check and restore a snapshot, and a real etcd runs on it.

use std::path::Path;
use std::process::{Command, Output};

use crate::process::{Launch, Scratch, etcd_folder};
use crate::store::{fill, look, put};

fn run(program: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn a_real_etcd_goes_on_with_everything() {
    let Some(tools) = etcd_folder() else { return };
    let (folder, restored) = (Scratch::new(), Scratch::new());
    let member = Launch::new(folder.path()).flag("--shards=3").member();
    fill(&member);
    let file = folder.path().join("snapshot.db");
    let file_text = file.to_str().expect("a plain path");
    let endpoint = format!("--endpoints=http://{}", member.endpoint());
    run(&tools.join("etcdctl"), &[&endpoint, "snapshot", "save", file_text]);
    let seen = look(&member);

    let etcdutl = tools.join("etcdutl");
    let status = run(&etcdutl, &["snapshot", "status", file_text, "-w", "json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["revision"].as_i64(), Some(seen.revision), "{status}");

    let data = restored.path().join("data");
    run(&etcdutl, &["snapshot", "restore", file_text, "--data-dir", data.to_str().expect("a plain path")]);
    let etcd = Launch::new(restored.path())
        .program(&tools.join("etcd"))
        .flag("--initial-advertise-peer-urls=http://localhost:2380")
        .member();
    let theirs = look(&etcd);
    assert_eq!(theirs.leases, seen.leases);
    assert_eq!((theirs.revision, &theirs.before), (seen.revision, &seen.before));
    for (ours, theirs) in seen.kvs.iter().zip(&theirs.kvs) {
        assert!(ours == theirs, "revision {}", ours.0);
    }
    assert_eq!(seen.kvs.len(), theirs.kvs.len());
    assert_eq!(put(&etcd, "next", b"", 0), seen.revision + 1);
}
