//! Members whose address says nothing of where they run: behind a port that leads elsewhere, and in a container.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use windlass_client::{Security, fetch};

use crate::{json, live, loader, windlass};

/// A profile of two seconds at `endpoint`, while the member at `loaded` has something to do.
fn profile(endpoint: &str, loaded: &str) -> Value {
    let loader = loader(loaded);
    let report = json(&["profile", "--endpoint", endpoint, "--seconds", "2", "--json"]);
    assert!(loader.join().expect("no panic").is_clean());
    report
}

/// What the member was seen to write.
fn own_bytes(report: &Value) -> u64 {
    let moments = report["moments"].as_array().expect("is a list");
    moments.iter().filter_map(|moment| moment["own_bytes"].as_u64()).sum()
}

/// A port of this machine that leads to the member, as if that ran on another one. It ends with the process.
fn tunnel(member: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("is bound");
    let member = member.to_owned();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|socket| pass(socket, &member)));
    address
}

fn pass(mut socket: TcpStream, member: &str) {
    let mut lines =
        BufReader::new(socket.try_clone().expect("a second handle")).lines().map_while(Result::ok);
    // Whoever only connects asks for nothing.
    let Some(request) = lines.next() else { return };
    lines.find(String::is_empty);
    let path = request.split(' ').nth(1).expect("a path");
    let page =
        fetch(member, &Security::default(), path, Duration::from_secs(10)).expect("the member answers");
    let mut page: Value = serde_json::from_str(&page).expect("is JSON");
    page["boot_id"] = "5a1e1f6d-0000-4000-8000-000000000000".into();
    let page = page.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
    // Whoever asked may be gone.
    let _ = socket.write_all((head + &page).as_bytes());
}

#[test]
fn a_member_behind_a_port_of_this_machine_is_not_taken_for_a_process_here() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (_cluster, endpoint) = live::member(&program, folder.path(), &[]);
    let report = profile(&tunnel(&endpoint).to_string(), &endpoint);
    assert_eq!(report["moments"].as_array().map(Vec::len), Some(0), "{report}");
    let words = report["disk_words"].as_str().expect("is text");
    assert!(words.contains("the member runs on another machine"), "{words}");
    assert!(report["stages"][3]["p50_ns"].as_u64() > Some(0), "its commits are known: {report}");
}

/// A program that runs the member with process numbers and a `/proc` of its own; `None` after saying why there is none.
fn container(program: &Path, folder: &Path) -> Option<PathBuf> {
    const WORDS: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    if !Command::new("unshare").args(WORDS).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: `unshare` cannot make namespaces of processes here");
        return None;
    }
    let script = folder.join("in-a-container");
    let text = format!("#!/bin/sh\nexec unshare {} '{}' \"$@\"\n", WORDS.join(" "), program.display());
    std::fs::write(&script, text).expect("writes");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("may be run");
    Some(script)
}

#[test]
fn a_member_in_a_container_is_found_by_its_number_outside() {
    let Some(program) = windlass() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let Some(container) = container(&program, folder.path()) else { return };
    let (_cluster, endpoint) = live::member(&container, folder.path(), &[]);
    let page = fetch(&endpoint, &Security::default(), "/debug/commits", Duration::from_secs(10));
    let page: Value = serde_json::from_str(&page.expect("the member answers")).expect("is JSON");
    assert_eq!(page["pid"], 1, "it knows itself by a number that is another's here");
    let report = profile(&endpoint, &endpoint);
    assert!(own_bytes(&report) > 0, "{report}");
    assert!(!report["device"]["mount"].is_null(), "{report}");
}
