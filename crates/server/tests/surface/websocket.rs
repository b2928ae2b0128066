//! WebSockets to the gateway's streams, beside a real etcd's.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::gateway::{pair, post};
use crate::process::{Launch, Member, REQUEST_TIMEOUT, Scratch};

/// The key of RFC 6455's example, and what it is answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's end of a WebSocket.
struct Client {
    socket: TcpStream,
    head: String,
}

/// First byte of a frame that is a whole message, and its payload.
type Frame = (u8, Vec<u8>);

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

impl Client {
    /// Asks for one at `path`, with more headers.
    fn open(address: &str, path: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_read_timeout(Some(REQUEST_TIMEOUT)).expect("a timeout");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        socket.write_all(request.as_bytes()).expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a head");
            head.extend_from_slice(&byte);
        }
        Self { socket, head: String::from_utf8(head).expect("text") }
    }

    fn send(&mut self, first: u8, payload: &[u8]) {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first];
        match u8::try_from(payload.len()) {
            Ok(len @ 0..126) => frame.push(0x80 | len),
            _ => {
                frame.push(0xff);
                frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.socket.write_all(&frame).expect("the server reads");
    }

    /// The next frame; `None` at the end of the connection.
    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        self.socket.read_exact(&mut head).ok()?;
        let len = match head[1] {
            126 => {
                let mut len = [0; 2];
                self.socket.read_exact(&mut len).ok()?;
                usize::from(u16::from_be_bytes(len))
            }
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        self.socket.read_exact(&mut payload).ok()?;
        Some((head[0], payload))
    }

    /// The next message, without what may differ between two correct servers.
    fn message(&mut self) -> Value {
        let (first, payload) = self.next().expect("a message");
        assert_eq!(first, TEXT);
        let text = String::from_utf8(payload).expect("text");
        let Ok(mut message) = serde_json::from_str::<Value>(&text) else { return json!(text) };
        if let Some(header) = message.pointer_mut("/result/header").and_then(Value::as_object_mut) {
            header.retain(|name, _| name == "revision");
        }
        message
    }
}

