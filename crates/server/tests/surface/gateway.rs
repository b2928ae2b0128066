//! The JSON gateway, beside a real etcd's.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::Value;

use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch, etcd_folder, free_address};
use crate::raw::Page;

/// Sends one request on a connection of its own and reads the whole answer.
pub fn exchange(mut socket: impl Read + Write, head: &str, body: &[u8]) -> Page {
    let head = format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all(head.as_bytes()).expect("the server reads");
    // A server may answer before it has read a body that is too large.
    let _ = socket.write_all(body);
    let mut answer = Vec::new();
    let ended = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{ended:?}: {answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let fields = lines.filter_map(|line| line.split_once(": "));
    let headers = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Page { status: status.parse().expect("a number"), headers: headers.collect(), body: body.to_owned() }
}

/// A request with a body and some more headers.
pub fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> Page {
    let socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_read_timeout(Some(REQUEST_TIMEOUT)).expect("a timeout");
    exchange(socket, &format!("{method} {path} HTTP/1.1\r\nHost: {address}{headers}"), body.as_bytes())
}

/// What a POST gets.
pub fn post(address: &str, path: &str, body: &str) -> Page {
    ask(address, "POST", path, "", body)
}

/// An answer without what may differ between two correct servers: ids and terms, of which only the presence counts, and
/// the words for a body that is no request.
pub fn comparable(page: &Page) -> (u16, Value) {
    let mut body = serde_json::from_str(&page.body).unwrap_or_else(|_| Value::String(page.body.clone()));
    if let Some(header) = body.get_mut("header").and_then(Value::as_object_mut) {
        for (name, value) in header.iter_mut() {
            if matches!(name.as_str(), "cluster_id" | "member_id" | "raft_term") {
                *value = Value::Bool(true);
            }
        }
    }
    let is_own = |text: &str| !text.starts_with("etcdserver: ") && !text.starts_with("unexpected EOF");
    if body.get("error").and_then(Value::as_str).is_some_and(is_own) {
        body["error"] = Value::Null;
        body["message"] = Value::Null;
    }
    (page.status, body)
}

/// Requests, each after those before it.
const ASKED: &[(&str, &str, &str)] = &[
    ("POST", "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    ("POST", "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFh","prev_kv":true}"#),
    ("POST", "/v3/kv/put", r#"{"key":"Zm9v","ignoreValue":true}"#),
    ("POST", "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFh","ignore_value":true}"#),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v"}"#),
    ("POST", "/v3beta/kv/range", r#"{"key":"Zm9v"}"#),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v","range_end":"Zm9w","sort_order":"DESCEND","limit":"1"}"#),
    (
        "POST",
        "/v3/kv/range",
        r#"{"key":"Zm9v","rangeEnd":"Zm9w","sortOrder":1,"sortTarget":"MOD","limit":1}"#,
    ),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v","revision":null,"unknown":{"a":[1]}} trailing"#),
    ("POST", "/v3/kv/range", r#"{"key":"AA==","range_end":"AA==","count_only":true}"#),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v","keys_only":true,"serializable":true}"#),
    ("POST", "/v3/kv/range", r#"{"key":"bm9uZQ=="}"#),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v","revision":"100"}"#),
    ("POST", "/v3/kv/range", "{}"),
    ("POST", "/v3/kv/range", ""),
    ("POST", "/v3/kv/range", r#"{"key":5}"#),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v","limit":"x"}"#),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v","sort_order":"BOGUS"}"#),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v""#),
    ("POST", "/v3/kv/range", "[]"),
    ("POST", "/v3/kv/range", "nonsense"),
    (
        "POST",
        "/v3/kv/txn",
        r#"{"compare":[{"key":"Zm9v","target":"VALUE","value":"YmFh"}],"success":[{"requestRange":{"key":"Zm9v"}},
           {"request_put":{"key":"YQ==","value":"Yg=="}},{"request_delete_range":{"key":"Zm9v","prev_kv":true}}]}"#,
    ),
    (
        "POST",
        "/v3/kv/txn",
        r#"{"compare":[{"key":"YQ==","result":"GREATER","target":"CREATE","create_revision":"100"}],
           "failure":[{"request_txn":{"success":[{"request_range":{"key":"YQ=="}}]}}]}"#,
    ),
    ("POST", "/v3/kv/txn", r#"{"compare":[{"key":"YQ==","target":"VERSION","version":0,"result":3}]}"#),
    ("POST", "/v3/kv/txn", r#"{"success":[{}]}"#),
    ("POST", "/v3/kv/txn", "{}"),
    ("POST", "/v3/kv/deleterange", r#"{"key":"YQ==","range_end":"Yg==","prev_kv":true}"#),
    ("POST", "/v3/kv/deleterange", r#"{"key":"YQ=="}"#),
    ("POST", "/v3/kv/compaction", r#"{"revision":"3"}"#),
    ("POST", "/v3/kv/compaction", r#"{"revision":3,"physical":true}"#),
    ("POST", "/v3/kv/compaction", r#"{"revision":"100"}"#),
    ("POST", "/v3/kv/range", r#"{"key":"Zm9v","revision":"2"}"#),
    ("POST", "/v3/maintenance/alarm", "{}"),
    ("GET", "/v3/kv/range", ""),
    ("PUT", "/v3/kv/range", "{}"),
    ("DELETE", "/v3/kv/range", ""),
    ("OPTIONS", "/v3/kv/range", ""),
    ("POST", "/v3/nothing", "{}"),
    ("GET", "/v3/nothing", ""),
    ("POST", "/v3/kv/rangestream", "{}"),
    ("POST", "/v4/kv/range", "{}"),
    ("POST", "/v3//kv/range", "{}"),
    ("GET", "/v3/./kv/../kv/range?a=b&c", ""),
    ("GET", "/v3", ""),
    ("POST", "/v3", ""),
    ("GET", "//health", ""),
    ("GET", "/health/../version/", ""),
];

/// The headers that say what an answer is.
fn told(page: &Page) -> HashMap<&str, &str> {
    let names = [
        "content-type",
        "grpc-metadata-content-type",
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "x-content-type-options",
        "location",
    ];
    names.into_iter().filter_map(|name| Some((name, page.headers.get(name)?.as_str()))).collect()
}

/// Windlass and a real etcd with the same flags; `None` where there is none.
pub fn pair(flags: &[String]) -> Option<[(Scratch, Member); 2]> {
    let etcd = etcd_folder()?.join("etcd");
    let (ours, theirs) = (Scratch::new(), Scratch::new());
    let windlass = Launch::new(ours.path()).flags(flags).member();
    let etcd = Launch::new(theirs.path()).program(&etcd).flags(flags).member();
    Some([(ours, windlass), (theirs, etcd)])
}

#[test]
fn answers_are_those_of_a_real_etcd() {
    let Some([(_ours, windlass), (_theirs, etcd)]) = pair(&[]) else { return };
    for (method, path, body) in ASKED {
        let asked = |member: &Member| ask(member.endpoint(), method, path, "", body);
        let (got, wanted) = (asked(&windlass), asked(&etcd));
        assert_eq!(comparable(&got), comparable(&wanted), "{method} {path} {body}");
        assert_eq!(told(&got), told(&wanted), "{method} {path} {body}");
    }
}

#[test]
fn what_only_this_version_has_is_told() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let status: Value = serde_json::from_str(&post(member.endpoint(), "/v3/maintenance/status", "{}").body)
        .expect("a status is JSON");
    assert_eq!(status["leader"], status["header"]["member_id"], "{status}");
    assert_eq!(
        (status["version"].as_str(), status["header"]["revision"].as_str()),
        (Some("3.6.14"), Some("1"))
    );
    let members = || {
        let page = post(member.endpoint(), "/v3/cluster/member/list", "");
        serde_json::from_str::<Value>(&page.body).expect("JSON")
    };
    // A member tells its client URLs once it serves.
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while members()["members"][0]["clientURLs"].is_null() {
        assert!(Instant::now() < deadline, "{}", members());
    }
    assert_eq!(members()["members"][0]["ID"], status["leader"]);
    assert_eq!(members()["members"][0]["clientURLs"][0], format!("http://{}", member.endpoint()));
}

#[test]
fn a_request_may_be_as_large_as_over_grpc() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    // The value in base64 is longer than the largest message, what it stands for is not.
    for (encoded_len, status) in [(2_000_000, 200), (2_200_000, 400), (3_500_000, 429), (5_000_000, 429)] {
        let body = format!(r#"{{"key":"aw==","value":"{}"}}"#, "A".repeat(encoded_len));
        let page = post(member.endpoint(), "/v3/kv/put", &body);
        assert_eq!(page.status, status, "{encoded_len}: {}", page.body);
        let error: Value = serde_json::from_str(&page.body).expect("JSON");
        assert_eq!(
            error["code"].as_i64(),
            [(400, 3), (429, 8)].into_iter().find(|c| c.0 == status).map(|c| c.1)
        );
    }
}

#[test]
fn hosts_and_origins_are_filtered_as_etcd_does() {
    let rules = ["--cors=http://a.example:80,http://b.example:81", "--host-whitelist=a.example,127.0.0.1"];
    let flags: Vec<String> = rules.iter().map(|&rule| rule.to_owned()).collect();
    let Some([(_ours, windlass), (_theirs, etcd)]) = pair(&flags) else { return };
    let as_host = |member: &Member, method: &str, path: &str, host: &str, headers: &str| {
        let socket = TcpStream::connect(member.endpoint()).expect("the server accepts");
        exchange(socket, &format!("{method} {path} HTTP/1.1\r\nHost: {host}{headers}"), b"")
    };
    for (method, path) in
        [("GET", "/health"), ("POST", "/v3/kv/range"), ("OPTIONS", "/v3/kv/put"), ("GET", "/x")]
    {
        for host in
            ["a.example", "a.example:2379", "127.0.0.1:1", "b.example", "", "[::1]:2379", "a.example:x"]
        {
            for origin in ["", "\r\nOrigin: http://b.example:81", "\r\nOrigin: http://c.example"] {
                let asked = |member: &Member| as_host(member, method, path, host, origin);
                let (got, wanted) = (asked(&windlass), asked(&etcd));
                assert_eq!(comparable(&got), comparable(&wanted), "{method} {path} {host} {origin}");
                assert_eq!(told(&got), told(&wanted), "{method} {path} {host} {origin}");
            }
        }
    }
}

#[test]
fn the_gateway_can_be_switched_off() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--enable-grpc-gateway=false").member();
    let page = post(member.endpoint(), "/v3/kv/range", r#"{"key":"aw=="}"#);
    assert_eq!((page.status, page.body.as_str()), (404, "404 page not found\n"));
}

#[test]
fn http_may_have_addresses_of_its_own() {
    let (folder, http) = (Scratch::new(), free_address());
    let socket = folder.path().join("client.sock");
    let member = Launch::new(folder.path())
        .flag(format!("--listen-client-http-urls=http://{http},unix://{}", socket.display()))
        .member();
    let range = r#"{"key":"aw=="}"#;
    assert_eq!(post(&http, "/v3/kv/range", range).status, 200);
    assert_eq!(ask(&http, "GET", "/version", "", "").status, 200);
    let over_unix = UnixStream::connect(&socket).expect("the server accepts");
    let head = "POST /v3/kv/range HTTP/1.1\r\nHost: x";
    assert_eq!(exchange(over_unix, head, range.as_bytes()).status, 200);
    // gRPC works there, as the start of the member has shown; HTTP does not.
    let mut beside = TcpStream::connect(member.endpoint()).expect("the server accepts");
    beside.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").expect("the server reads");
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    let _ = beside.read_to_end(&mut answer);
    assert_eq!(answer, b"");
}

#[test]
fn clients_may_come_over_unix_sockets() {
    let folder = Scratch::new();
    let socket = folder.path().join("client.sock");
    let start = || {
        let launch = Launch::new(folder.path());
        let urls = format!("--listen-client-urls=http://{},unix://{}", launch.endpoint(), socket.display());
        launch.flag(urls).member()
    };
    let version = || {
        let over_unix = UnixStream::connect(&socket).expect("the server accepts");
        exchange(over_unix, "GET /version HTTP/1.1\r\nHost: x", b"").status
    };
    let member = start();
    assert_eq!(version(), 200);
    // The socket of a member that was killed is in nobody's way.
    member.kill();
    let _member = start();
    assert_eq!(version(), 200);
}
