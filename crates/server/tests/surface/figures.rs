//! Metrics that follow what clients do.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use windlass_api::method::kv;

use crate::gateway::post;
use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch};
use crate::raw::{Raw, frame, http};
use crate::store::put;

/// The samples of a scrape by name and labels.
fn scrape(member: &Member) -> HashMap<String, f64> {
    let page = http(member.endpoint(), "GET", "/metrics", "").body;
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// Waits until a sample has at least this value: other threads tell theirs now and then.
fn wait(member: &Member, sample: &str, least: f64) -> f64 {
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    loop {
        let value = scrape(member).get(sample).copied().unwrap_or(f64::NAN);
        if value >= least {
            return value;
        }
        assert!(Instant::now() < deadline, "{sample} is {value}, not {least}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn metrics_follow_what_clients_do() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--metrics=extensive").member();
    let before = scrape(&member);
    let mut raw = Raw::connect(member.endpoint());
    for key in ["a", "b", "a"] {
        let body = frame(&prost::Message::encode_to_vec(&put(key, "v")));
        let stream = raw.request(kv::PUT, &[("client-api-version", "3.7")], &body, false);
        assert_eq!(raw.answer(stream).code, Some(0));
    }
    assert_eq!(post(member.endpoint(), "/v3/kv/put", r#"{"key":"Yw=="}"#).status, 200);

    let labels = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    let handled = format!("grpc_server_handled_total{{grpc_code=\"OK\",{labels}}}");
    for (sample, least) in [
        (handled.as_str(), 4.0),
        (&format!("grpc_server_handling_seconds_count{{{labels}}}"), 4.0),
        (&format!("grpc_server_handling_seconds_bucket{{le=\"+Inf\",{labels}}}"), 4.0),
        ("etcd_server_client_requests_total{client_api_version=\"3.7\",type=\"unary\"}", 3.0),
        ("etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"}", 1.0),
        ("etcd_debugging_mvcc_keys_total", 3.0),
        ("etcd_debugging_mvcc_current_revision", 5.0),
        // A shard's own log is flushed within a moment.
        ("etcd_disk_backend_commit_duration_seconds_count", 1.0),
        ("etcd_disk_wal_fsync_duration_seconds_count", 4.0),
    ] {
        wait(&member, sample, least);
    }
    let after = scrape(&member);
    assert_eq!(after[&handled] - before.get(&handled).copied().unwrap_or(0.0), 4.0);
    assert_eq!(after["etcd_debugging_mvcc_keys_total"], 3.0);
    let took = after[&format!("grpc_server_handling_seconds_sum{{{labels}}}")];
    assert!(took > 0.0 && took < 60.0, "{took}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let age = now.as_secs_f64() - after["process_start_time_seconds"];
    assert!((0.0..600.0).contains(&age), "started {age} s ago");
    assert!(after["os_fd_used"] > 3.0 && after["os_fd_used"] < after["os_fd_limit"]);
}
