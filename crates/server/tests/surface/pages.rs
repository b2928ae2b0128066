//! HTTP/1.1: health, probes, version, metrics.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use windlass_api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, MemberListRequest};

use crate::process::{Launch, Member, Scratch, etcd_folder, free_address};
use crate::raw::{Page, Raw, http};
use crate::store::{fill, prefix, put};

fn get(member: &Member, target: &str) -> Page {
    http(member.endpoint(), "GET", target, "")
}

#[test]
fn probes_say_what_etcds_say() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let ready =
        "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n";
    let excluded = "[+]data_corruption excluded: ok\n[+]serializable_read ok\n[+]linearizable_read excluded: ok\n\
                    [+]non_learner ok\nok\n";
    for (target, body) in [
        ("/health", "{\"health\":\"true\",\"reason\":\"\"}"),
        ("/health?serializable=true", "{\"health\":\"true\",\"reason\":\"\"}"),
        ("/health?serializable=false", "{\"health\":\"true\",\"reason\":\"\"}"),
        ("/health?exclude=NOSPACE&exclude=CORRUPT", "{\"health\":\"true\",\"reason\":\"\"}"),
        ("/livez", "ok\n"),
        ("/readyz", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        ("/readyz?verbose", ready),
        ("/readyz?verbose&exclude=data_corruption&exclude=linearizable_read", excluded),
        ("/livez/serializable_read", "ok\n"),
        ("/readyz/data_corruption", "ok\n"),
        ("/readyz/serializable_read", "ok\n"),
        ("/readyz/linearizable_read?verbose", "[+]linearizable_read ok\nok\n"),
        ("/readyz/non_learner", "ok\n"),
        ("/version", "{\"etcdserver\":\"3.6.14\",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}"),
    ] {
        let page = get(&member, target);
        assert_eq!((page.status, page.body.as_str()), (200, body), "{target}");
    }
    for target in ["/", "/nothing", "/livez/linearizable_read", "/readyz/nothing", "/v2/keys", "/healthz"] {
        let page = get(&member, target);
        assert_eq!((page.status, page.body.as_str()), (404, "404 page not found\n"), "{target}");
    }
}

/// What a page says and is, as far as an etcd 3.5 has it.
fn comparable(address: &str, method: &str, target: &str) -> (u16, Option<String>, Option<String>, String) {
    let Page { status, headers, body } = http(address, method, target, "");
    let field = |name: &str| headers.get(name).cloned();
    let body = if target.starts_with("/metrics") || target == "/version" { String::new() } else { body };
    (status, field("content-type"), field("allow"), body)
}

#[test]
fn pages_are_those_of_a_real_etcd() {
    let Some(etcd) = etcd_folder() else { return };
    let (ours, theirs) = (Scratch::new(), Scratch::new());
    let windlass = Launch::new(ours.path()).member();
    let etcd = Launch::new(theirs.path()).program(&etcd.join("etcd")).member();
    for (method, target) in [
        ("GET", "/health"),
        ("GET", "/health?serializable=true"),
        ("GET", "/version"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
        ("POST", "/health"),
        ("PUT", "/version"),
        ("DELETE", "/nothing"),
        ("POST", "/debug/vars"),
        ("HEAD", "/health"),
        ("HEAD", "/metrics"),
        ("POST", "/metrics"),
    ] {
        let asked = |member: &Member| comparable(member.endpoint(), method, target);
        assert_eq!(asked(&windlass), asked(&etcd), "{method} {target}");
    }
}

/// Counters that etcd names otherwise than counters are.
const COUNTERS_OF_ETCD: [&str; 3] =
    ["etcd_server_health_failures", "etcd_server_health_success", "etcd_server_learner_promote_successes"];

/// The samples of a page in Prometheus's text format 0.0.4, by name and labels; panics where it is not that.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut samples = HashMap::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let (what, rest) = comment.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            let (name, said) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            match what {
                "HELP" => {}
                "TYPE" => assert!(types.insert(name, said).is_none(), "two types of {name}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let bare = name.split('{').next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end));
        let kind = types.get(bare).or_else(|| types.get(family?)).copied();
        assert!(matches!(kind, Some("counter" | "gauge" | "histogram")), "{kind:?} of {line}");
        let is_named_so = bare.ends_with("_total") || COUNTERS_OF_ETCD.contains(&bare);
        assert_eq!(kind == Some("counter"), is_named_so && kind != Some("gauge"), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "two samples of {name}");
    }
    samples
}

