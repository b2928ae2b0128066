//! Frames and header blocks as bytes, right or wrong, and frames read back.

#![allow(dead_code, reason = "each test that shares this file uses its part of it")]

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// A type that no specification has given away.
pub const UNKNOWN: u8 = 0xf0;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 32;
/// The flags of a request without a body.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

/// `:method: POST`, `:scheme: http`, `:path: /`, all by their numbers in the static table.
pub const REQUEST: &[u8] = &[0x83, 0x86, 0x84];

/// The same with `:path: /index.html`, for which the test's server keeps the client waiting.
pub const UNANSWERED: &[u8] = &[0x83, 0x86, 0x85];

/// A frame whose length is that of its payload.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame_of_len(payload.len(), kind, flags, stream, payload)
}

/// A frame whose header says `len`, whatever follows it.
pub fn frame_of_len(len: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(len).expect("24 bits").to_be_bytes();
    let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()[..]].concat();
    [&head, payload].concat()
}

/// A well-formed request without a body.
pub fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, REQUEST)
}

/// The head of a well-formed request whose body follows.
pub fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, REQUEST)
}

/// A request that has `fields` after [`REQUEST`].
pub fn request_with(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &[REQUEST, &literals(fields)].concat())
}

/// A request that has these fields alone.
pub fn request_of(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &literals(fields))
}

/// Fields as literals that enter no table, without Huffman's code (RFC 7541 section 6.2.2).
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let string = |text: &str| {
        assert!(text.len() < 127, "one byte of length");
        [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], string(name), string(value)].concat()).collect()
}

/// One setting of a SETTINGS frame.
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A SETTINGS frame of one setting.
pub fn settings(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &setting(id, value))
}

/// A WINDOW_UPDATE frame.
pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// An RST_STREAM frame.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A PRIORITY frame that makes `stream` depend on another.
pub fn priority(stream: u32, on: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[15]].concat())
}

/// A whole request that is not answered: its stream stays half closed.
pub fn half_closed(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, UNANSWERED)
}

/// A frame that came back.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, flags, stream, payload } = self;
        write!(f, "type {kind} flags {flags:x} stream {stream}: {:?}", String::from_utf8_lossy(payload))
    }
}

/// The frames of a server's output, which is whole.
pub fn parse(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((&[a, b, c, kind, flags, d, e, f, g], rest)) = bytes.split_first_chunk::<9>() {
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        let (payload, rest) = rest.split_at(len);
        frames.push(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([d, e, f, g]),
            payload: payload.to_vec(),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a server's output ends with a frame");
    frames
}

/// The number in the four bytes from `at` on.
pub fn number(payload: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"))
}
