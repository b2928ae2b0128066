//! The web console as far as it needs no browser: its pages, what they are sent with, and the state behind them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass_api::authpb;
use windlass_api::etcdserverpb as pb;

use crate::process::{Launch, Member, Scratch, free_address};
use crate::raw::{Page, http};
use crate::store::{fill, put};

fn get(address: &str, target: &str) -> Page {
    http(address, "GET", target, "")
}

fn state(address: &str, headers: &str) -> Value {
    let page = http(address, "GET", "/console/state", headers);
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "application/json"));
    serde_json::from_str(&page.body).expect("is JSON")
}

#[test]
fn pages_come_with_a_strict_policy_from_every_http_address() {
    let folder = Scratch::new();
    let metrics = free_address();
    let member = Launch::new(folder.path()).flag(format!("--listen-metrics-urls=http://{metrics}")).member();
    for address in [member.endpoint(), &metrics] {
        for (target, kind) in [
            ("/console", "text/html; charset=utf-8"),
            ("/console/console.css", "text/css; charset=utf-8"),
            ("/console/main.js", "text/javascript; charset=utf-8"),
            ("/console/icon.svg", "image/svg+xml"),
            ("/console/state", "application/json"),
        ] {
            let page = get(address, target);
            assert_eq!((page.status, page.headers["content-type"].as_str()), (200, kind), "{target}");
            let policy = &page.headers["content-security-policy"];
            assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
            assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
            assert_eq!(page.headers["x-content-type-options"], "nosniff");
            assert_eq!(page.headers["x-frame-options"], "DENY");
        }
        let moved = get(address, "/console/");
        assert_eq!((moved.status, moved.headers["location"].as_str()), (308, "../console"));
        for target in ["/console/nothing.js", "/consoles"] {
            assert_eq!(get(address, target).status, 404, "{target}");
        }
        assert_eq!(http(address, "POST", "/console/state", "").status, 405);
    }
}

#[test]
fn the_state_counts_what_was_done() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--name=counted").flag("--shards=2").member();
    fill(&member, "k", 256, 1000);
    let mut client = member.client();
    client.put(&put("a", "1")).expect("written");
    // A flush counts when every shard has what is in it.
    let deadline = Instant::now() + Duration::from_secs(20);
    let told = loop {
        let told = state(member.endpoint(), "");
        if told["commits"]["commands"] == 3 {
            break told;
        }
        assert!(Instant::now() < deadline, "{told}");
    };
    assert_eq!(told["gateway"], true);
    assert_eq!(told["trouble"], Value::Null);
    assert_eq!(told["members"][0]["name"], "counted");
    assert_eq!(told["raft"]["leader"], told["raft"]["member"]);
    assert_eq!(told["raft"]["revision"], 4);
    assert_eq!(told["shards"].as_array().map(Vec::len), Some(2));
    let commits = &told["commits"];
    let total = |histogram: &Value| -> u64 {
        histogram["counts"]
            .as_array()
            .expect("pairs")
            .iter()
            .map(|pair| pair[1].as_u64().expect("a count"))
            .sum()
    };
    // Two of puts, and the entries with which the leader and its cluster began.
    assert!(total(&commits["answered"]) >= 2, "{commits}");
    assert_eq!(commits["stages"].as_array().map(Vec::len), Some(8));
    assert_eq!(commits["stages"][3]["stage"], "device_write");
    assert!(total(&commits["stages"][3]) >= total(&commits["answered"]));
    assert!(commits["bytes"].as_u64() >= Some(256_000), "{commits}");
    let next = commits["next"].as_u64().expect("a number");
    let slowest = commits["slowest"].as_array().expect("a list");
    assert!(!slowest.is_empty());
    let page = get(member.endpoint(), &format!("/console/state?since={next}"));
    let later: Value = serde_json::from_str(&page.body).expect("is JSON");
    // The member may have written something of its own since.
    let since = later["commits"]["slowest"].as_array().expect("a list");
    assert!(since.iter().all(|commit| !slowest.contains(commit)), "{since:?} was told before");
}

/// The gateway's answer to a user's name and password.
fn token(member: &Member, name: &str) -> String {
    let request = pb::AuthenticateRequest { name: name.into(), password: "secret".into() };
    member.client().authenticate(&request).expect("authenticated").token
}

#[test]
fn names_and_addresses_are_for_users_once_there_are_some() {
    let folder = Scratch::new();
    let metrics = free_address();
    let member = Launch::new(folder.path()).flag(format!("--listen-metrics-urls=http://{metrics}")).member();
    let told = state(&metrics, "");
    assert_eq!((&told["gateway"], &told["members"][0]["name"]), (&json!(false), &json!("default")));
    let mut client = member.client();
    for name in ["root", "someone"] {
        let user =
            pb::AuthUserAddRequest { name: name.into(), password: "secret".into(), ..Default::default() };
        client.user_add(&user).expect("added");
    }
    client.role_add(&pb::AuthRoleAddRequest { name: "root".into() }).expect("added");
    let permission = authpb::Permission { key: "k".into(), ..Default::default() };
    let grant = pb::AuthRoleGrantPermissionRequest { name: "root".into(), perm: Some(permission) };
    client.role_grant_permission(&grant).expect("granted");
    let grant = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    client.user_grant_role(&grant).expect("granted");
    client.auth_enable(&pb::AuthEnableRequest {}).expect("enabled");
    for (address, headers) in [
        (&*metrics, String::new()),
        (member.endpoint(), String::new()),
        (member.endpoint(), "Authorization: x\r\n".into()),
    ] {
        let told = state(address, &headers);
        assert_eq!(told["auth"], json!({ "enabled": true, "shows_members": false }));
        let us = &told["members"][0];
        assert!(us["id"].is_string() && us["name"].is_null() && us["client_urls"].is_null(), "{us}");
    }
    let told = state(member.endpoint(), &format!("Authorization: {}\r\n", token(&member, "someone")));
    assert_eq!(told["members"][0]["name"], "default");
}

#[test]
fn without_a_gateway_the_state_says_so() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--enable-grpc-gateway=false").member();
    assert_eq!(state(member.endpoint(), "")["gateway"], false);
}
