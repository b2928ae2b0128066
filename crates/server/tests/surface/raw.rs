//! Connections that may do what a well-behaved client does not: HTTP/2 whose every header and byte the test chooses, and
//! plain HTTP/1.1.

#![allow(dead_code, reason = "each test that shares this file uses its part of it")]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use prost::Message;
use windlass_http2::{ClientSession, ErrorCode, Field, Settings, StreamRef};

use crate::process::REQUEST_TIMEOUT;

/// What may arrive unread on a stream: little, so that a slow reader is slow.
const WINDOW_BYTES: u32 = 64 << 10;

/// What came back on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub http: String,
    /// The number of the gRPC code, if one came.
    pub code: Option<u8>,
    /// The gRPC text.
    pub text: String,
    /// All frames of messages.
    pub body: Vec<u8>,
    /// How the stream ended, once it has.
    pub ended: Option<u32>,
}

/// An HTTP/2 connection.
pub struct Raw {
    socket: TcpStream,
    session: ClientSession,
    authority: String,
    answers: HashMap<StreamRef, Answer>,
}

impl Raw {
    /// Connects and sends the preface.
    pub fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_read_timeout(Some(REQUEST_TIMEOUT)).expect("a timeout");
        let settings = Settings {
            stream_window_bytes: WINDOW_BYTES,
            connection_window_bytes: WINDOW_BYTES,
            body_bytes_max: usize::MAX >> 1,
            buffered_bytes_max: usize::MAX >> 1,
            ..Settings::default()
        };
        let session = ClientSession::new(&settings, Instant::now()).expect("memory");
        let mut raw = Self { socket, session, authority: address.to_owned(), answers: HashMap::new() };
        raw.flush();
        raw
    }

    /// Sends a request with gRPC's usual headers, `changed` ones replaced or added, and `body` as it is. With `open` the
    /// client's side of the stream stays open.
    pub fn request(&mut self, path: &str, changed: &[(&str, &str)], body: &[u8], open: bool) -> StreamRef {
        let usual = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", &self.authority),
            (":path", path),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        let new = |name: &str| changed.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
        let added = changed.iter().filter(|(name, _)| usual.iter().all(|(usual, _)| usual != name)).copied();
        let fields: Vec<(&str, &str)> =
            usual.iter().map(|(name, value)| (*name, new(name).unwrap_or(value))).chain(added).collect();
        let head: Vec<Field<'_>> = fields
            .iter()
            .map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()).expect("a plain field"))
            .collect();
        let stream = self.session.request(&head, true).expect("the connection takes requests");
        self.session.push(stream, body);
        if !open {
            self.session.finish(stream, windlass_http2::Trailers::None);
        }
        self.answers.insert(stream, Answer::default());
        self.flush();
        stream
    }

    /// Sends a message to a method.
    pub fn call(&mut self, path: &str, message: &impl Message) -> StreamRef {
        self.request(path, &[], &frame(&message.encode_to_vec()), false)
    }

    /// Sends another message on a stream whose client's side is open.
    pub fn send(&mut self, stream: StreamRef, message: &impl Message) {
        self.session.push(stream, &frame(&message.encode_to_vec()));
        self.flush();
    }

    /// Ends the client's side of a stream.
    pub fn half_close(&mut self, stream: StreamRef) {
        self.session.finish(stream, windlass_http2::Trailers::None);
        self.flush();
    }

    /// Ends a stream at once.
    pub fn reset(&mut self, stream: StreamRef) {
        self.session.reset(stream, ErrorCode::CANCEL);
        self.flush();
    }

    /// Sends a ping and waits for its acknowledgement. False if the server has said goodbye.
    pub fn ping(&mut self) -> bool {
        let before = self.session.ping_acks();
        self.session.ping().expect("a ping can be sent");
        self.flush();
        self.wait(|raw| (raw.session.ping_acks() > before).then_some(())).is_ok() && self.goodbye().is_none()
    }

    /// Why the server ends the connection, if it said so.
    pub fn goodbye(&self) -> Option<(u32, String)> {
        self.session.goaway().map(|(code, why)| (code.0, why.to_owned()))
    }

    /// What has arrived on a stream so far.
    pub fn so_far(&self, stream: StreamRef) -> &Answer {
        &self.answers[&stream]
    }

    /// Waits for the end of a stream.
    pub fn answer(&mut self, stream: StreamRef) -> Answer {
        let is_ended =
            |raw: &Self| Some(raw.answers[&stream].clone()).filter(|answer| answer.ended.is_some());
        self.wait(is_ended).unwrap_or_else(|error| panic!("no answer: {error}, {:?}", self.goodbye()))
    }

    /// Waits for the first bytes of a message on a stream.
    pub fn first_bytes(&mut self, stream: StreamRef) -> Answer {
        let has_bytes =
            |raw: &Self| Some(raw.answers[&stream].clone()).filter(|answer| !answer.body.is_empty());
        self.wait(has_bytes).unwrap_or_else(|error| panic!("no message: {error}, {:?}", self.goodbye()))
    }

    /// Reads until `found` finds something.
    ///
    /// # Errors
    /// The connection ended before, or took too long.
    pub fn wait<T>(&mut self, found: impl Fn(&Self) -> Option<T>) -> io::Result<T> {
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut input = [0; 16 << 10];
        let len = self.socket.read(&mut input)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.session.recv(&input[..len], Instant::now()).map_err(io::Error::other)?;
        while let Some(ready) = self.session.next_ready() {
            let answer = self.answers.entry(ready.stream).or_default();
            if let Some(body) = self.session.body(ready.stream) {
                answer.body.extend_from_slice(body);
                let len = body.len();
                self.session.consume_body(ready.stream, len);
            }
            let blocks = [self.session.head(ready.stream), self.session.trailers(ready.stream)];
            for (name, value) in blocks.into_iter().flatten().flat_map(|block| block.iter()) {
                let value = String::from_utf8_lossy(value).into_owned();
                match name {
                    b":status" => answer.http = value,
                    b"grpc-status" => answer.code = value.parse().ok(),
                    b"grpc-message" => answer.text = value,
                    _ => {}
                }
            }
            answer.ended = ready.closed.map(|code| code.0).or(answer.ended);
        }
        self.flush();
        Ok(())
    }

    fn flush(&mut self) {
        while self.session.wants_send() {
            let mut output = Vec::new();
            if self.session.send(&mut output, 64 << 10).is_err() || output.is_empty() {
                return;
            }
            // A server that has gone is seen at the next read.
            let _ = self.socket.write_all(&output);
        }
    }
}

/// A message with gRPC's prefix.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("below 4 GiB");
    [&[0], &len.to_be_bytes()[..], message].concat()
}

/// The messages of a body.
pub fn messages<M: Message + Default>(mut body: &[u8]) -> Vec<M> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<5>() {
        let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let Some(message) = rest.get(..len) else { break };
        messages.push(M::decode(message).expect("a valid message"));
        body = &rest[len..];
    }
    messages
}

/// What an HTTP/1.1 request got.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

/// One HTTP/1.1 request on a connection of its own.
pub fn http(address: &str, method: &str, target: &str, headers: &str) -> Page {
    let mut socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_read_timeout(Some(REQUEST_TIMEOUT)).expect("a timeout");
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the server answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let fields = lines.filter_map(|line| line.split_once(": "));
    Page {
        status: status.parse().expect("a number"),
        headers: fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: body.to_owned(),
    }
}
