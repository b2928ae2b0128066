//! WebSocket's frames (RFC 6455), as far as a server needs them that speaks no extension.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What RFC 6455 has a server append to a client's key.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The longest payload of a ping, a pong or a close.
const CONTROL_BYTES_MAX: usize = 125;

/// Set in the first byte of the last frame of a message.
const FINAL: u8 = 0x80;

/// Set in the second byte of a frame whose payload is masked: every frame of a client.
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further part of a message.
    Continuation = 0,
    /// A message of text, or its first part.
    Text = 1,
    /// A message of bytes, or its first part.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole message, of text or bytes.
    Message(Vec<u8>),
    /// A ping, to be answered with a pong of the same payload.
    Ping(Vec<u8>),
    /// The end, to be answered with the same payload.
    Close(Vec<u8>),
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation(
    /// What is wrong.
    pub &'static str,
);

/// The `Sec-WebSocket-Accept` that answers a client's `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize())
}

/// Appends a frame that is a whole message, unmasked as a server's are.
pub fn push_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FINAL | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ 0..126), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Reads a client's frames from bytes that come in parts.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Parts of a message whose last one has not come.
    message: Option<Vec<u8>>,
    /// A longer message ends the connection.
    message_bytes_max: usize,
}

/// The head of a frame.
struct Head {
    is_final: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Bytes of the head.
    head_len: usize,
    payload_len: usize,
}

