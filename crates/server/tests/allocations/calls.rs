//! A client that sends many calls with one write, so that the member takes them as one batch.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use prost::Message;
use windlass_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use windlass_api::etcdserverpb::request_op::Request;
use windlass_api::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};
use windlass_api::method;
use windlass_http2::{ClientSession, Field, Settings};

use crate::process::REQUEST_TIMEOUT;

/// Keys that are written in turn: few, so that all of them are there soon, and none is created later.
const KEYS: usize = 100;
const VALUE: &[u8] = &[b'v'; 100];

/// What is called.
#[derive(Clone, Copy)]
pub enum Load {
    /// Puts.
    Put,
    /// Transactions as Kubernetes sends them to update an object: put if nobody did since, or else get. None is late.
    Update,
    /// Gets of one key.
    Get,
}

impl Load {
    fn path(self) -> &'static str {
        match self {
            Self::Put => method::kv::PUT,
            Self::Update => method::kv::TXN,
            Self::Get => method::kv::RANGE,
        }
    }

    fn request(self, key: String) -> Vec<u8> {
        let get = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
        let put = PutRequest { key: key.clone().into(), value: VALUE.into(), ..PutRequest::default() };
        match self {
            Self::Put => put.encode_to_vec(),
            Self::Get => get.encode_to_vec(),
            Self::Update => {
                let unchanged = Compare {
                    result: CompareResult::Greater.into(),
                    target: CompareTarget::Mod.into(),
                    key: key.into(),
                    target_union: Some(TargetUnion::ModRevision(1)),
                    ..Compare::default()
                };
                let op = |request| vec![RequestOp { request: Some(request) }];
                let (success, failure) = (op(Request::RequestPut(put)), op(Request::RequestRange(get)));
                TxnRequest { compare: vec![unchanged], success, failure }.encode_to_vec()
            }
        }
    }
}

/// A connection.
pub struct Calls {
    socket: TcpStream,
    session: ClientSession,
    load: Load,
    buffer: Vec<u8>,
}

impl Calls {
    pub fn connect(endpoint: &str, load: Load) -> Self {
        let socket = TcpStream::connect(endpoint).expect("the member accepts");
        socket.set_read_timeout(Some(REQUEST_TIMEOUT)).expect("a socket takes a timeout");
        let session = ClientSession::new(&Settings::default(), Instant::now()).expect("memory");
        Self { socket, session, load, buffer: vec![0; 64 << 10] }
    }

    /// Sends so many calls at once and waits until all are answered.
    pub fn round(&mut self, size: usize) {
        let head = [
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "http"),
            Field::constant(":authority", "member"),
            Field::new(b":path", self.load.path().as_bytes()).expect("a path"),
            Field::constant("content-type", "application/grpc"),
            Field::constant("te", "trailers"),
        ];
        for i in 0..size {
            let request = self.load.request(format!("k{:02}", i % KEYS));
            let len = u32::try_from(request.len()).expect("a small message");
            let message = [&[0][..], &len.to_be_bytes(), &request].concat();
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
                    assert_eq!(trailers.get("grpc-status"), Some(&b"0"[..]), "a call is answered");
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
