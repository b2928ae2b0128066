//! A watch through the JSON gateway: the same stream, as lines.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use crate::process::{Launch, REQUEST_TIMEOUT, Scratch};
use crate::store::put;

#[test]
fn a_watch_is_lines_of_json() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut socket = TcpStream::connect(member.endpoint()).unwrap();
    socket.set_read_timeout(Some(REQUEST_TIMEOUT)).unwrap();
    // The key "k".
    let body = r#"{"create_request":{"key":"aw==","prev_kv":true}}"#;
    let head = format!("POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut lines = BufReader::new(socket).lines().map(|line| line.unwrap());
    let mut next = |word: &str| lines.find(|line| line.contains(word)).expect("a line with it");
    let created = next("created");
    assert!(
        created.starts_with(r#"{"result":{"header":{"#) && created.contains(r#""created":true"#),
        "{created}"
    );
    let mut client = member.client();
    client.put(&put("k", "v")).unwrap();
    let event = next("events");
    let kv = r#""events":[{"kv":{"key":"aw==","create_revision":"2","mod_revision":"2","version":"1","value":"dg=="}}]"#;
    assert!(event.contains(kv), "{event}");
    client.put(&put("k", "w")).unwrap();
    assert!(next("events").contains(r#""prev_kv":{"key":"aw==""#));
}