impl Frames {
    /// Nothing read yet.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), message: None, message_bytes_max }
    }

    /// Appends bytes of the client.
    pub fn feed(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    /// What is whole next; `None` until more bytes come.
    ///
    /// # Errors
    /// If the client breaks the protocol, or sends more than it may.
    pub fn next_received(&mut self) -> Result<Option<Received>, Violation> {
        loop {
            let Some(head) = self.head()? else { return Ok(None) };
            let end = head.head_len + head.payload_len;
            if self.bytes.len() < end {
                return Ok(None);
            }
            let mut payload = self.bytes[head.head_len..end].to_vec();
            payload.iter_mut().zip(head.mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            self.bytes.drain(..end);
            match head.opcode {
                Opcode::Close => return Ok(Some(Received::Close(payload))),
                Opcode::Ping => return Ok(Some(Received::Ping(payload))),
                Opcode::Pong => {}
                Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                    let mut message = self.message.take().unwrap_or_default();
                    message.append(&mut payload);
                    if head.is_final {
                        return Ok(Some(Received::Message(message)));
                    }
                    self.message = Some(message);
                }
            }
        }
    }

    /// The head of the next frame, if it is there, checked as far as it can be without the payload.
    fn head(&self) -> Result<Option<Head>, Violation> {
        let &[first, second, ref rest @ ..] = &self.bytes[..] else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation("reserved bits"));
        }
        if second & MASKED == 0 {
            return Err(Violation("a frame without a mask"));
        }
        let opcode = self.opcode(first & 0x0f)?;
        let is_final = first & FINAL != 0;
        let (payload_len, length_bytes) = match second & !MASKED {
            126 => (rest.first_chunk().map(|&bytes| u64::from(u16::from_be_bytes(bytes))), 2),
            127 => (rest.first_chunk().map(|&bytes| u64::from_be_bytes(bytes)), 8),
            short => (Some(u64::from(short)), 0),
        };
        let Some(payload_len) = payload_len else { return Ok(None) };
        let payload_len = usize::try_from(payload_len).unwrap_or(usize::MAX);
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        if is_control && (payload_len > CONTROL_BYTES_MAX || !is_final) {
            return Err(Violation("a control frame that is long or in parts"));
        }
        let before = self.message.as_ref().map_or(0, Vec::len);
        if payload_len > self.message_bytes_max.saturating_sub(before) && !is_control {
            return Err(Violation("a message that is too large"));
        }
        let mask = rest.get(length_bytes..).and_then(|rest| rest.first_chunk());
        let head_len = 2 + length_bytes + 4;
        Ok(mask.map(|&mask| Head { is_final, opcode, mask, head_len, payload_len }))
    }

    fn opcode(&self, number: u8) -> Result<Opcode, Violation> {
        match (number, self.message.is_some()) {
            (0, true) => Ok(Opcode::Continuation),
            (1, false) => Ok(Opcode::Text),
            (2, false) => Ok(Opcode::Binary),
            (8, _) => Ok(Opcode::Close),
            (9, _) => Ok(Opcode::Ping),
            (10, _) => Ok(Opcode::Pong),
            (0..=2, _) => Err(Violation("a part of another message")),
            _ => Err(Violation("an unknown kind of frame")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client's frame.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        push_frame(Opcode::Text, payload, &mut plain);
        let head_len = plain.len() - payload.len();
        let mask = [0xa1, 0, 0x7f, 3];
        let mut frame = vec![first, plain[1] | MASKED];
        frame.extend_from_slice(&plain[2..head_len]);
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn all(frames: &mut Frames) -> Vec<Received> {
        std::iter::from_fn(|| frames.next_received().expect("keeps the protocol")).collect()
    }

    #[test]
    fn the_key_is_answered_as_in_the_rfc() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn messages_may_come_in_parts_with_pings_between() {
        let mut frames = Frames::new(1000);
        for frame in [masked(0x01, b"ab"), masked(0x89, b"?"), masked(0x8a, b"x"), masked(0x80, b"c")] {
            frames.feed(&frame);
        }
        frames.feed(&masked(0x82, &[7; 300]));
        frames.feed(&masked(0x88, &[3, 0xe8]));
        let wanted = [
            Received::Ping(b"?".to_vec()),
            Received::Message(b"abc".to_vec()),
            Received::Message(vec![7; 300]),
            Received::Close(vec![3, 0xe8]),
        ];
        assert_eq!(all(&mut frames), wanted);
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        let long = masked(0x89, &[0; 126]);
        let large = masked(0x81, &[0; 101]);
        for (bytes, why) in [
            (&[0x81, 0x00][..], "a frame without a mask"),
            (&[0xc1, 0x80], "reserved bits"),
            (&[0x83, 0x80], "an unknown kind of frame"),
            (&[0x80, 0x80], "a part of another message"),
            (&[0x09, 0x80], "a control frame that is long or in parts"),
            (&long, "a control frame that is long or in parts"),
            (&large, "a message that is too large"),
            (&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "a message that is too large"),
        ] {
            let mut frames = Frames::new(100);
            frames.feed(bytes);
            assert_eq!(frames.next_received(), Err(Violation(why)), "{bytes:?}");
        }
        let mut frames = Frames::new(100);
        frames.feed(&masked(0x01, &[0; 60]));
        frames.feed(&masked(0x80, &[0; 41]));
        assert_eq!(frames.next_received(), Err(Violation("a message that is too large")));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_parts_mean_the_same(parts: Vec<Vec<u8>>) {
            let (mut whole, mut split) = (Frames::new(50), Frames::new(50));
            whole.feed(&parts.concat());
            let read = |frames: &mut Frames| {
                let mut read = Vec::new();
                loop {
                    match frames.next_received() {
                        Ok(Some(received)) => read.push(Ok(received)),
                        Ok(None) => return read,
                        Err(violation) => {
                            read.push(Err(violation));
                            return read;
                        }
                    }
                }
            };
            let wanted = read(&mut whole);
            let mut got = Vec::new();
            for part in &parts {
                split.feed(part);
                got.extend(read(&mut split));
                if got.last().is_some_and(Result::is_err) {
                    break;
                }
            }
            prop_assert_eq!(got, wanted);
        }

        #[test]
        fn messages_of_any_length_come_through(payload in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let mut frames = Frames::new(70_000);
            frames.feed(&masked(0x82, &payload));
            prop_assert_eq!(all(&mut frames), vec![Received::Message(payload)]);
        }
    }
}
