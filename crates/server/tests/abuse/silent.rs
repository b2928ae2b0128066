//! Connections that say nothing, or everything slowly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use prost::Message;
use windlass_api::method::kv;
use windlass_http2::CLIENT_PREFACE;

use crate::hostile::{Hostile, call};
use crate::process::{REQUEST_TIMEOUT, raise_descriptors};
use crate::scene::{Bounds, Scene};
use crate::store::{prefix, put};

/// What a connection may cost that has sent no more than its preface.
const CONNECTION_KIB_MAX: u64 = 32;

/// How long a test waits for the server to give a connection up: more than its `header_timeout`.
pub const GIVEN_UP: Duration = Duration::from_secs(20);

/// Connections of one test: as many as the process may have, and their other ends in the server.
fn connections() -> u64 {
    const WANTED: u64 = 3000;
    const OTHERS: u64 = 200;
    WANTED.min(raise_descriptors().saturating_sub(OTHERS))
}

#[test]
fn thousands_of_silent_connections() {
    let count = connections();
    let scene = Scene::new();
    let bounds = Bounds::new(count, count * CONNECTION_KIB_MAX);
    let connect = |bytes: &[u8]| {
        let mut socket = TcpStream::connect(scene.member.endpoint()).expect("the server accepts");
        socket.write_all(bytes).expect("sent");
        socket.set_read_timeout(Some(GIVEN_UP)).expect("a timeout");
        socket
    };
    let begins: [&[u8]; 3] = [b"", &CLIENT_PREFACE[..10], CLIENT_PREFACE];
    let sockets = scene.attack("silent connections", &bounds, || {
        let sockets: Vec<_> = (0..count as usize).map(|i| connect(begins[i % begins.len()])).collect();
        scene.rounds(100);
        sockets
    });
    // Who has not even shown a protocol is given up.
    for mut socket in sockets.into_iter().take(2) {
        assert_eq!(socket.read(&mut [0; 100]).expect("the server ends it"), 0);
    }
}

#[test]
fn requests_byte_by_byte() {
    const SENDERS: usize = 30;
    let scene = Scene::new();
    let endpoint = scene.member.endpoint();
    let requests: Vec<Vec<u8>> =
        (0..SENDERS).map(|i| call(1, kv::PUT, &put(format!("slow{i}"), "value").encode_to_vec())).collect();
    let longest = requests.iter().map(Vec::len).max().expect("some");
    let bytes = requests.iter().map(Vec::len).sum::<usize>() as u64;
    let bounds = Bounds::new(bytes, 16 << 10);
    let connections: Vec<_> = (0..SENDERS).map(|_| Hostile::connect(endpoint, &[])).collect();
    scene.attack("requests byte by byte", &bounds, || {
        connections.iter().for_each(|c| c.socket.set_nodelay(true).expect("an option"));
        for at in 0..longest {
            for (connection, request) in connections.iter().zip(&requests) {
                if let Some(byte) = request.get(at..at + 1) {
                    (&connection.socket).write_all(byte).expect("the server reads");
                }
            }
        }
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        while scene.member.client().range(&prefix(b's')).expect("read").count < SENDERS as i64 {
            assert!(Instant::now() < deadline, "not all puts are done");
        }
    });
}