#[test]
fn metrics_tell_the_truth() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--quota-backend-bytes=1000000000").member();
    let before = samples(&get(&member, "/metrics").body);
    fill(&member, "k", 256, 1000);
    let mut client = member.client();
    client.put(&put("a", "1")).expect("written");
    client.put(&put("", "1")).expect_err("refused");
    client.range(&prefix(b'k')).expect("read");
    let after = samples(&get(&member, "/metrics").body);
    for (name, value) in [
        ("etcd_server_has_leader", 1.0),
        ("etcd_server_is_leader", 1.0),
        ("etcd_server_proposals_pending", 0.0),
        ("etcd_server_health_failures", 0.0),
        ("etcd_debugging_mvcc_current_revision", 4.0),
        ("etcd_debugging_mvcc_compact_revision", -1.0),
        ("etcd_server_quota_backend_bytes", 1e9),
        ("etcd_server_version{server_version=\"3.6.14\"}", 1.0),
        ("windlass_disk_full", 0.0),
    ] {
        assert_eq!(after.get(name), Some(&value), "{name}");
    }
    let grown = |name: &str| {
        after.get(name).unwrap_or_else(|| panic!("no {name}")) - before.get(name).unwrap_or(&0.0)
    };
    assert!(grown("etcd_server_proposals_applied_total") >= 2.0);
    assert!(grown("etcd_server_proposals_committed_total") >= 2.0);
    assert!(grown("etcd_mvcc_db_total_size_in_bytes") >= 256_000.0);
    assert!(grown("etcd_disk_wal_write_bytes_total") >= 256_000.0);
    assert!(grown("etcd_disk_wal_fsync_duration_seconds_count") >= 1.0);
    assert_eq!(grown("windlass_batch_commands_sum"), 3.0);
    assert_eq!(grown("etcd_mvcc_put_total"), 257.0);
    assert!(grown("etcd_debugging_mvcc_total_put_size_in_bytes") >= 256_000.0);
    assert_eq!(grown("etcd_mvcc_txn_total"), 2.0);
    assert_eq!(grown("etcd_mvcc_range_total"), 1.0);
    assert_eq!(grown("etcd_server_range_duration_seconds_count{success=\"true\"}"), 1.0);
    assert_eq!(grown("etcd_server_request_duration_seconds_count{success=\"false\",type=\"Put\"}"), 1.0);
    assert!(after["go_threads"] >= 3.0);
    let handled = |method: &str, code: &str| {
        grown(&format!(
            "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"{method}\",\
             grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}}"
        ))
    };
    assert_eq!(handled("Put", "OK"), 1.0);
    assert_eq!(handled("Put", "InvalidArgument"), 1.0);
    assert_eq!(handled("Txn", "OK"), 2.0);
    assert_eq!(handled("Range", "OK"), 1.0);
    assert!(grown("etcd_network_client_grpc_received_bytes_total") >= 256_000.0);
    assert!(grown("etcd_network_client_grpc_sent_bytes_total") >= 256_000.0);
    assert!(after["process_resident_memory_bytes"] > 1e6 && after["process_open_fds"] > 5.0);
}

#[test]
fn metrics_come_in_the_format_asked_for() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let plain = get(&member, "/metrics");
    assert_eq!(plain.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let open = http(
        member.endpoint(),
        "GET",
        "/metrics",
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2\r\n",
    );
    assert_eq!(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.body.ends_with("# EOF\n"));
}

