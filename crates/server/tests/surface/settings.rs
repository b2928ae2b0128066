//! Settings of the log that are changed while the member runs: who may, what is refused, and that nothing is lost meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_api::etcdserverpb::{
    AuthEnableRequest, AuthUserAddRequest, AuthUserGrantRoleRequest, AuthenticateRequest, RangeRequest,
};
use windlass_client::{Ask, Security, ask};

use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch};
use crate::raw::http;
use crate::store::put;

const PATH: &str = "/debug/settings";

/// Status and text of an answer, to a user with this token.
fn asked(member: &Member, method: &str, query: &str, body: &str, token: &str) -> (u16, String) {
    let path = format!("{PATH}{query}");
    let request = Ask { method, path: &path, token, body };
    ask(member.endpoint(), &Security::default(), request, REQUEST_TIMEOUT).expect("the member answers")
}

/// The page after a request that must be granted.
fn granted(member: &Member, method: &str, query: &str, body: &str) -> Value {
    let (status, text) = asked(member, method, query, body, "");
    assert_eq!(status, 200, "{method} {query} {body:?}: {text}");
    serde_json::from_str(&text).expect("is JSON")
}

fn live(folder: &Scratch) -> Member {
    Launch::new(folder.path()).flag("--enable-live-settings").member()
}

#[test]
fn without_the_flag_there_is_no_such_page() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    for method in ["GET", "PUT", "DELETE"] {
        let answer = asked(&member, method, "", "flush-depth = 1", "");
        assert_eq!(answer, (404, "404 page not found\n".to_owned()), "{method}");
    }
}

#[test]
fn settings_are_changed_for_good_or_on_trial() {
    let folder = Scratch::new();
    let member = live(&folder);
    let started = granted(&member, "GET", "", "")["started"].clone();
    assert_eq!(started["flush-depth"], "2");
    let kept = granted(&member, "PUT", "", "flush-depth = 4\nbatch-linger = 1ms");
    assert_eq!((&kept["now"]["flush-depth"], &kept["kept"]), (&"4".into(), &kept["now"]));
    let trial = granted(&member, "PUT", "?for=10m", "batch-bytes = 4096");
    let (now, left_s) = (&trial["now"], trial["trial_left_s"].as_f64());
    assert_eq!((&now["batch-bytes"], &now["flush-depth"]), (&"4096".into(), &"4".into()));
    assert!(left_s.is_some_and(|left_s| (500.0..=600.0).contains(&left_s)) && trial["kept"] == kept["kept"]);
    let ended = granted(&member, "DELETE", "", "");
    assert_eq!((&ended["now"], &ended["trial_left_s"]), (&kept["kept"], &Value::Null));
    granted(&member, "PUT", "?for=1ms", "flush-depth = 32");
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while granted(&member, "GET", "", "")["now"] != kept["kept"] {
        assert!(Instant::now() < deadline, "a trial ends by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(granted(&member, "GET", "", "")["started"], started);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let folder = Scratch::new();
    let member = live(&folder);
    let before = granted(&member, "GET", "", "");
    for (method, query, body, status) in [
        ("PUT", "", "", 400),
        ("PUT", "", "flush-depth", 400),
        ("PUT", "", "flush-depth = 0", 400),
        ("PUT", "", "batch-bytes = 16777217", 400),
        ("PUT", "", "batch-linger = 1h", 400),
        ("PUT", "", "shards = 2", 400),
        ("PUT", "?for=1h", "flush-depth = 1", 400),
        ("PUT", "?for=", "flush-depth = 1", 400),
        ("PUT", "?fro=30s", "flush-depth = 1", 400),
        ("PUT", "?for=30s&foo=1", "flush-depth = 1", 400),
        ("GET", "?for=30s", "", 400),
        ("PUT", "", &"#".repeat(5000), 400),
        ("POST", "", "flush-depth = 1", 405),
    ] {
        let (answered, text) = asked(&member, method, query, body, "");
        assert_eq!(answered, status, "{method} {query} {body:?}: {text}");
        assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    }
    let page = http(member.endpoint(), "DELETE", PATH, "Origin: http://elsewhere.example\r\n");
    assert_eq!(page.status, 403, "{}", page.body);
    assert_eq!(granted(&member, "GET", "", ""), before);
}

#[test]
fn root_alone_may_once_there_are_users() {
    let folder = Scratch::new();
    let member = live(&folder);
    let mut client = member.client();
    for name in ["root", "alice"] {
        let user = AuthUserAddRequest { name: name.into(), password: "p".into(), ..Default::default() };
        client.user_add(&user).expect("is added");
    }
    let root = AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    client.user_grant_role(&root).expect("is granted");
    client.auth_enable(&AuthEnableRequest {}).expect("is enabled");
    let mut token = |name: &str| {
        let request = AuthenticateRequest { name: name.into(), password: "p".into() };
        client.authenticate(&request).expect("is known").token
    };
    let (root, alice) = (token("root"), token("alice"));
    for (token, status) in [("", 401), ("nonsense.1", 401), (alice.as_str(), 403), (root.as_str(), 200)] {
        for (method, body) in [("GET", ""), ("PUT", "flush-depth = 3"), ("DELETE", "")] {
            let (answered, text) = asked(&member, method, "", body, token);
            assert_eq!(answered, status, "{method}: {text}");
        }
    }
}

#[test]
fn writes_go_on_while_settings_change() {
    const WRITERS: usize = 4;
    let folder = Scratch::new();
    let member = live(&folder);
    let over = AtomicBool::new(false);
    let written: usize = std::thread::scope(|scope| {
        let write = |writer: usize| {
            let mut client = member.client();
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                client.put(&put(format!("{writer}/{count:06}"), vec![b'v'; 2000])).expect("is put");
                count += 1;
            }
            count
        };
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        for round in 0..60 {
            let depth = [1, 32, 2, 5][round % 4];
            let bytes = [1, 1 << 20, 3000][round % 3];
            let linger = ["adaptive", "0s", "500us", "3ms", "adaptive"][round % 5];
            let body = format!("flush-depth = {depth}\nbatch-bytes = {bytes}\nbatch-linger = {linger}");
            let query = if round % 2 == 0 { "?for=5ms" } else { "" };
            granted(&member, "PUT", query, &body);
        }
        over.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("every put is answered")).sum()
    });
    member.kill();
    let member = live(&folder);
    let all = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        count_only: true,
        ..Default::default()
    };
    let found = member.client().range(&all).expect("is answered").count;
    assert_eq!(found, written as i64, "each answered put survives a crash");
}
