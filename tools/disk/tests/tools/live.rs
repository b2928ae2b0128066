//! A member that runs, and is tuned.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_bench::access::Access;
use windlass_bench::control::{self, Server};
use windlass_bench::launch::{Cluster, Launch};
use windlass_client::{Security, fetch};

use crate::{disk, json, windlass};

/// A member with these flags; its address.
pub fn member(program: &Path, folder: &Path, flags: &[&str]) -> (Cluster, String) {
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let launch = Launch { label: "windlass", program, nodes: 1, flags: &flags, folder, throttle: None };
    let cluster = Cluster::start(&launch).expect("starts");
    let endpoint = cluster.endpoints()[0].authority().to_owned();
    (cluster, endpoint)
}

/// Its page of settings.
pub fn settings(endpoint: &str) -> Value {
    let page = fetch(endpoint, &Security::default(), "/debug/settings", Duration::from_secs(10));
    serde_json::from_str(&page.expect("answers")).expect("is JSON")
}

/// How many keys the tuner's load has left; they are gone then.
pub fn keys_left(endpoint: &str) -> i64 {
    let server = Server { endpoint: endpoint.parse().expect("is one"), security: Access::default().security };
    control::delete_prefix(&server, "windlass-disk-tune-").expect("answers")
}

#[test]
fn a_running_member_is_tuned_and_left_as_it_was() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (_cluster, endpoint) =
        member(&program, folder.path(), &["--enable-live-settings", "--flush-depth=3"]);
    let file = folder.path().join("found.settings");
    let arguments = [
        "tune",
        "--endpoint",
        &endpoint,
        "--seconds",
        "1",
        "--clients",
        "20",
        "--conns",
        "2",
        "--rate",
        "300",
        "--only",
        "flush-depth,batch-linger",
        "--json",
        "--write-settings",
        file.to_str().expect("is UTF-8"),
    ];
    let report = json(&arguments);
    let steps = report["steps"].as_array().expect("has steps");
    assert_eq!(steps.len(), 2, "{report}");
    // Its own depth is none of those that are tried.
    assert_eq!(steps[0]["tried"].as_array().map(Vec::len), Some(4), "{report}");
    assert_eq!(report["member"], *endpoint);
    assert!(steps.iter().all(|step| step["refused"] == serde_json::json!([])), "{report}");
    let page = settings(&endpoint);
    assert_eq!((&page["now"]["flush-depth"], &page["trial_left_s"]), (&"3".into(), &Value::Null));
    assert_eq!(keys_left(&endpoint), 0);
    let text = std::fs::read_to_string(file).expect("was written");
    assert!(text.contains("# The least p99 at 300 puts a second, on the running member"), "{text}");
}

#[test]
fn a_member_that_is_lost_ends_its_tuning() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, endpoint) = member(&program, folder.path(), &["--enable-live-settings"]);
    let tool = Command::new(env!("CARGO_BIN_EXE_windlass-disk"))
        .args([
            "tune",
            "--endpoint",
            &endpoint,
            "--seconds",
            "1",
            "--clients",
            "20",
            "--conns",
            "2",
            "--rate",
            "300",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    while settings(&endpoint)["trial_left_s"].is_null() {
        assert!(Instant::now() < deadline, "no settings are tried");
        std::thread::yield_now();
    }
    drop(cluster);
    let output = tool.wait_with_output().expect("ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{error}");
    assert!(
        error.contains("windlass-disk: the member is lost") && !error.contains("cannot be tried"),
        "{error}"
    );
}

#[test]
fn a_member_that_cannot_be_tuned_says_why() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (_cluster, endpoint) = member(&program, folder.path(), &[]);
    for (arguments, why) in [
        (&["--endpoint", &endpoint][..], "--enable-live-settings"),
        (&["--endpoint", "127.0.0.1:1"], "127.0.0.1:1"),
        (&["--endpoint", "nonsense"], "nonsense"),
        (&["--endpoint", &endpoint, "--only", "shards"], "cannot be changed while a member runs"),
        (&["--only", "data-dir"], "no setting that is tuned"),
    ] {
        let output = disk(&[&["tune"], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(why) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
    let both = disk(&["tune", "--endpoint", &endpoint, "--folder", "/tmp"]);
    assert_eq!(both.status.code(), Some(2));
}
