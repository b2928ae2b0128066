//! The same over HTTP/1.1, on the same port.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::scene::{Bounds, Scene};
use crate::silent::GIVEN_UP;

/// What one such connection may make the server keep.
const KEPT_KIB_MAX: u64 = 24 << 10;

fn connect(scene: &Scene) -> TcpStream {
    let socket = TcpStream::connect(scene.member.endpoint()).expect("the server accepts");
    socket.set_read_timeout(Some(GIVEN_UP)).expect("a timeout");
    socket.set_write_timeout(Some(GIVEN_UP)).expect("a timeout");
    socket
}

/// Sends `part` again and again until it was sent `count` times, or the server wants no more. How often it was.
fn send(mut socket: &TcpStream, part: &[u8], count: u64) -> u64 {
    (0..count).take_while(|_| socket.write_all(part).is_ok()).count() as u64
}

/// What the server answers before it ends the connection.
fn answer(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A server that has not read everything may reset the connection after its answer.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_head_that_does_not_end() {
    /// Between two bytes.
    const PAUSE: Duration = Duration::from_millis(20);
    let scene = Scene::new();
    let mut socket = connect(&scene);
    socket.set_read_timeout(Some(PAUSE)).expect("a timeout");
    let bytes = GIVEN_UP.as_millis() / PAUSE.as_millis();
    let bounds = Bounds::new(bytes as u64, KEPT_KIB_MAX);
    let mut answer = Vec::new();
    scene.attack("a slow head", &bounds, || {
        send(&socket, b"GET / HTTP/1.1\r\nx: ", 1);
        let deadline = Instant::now() + GIVEN_UP;
        // A byte now and then does not keep it alive.
        while send(&socket, b"x", 1) == 1 {
            let mut input = [0; 1000];
            match socket.read(&mut input) {
                Ok(0) => break,
                Ok(len) => answer.extend_from_slice(&input[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
            assert!(Instant::now() < deadline, "the server waits for ever");
        }
    });
    assert!(!answer.starts_with(b"HTTP/1.1 2"));
}

#[test]
fn heads_that_are_too_large() {
    const PARTS: u64 = 100_000;
    let scene = Scene::new();
    for (name, part) in [("one large field", vec![b'x'; 100]), ("many fields", b"a: b\r\n".to_vec())] {
        let mut socket = connect(&scene);
        let bounds = Bounds::new(PARTS, KEPT_KIB_MAX);
        let sent = scene.attack(name, &bounds, || {
            send(&socket, b"GET /version HTTP/1.1\r\nx: ", 1);
            send(&socket, &part, PARTS)
        });
        assert!(sent < PARTS, "{name}: everything was read");
        let answer = answer(&mut socket);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{name}: {answer}");
    }
}

#[test]
fn a_body_that_does_not_end() {
    const CHUNKS: u64 = 2000;
    let scene = Scene::new();
    let mut socket = connect(&scene);
    let bounds = Bounds::new(CHUNKS, KEPT_KIB_MAX);
    let chunk = [b"8000\r\n", &[b' '; 0x8000][..], b"\r\n"].concat();
    let sent = scene.attack("an endless body", &bounds, || {
        send(&socket, b"POST /v3/kv/put HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", 1);
        send(&socket, &chunk, CHUNKS)
    });
    assert!(sent < CHUNKS, "everything was read");
    let answer = answer(&mut socket);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[test]
fn pages_that_nobody_reads() {
    const REQUESTS: u64 = 20_000;
    let scene = Scene::new();
    let socket = connect(&scene);
    socket.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let bounds = Bounds::new(REQUESTS, KEPT_KIB_MAX);
    scene.attack("unread pages", &bounds, || {
        send(&socket, b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", REQUESTS);
    });
}