#[test]
fn an_address_for_metrics_serves_nothing_else() {
    let folder = Scratch::new();
    let address = free_address();
    let flag = format!("--listen-metrics-urls=http://{address}");
    let member = Launch::new(folder.path()).flag(flag).member();
    for target in ["/health", "/livez", "/readyz", "/metrics"] {
        assert_eq!(http(&address, "GET", target, "").status, 200, "{target}");
        assert_eq!(get(&member, target).status, 200, "{target}");
    }
    for target in ["/version", "/debug/vars", "/v3/kv/range"] {
        assert_eq!(http(&address, "GET", target, "").status, 404, "{target}");
    }
    let mut raw = Raw::connect(&address);
    let stream = raw.call(windlass_api::method::kv::RANGE, &prefix(b'a'));
    let answer = raw.answer(stream);
    assert_eq!((answer.code, answer.text.as_str()), (Some(12), "unknown service etcdserverpb.KV"));
}

/// What the shards did is told now and then, so it is waited for.
#[test]
fn compactions_and_applies_are_counted() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut client = member.client();
    for value in 0..10 {
        client.put(&put("k", value.to_string())).expect("written");
    }
    client.delete_range(&DeleteRangeRequest { key: "k".into(), ..Default::default() }).expect("deleted");
    client.compact(&CompactionRequest { revision: 11, physical: true }).expect("compacted");
    let seen = || {
        let samples = samples(&get(&member, "/metrics").body);
        let applied =
            "etcd_server_apply_duration_seconds_count{op=\"Batch\",success=\"true\",version=\"v3\"}";
        samples[applied] >= 1.0
            && samples["etcd_mvcc_delete_total"] == 1.0
            && samples["etcd_debugging_mvcc_db_compaction_keys_total"] == 9.0
            && samples["etcd_debugging_mvcc_db_compaction_last"] > 1.6e9
            && samples["etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds_count"] >= 1.0
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !seen() {
        assert!(Instant::now() < deadline, "{}", get(&member, "/metrics").body);
    }
}

#[test]
fn slow_requests_and_applies_are_logged() {
    let folder = Scratch::new();
    let log = |folder: &Scratch| std::fs::read_to_string(folder.path().join("log.txt")).expect("a log");
    let slow = ["--warning-unary-request-duration=1ns", "--warning-apply-duration=1ns"].map(str::to_owned);
    let member = Launch::new(folder.path()).flags(&slow).member();
    member.client().put(&put("k", "v")).expect("written");
    let deadline = Instant::now() + Duration::from_secs(20);
    let has = |word: &str| log(&folder).contains(word);
    while !(has("\"response type\":\"/etcdserverpb.KV/Put\"") && has("apply request took too long")) {
        assert!(Instant::now() < deadline, "{}", log(&folder));
    }
    drop(member);
    let quiet = Scratch::new();
    let never = ["--warning-unary-request-duration=0", "--experimental-warning-apply-duration=0s"];
    let member = Launch::new(quiet.path()).flags(&never.map(str::to_owned)).member();
    member.client().put(&put("k", "v")).expect("written");
    get(&member, "/metrics");
    assert!(!log(&quiet).contains("request stats"));
}

#[test]
fn a_file_configures_a_member() {
    let folder = Scratch::new();
    let path = folder.path().join("windlass.yml");
    // The address is the launch's, which waits there; its flags do not count.
    let launch = Launch::new(folder.path());
    let (endpoint, data) = (launch.endpoint().to_owned(), folder.path().join("elsewhere"));
    let text = format!(
        "name: filed\ndata-dir: {}\nlisten-client-urls: http://{endpoint}\nadvertise-client-urls: http://{endpoint}\n\
         listen-peer-urls: http://127.0.0.1:0\nquota-backend-bytes: 12345678\nlog-outputs: [stderr]\nfoo: bar\n",
        data.display()
    );
    std::fs::write(&path, text).expect("a file");
    let member = launch.variable("ETCD_CONFIG_FILE", path.to_str().expect("UTF-8")).member();
    assert_eq!(member.metric("etcd_server_quota_backend_bytes"), 12_345_678.0);
    assert!(data.is_dir() && !folder.path().join("data").exists());
    let members = member.client().member_list(&MemberListRequest { linearizable: true }).expect("answered");
    assert_eq!(members.members[0].name, "filed");
    let log = std::fs::read_to_string(folder.path().join("log.txt")).expect("a log");
    assert!(log.contains("loaded server configuration") && log.contains("unknown field"), "{log}");
}
