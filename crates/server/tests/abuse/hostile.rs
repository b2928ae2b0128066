//! A connection on which every byte is the attacker's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use windlass_http2::CLIENT_PREFACE;

use crate::wire::{self, ACK, GOAWAY, PING};

/// Written at once: a server reads as much.
const PIECE_BYTES: usize = 64 << 10;

/// How long the server may say nothing while it works through a flood.
const SILENCE: Duration = Duration::from_secs(60);

/// How long the kernel may take none of an attacker's bytes before it stops: the server does not read any more.
const BLOCKED: Duration = Duration::from_millis(500);

/// What came of an attack.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server said goodbye with this code and ended the connection.
    Goodbye(u32),
    /// It ended the connection without a word.
    Ended,
    /// It serves the connection still.
    Served,
}

/// A connection on which every byte is the attacker's.
pub struct Hostile {
    pub socket: TcpStream,
}

impl Hostile {
    /// Connects and sends what an HTTP/2 client sends first, with this payload of its SETTINGS.
    pub fn connect(address: &str, settings: &[u8]) -> Self {
        let mut socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
        socket.write_all(CLIENT_PREFACE).expect("sent");
        socket.write_all(&wire::frame(wire::SETTINGS, 0, 0, settings)).expect("sent");
        // Until the server's own settings are acknowledged, it has to go by the protocol's defaults.
        socket.write_all(&wire::frame(wire::SETTINGS, ACK, 0, &[])).expect("sent");
        Self { socket }
    }

    /// Sends what `nth` gives for each number, reads all that comes, and finds out what has become of the connection.
    pub fn flood(self, count: u32, mut nth: impl FnMut(u32) -> Vec<u8>) -> Verdict {
        let mut reading = self.socket.try_clone().expect("a second handle");
        let reader = std::thread::spawn(move || read_to_the_end(&mut reading));
        let mut writing = &self.socket;
        let mut piece = Vec::new();
        for number in 0..count {
            piece.extend(nth(number));
            if piece.len() >= PIECE_BYTES || number + 1 == count {
                // What was refused is read in the verdict.
                if writing.write_all(&piece).is_err() {
                    break;
                }
                piece.clear();
            }
        }
        let _ = writing.write_all(&wire::frame(PING, 0, 0, b"verdict?"));
        let verdict = reader.join().expect("no panic");
        let _ = self.socket.shutdown(Shutdown::Both);
        verdict
    }

    /// Sends `bytes` and reads nothing. How many the kernel took before the server read no more.
    pub fn send_unread(&self, bytes: &[u8]) -> usize {
        self.socket.set_write_timeout(Some(BLOCKED)).expect("a timeout");
        let mut sent = 0;
        while sent < bytes.len() {
            match (&self.socket).write(&bytes[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        sent
    }
}

/// Reads until the answer to the last PING, or the end.
fn read_to_the_end(socket: &mut TcpStream) -> Verdict {
    let mut goodbye = None;
    let mut unread: Vec<u8> = Vec::new();
    let mut input = vec![0; PIECE_BYTES];
    loop {
        let len = match socket.read(&mut input) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server neither answers nor ends the connection")
            }
            Err(_) => break,
        };
        unread.extend_from_slice(&input[..len]);
        let whole = whole_frames(&unread);
        for frame in wire::parse(&unread[..whole]) {
            match frame.kind {
                GOAWAY => goodbye = Some(wire::number(&frame.payload, 4)),
                PING if frame.flags & ACK != 0 && frame.payload == b"verdict?" => return Verdict::Served,
                _ => {}
            }
        }
        unread.drain(..whole);
    }
    goodbye.map_or(Verdict::Ended, Verdict::Goodbye)
}

/// Bytes of the whole frames that `bytes` begin with.
fn whole_frames(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&[a, b, c]) = bytes.get(at..at + 3) {
        let end = at + 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

/// The head of a gRPC call, for a HEADERS frame.
pub fn call_head(path: &str) -> Vec<u8> {
    let fields =
        [(":path", path), (":authority", "a"), ("content-type", "application/grpc"), ("te", "trailers")];
    // `:method: POST` and `:scheme: http` by number.
    [&[0x83, 0x86][..], &wire::literals(&fields)].concat()
}

/// A whole call.
pub fn call(stream: u32, path: &str, message: &[u8]) -> Vec<u8> {
    let head = wire::frame(wire::HEADERS, wire::END_HEADERS, stream, &call_head(path));
    [head, wire::frame(wire::DATA, wire::END_STREAM, stream, &crate::raw::frame(message))].concat()
}
