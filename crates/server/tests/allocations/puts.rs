//! A client that sends many puts with one write, so that the member takes them as one batch.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use prost::Message;
use windlass_api::etcdserverpb::PutRequest;
use windlass_api::method;
use windlass_http2::{ClientSession, Field, Settings};

use crate::process::REQUEST_TIMEOUT;

/// Keys that are written in turn: few, so that all of them are there soon, and none is created later.
const KEYS: usize = 100;
const VALUE: &[u8] = &[b'v'; 100];

/// A connection.
pub struct Puts {
    socket: TcpStream,
    session: ClientSession,
    prev_kv: bool,
    buffer: Vec<u8>,
}

impl Puts {
    /// To a member; the puts ask for the previous value, or do not.
    pub fn connect(endpoint: &str, prev_kv: bool) -> Self {
        let socket = TcpStream::connect(endpoint).expect("the member accepts");
        socket.set_read_timeout(Some(REQUEST_TIMEOUT)).expect("a socket takes a timeout");
        let session = ClientSession::new(&Settings::default(), Instant::now()).expect("memory");
        Self { socket, session, prev_kv, buffer: vec![0; 64 << 10] }
    }

    /// Sends so many puts at once and waits until all are answered.
    pub fn round(&mut self, size: usize) {
        let head = [
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "http"),
            Field::constant(":authority", "member"),
            Field::new(b":path", method::kv::PUT.as_bytes()).expect("a path"),
            Field::constant("content-type", "application/grpc"),
            Field::constant("te", "trailers"),
        ];
        for i in 0..size {
            let key = format!("k{:02}", i % KEYS).into_bytes().into();
            let put = PutRequest { key, value: VALUE.into(), prev_kv: self.prev_kv, ..PutRequest::default() };
            let put = put.encode_to_vec();
            let len = u32::try_from(put.len()).expect("a small message");
            let message = [&[0][..], &len.to_be_bytes(), &put].concat();
            self.session.request_whole(&head, &message).expect("room for a stream");
        }
        let mut open = size;
        while open > 0 {
            self.exchange();
            while let Some(ready) = self.session.next_ready() {
                if let Some(body) = self.session.body(ready.stream) {
                    let len = body.len();
                    self.session.consume_body(ready.stream, len);
                }
                if ready.end {
                    let trailers = self.session.trailers(ready.stream).expect("a stream that is there");
                    assert_eq!(trailers.get("grpc-status"), Some(&b"0"[..]), "a put is answered");
                }
                open -= usize::from(ready.closed.is_some());
            }
        }
    }

    /// Writes what is to be written and takes in what comes.
    fn exchange(&mut self) {
        let mut output = Vec::new();
        self.session.send(&mut output, usize::MAX).expect("a sound session");
        self.socket.write_all(&output).expect("the member takes it");
        let len = self.socket.read(&mut self.buffer).expect("the member answers");
        assert!(len > 0, "the member closed the connection");
        self.session.recv(&self.buffer[..len], Instant::now()).expect("a sound session");
    }
}