/// What one server says to a client that watches in every way that there is.
fn watched(address: &str, path: &str) -> Vec<Value> {
    let mut client = Client::open(address, path, "");
    assert!(client.head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{}", client.head);
    assert!(client.head.contains(ACCEPT), "{}", client.head);
    let mut said = Vec::new();
    client.send(TEXT, br#"{"create_request":{"key":"Zm9v"}}"#);
    said.push(client.message());
    assert_eq!(post(address, "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).status, 200);
    said.push(client.message());
    client.send(PING, b"hi");
    assert_eq!(client.next(), Some((PONG, b"hi".to_vec())));
    // In two frames.
    client.send(0x01, br#"{"create_request":"#);
    client.send(0x80, br#"{"key":"YQ==","watch_id":"7"}}"#);
    said.push(client.message());
    client.send(0x82, br#"{"progress_request":{}}"#);
    said.push(client.message());
    // In two messages, the second with more than one value.
    client.send(TEXT, br#"{"cancel_request":"#);
    client.send(TEXT, br#"{"watch_id":"7"}} {"create_request":{"key":"YQ==","watch_id":"7"}}"#);
    said.extend([client.message(), client.message()]);
    client.send(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(client.next(), Some((CLOSE, 1000_u16.to_be_bytes().to_vec())));
    assert_eq!(client.next(), None);
    said
}

#[test]
fn streams_are_those_of_a_real_etcd() {
    let Some([(_ours, windlass), (_theirs, etcd)]) = pair(&[]) else { return };
    let both = |said: &dyn Fn(&str) -> Vec<Value>| {
        let (got, wanted) = (said(windlass.endpoint()), said(etcd.endpoint()));
        assert_eq!(got, wanted);
        got
    };
    assert_eq!(both(&|address| watched(address, "/v3/watch")).len(), 6);
    both(&|address| watched(address, "/v3beta/watch"));
    let renewed = |address: &str| {
        let mut client = Client::open(address, "/v3/lease/keepalive", "");
        client.send(TEXT, br#"{"ID":"5"}{"ID":"6"}"#);
        vec![client.message(), client.message()]
    };
    both(&renewed);
    let nothing = |address: &str| {
        let mut client = Client::open(address, "/v3/nothing", "");
        let said = vec![client.message()];
        assert_eq!(client.next(), None);
        said
    };
    assert_eq!(both(&nothing), [json!("Not Found")]);
    // What asks for no stream's path is answered as ever.
    for member in [&windlass, &etcd] {
        let page = Client::open(member.endpoint(), "/health", "Connection: close\r\n");
        assert!(page.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", page.head);
    }
}

#[test]
fn handshakes_that_are_none_are_refused_as_by_a_real_etcd() {
    let Some([(_ours, windlass), (_theirs, etcd)]) = pair(&[]) else { return };
    for (method, key, version) in [("POST", KEY, "13"), ("GET", "", "13"), ("GET", KEY, "12")] {
        let asked = |member: &Member| {
            let headers = format!(
                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
                 Sec-WebSocket-Version: {version}"
            );
            let head = format!("{method} /v3/watch HTTP/1.1\r\nHost: {}{headers}", member.endpoint());
            let mut socket = TcpStream::connect(member.endpoint()).expect("the server accepts");
            socket.set_read_timeout(Some(REQUEST_TIMEOUT)).expect("a timeout");
            socket.write_all(format!("{head}\r\nContent-Length: 0\r\n\r\n").as_bytes()).expect("read");
            let mut answer = [0; 12];
            socket.read_exact(&mut answer).expect("an answer");
            String::from_utf8(answer.to_vec()).expect("text")
        };
        let (got, wanted) = (asked(&windlass), asked(&etcd));
        assert_eq!(got, wanted, "{method} {key:?} {version}");
        assert!(got.starts_with("HTTP/1.1 40"), "{got}");
    }
}

#[test]
fn tokens_come_as_protocol_or_cookie() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let address = member.endpoint();
    for (path, body) in [
        ("user/add", r#"{"name":"root","password":"r"}"#),
        ("role/add", r#"{"name":"root"}"#),
        ("user/grant", r#"{"user":"root","role":"root"}"#),
        ("enable", "{}"),
    ] {
        assert_eq!(post(address, &format!("/v3/auth/{path}"), body).status, 200, "{path}");
    }
    let page = post(address, "/v3/auth/authenticate", r#"{"name":"root","password":"r"}"#);
    let answer: Value = serde_json::from_str(&page.body).expect("JSON");
    let token = answer["token"].as_str().expect("a token");
    for (headers, is_root) in [
        (String::new(), false),
        (format!("Sec-WebSocket-Protocol: {token}\r\n"), false),
        (format!("Sec-WebSocket-Protocol: Bearer, {token}\r\n"), true),
        (format!("Cookie: a=b; token={token}\r\n"), true),
    ] {
        let mut client = Client::open(address, "/v3/watch", &headers);
        assert_eq!(client.head.contains("Bearer"), headers.contains("Protocol"), "{}", client.head);
        client.send(TEXT, br#"{"create_request":{"key":"Zm9v"}}"#);
        assert_eq!(client.message()["result"]["canceled"] != json!(true), is_root, "{headers}");
    }
}

#[test]
fn a_member_that_stops_and_clients_that_break_the_protocol_end_streams() {
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let create = br#"{"create_request":{"key":"Zm9v"}}"#;
    // The last says that five MiB follow, which is more than a request may be.
    let large = [TEXT, 0xff, 0, 0, 0, 0, 0, 0x50, 0, 0];
    for bad in [&[0xff_u8, 0xff][..], &[TEXT, 0], &[0x80, 0x80], &large] {
        let mut client = Client::open(member.endpoint(), "/v3/watch", "");
        client.send(TEXT, create);
        client.message();
        client.socket.write_all(bad).expect("the server reads");
        assert_eq!(client.next(), None, "{bad:?}");
    }
    // A value without an end, in messages that are not too large.
    let mut client = Client::open(member.endpoint(), "/v3/watch", "");
    client.send(TEXT, br#"{"a":""#);
    for _ in 0..4 {
        client.send(TEXT, &vec![b'a'; 1 << 20]);
    }
    assert_eq!(client.message()["code"], 8);
    // Nothing but white space is no message, and takes no time.
    let mut client = Client::open(member.endpoint(), "/v3/watch", "");
    client.send(TEXT, &vec![b' '; 3 << 20]);
    client.send(TEXT, create);
    assert_eq!(client.message()["result"]["created"], true);
    let mut client = Client::open(member.endpoint(), "/v3/watch", "");
    client.send(TEXT, create);
    client.message();
    drop(member);
    // With or without a last message.
    while client.next().is_some() {}
}
