//! gRPC's framing of messages in a body: a byte that says whether it is compressed, the length, the message.

use windlass_types::Code;

use crate::gzip::inflate;
use crate::status::Status;

/// Bytes before each message.
pub(crate) const PREFIX_BYTES: usize = 5;

/// What the front of a body is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front<'a> {
    /// Not yet a whole message.
    Partial,
    /// A whole message, and the size of its frame.
    Message(&'a [u8], usize),
    /// A whole message that is still compressed, and the size of its frame.
    Compressed(&'a [u8], usize),
}

/// Length of the frame that `body` begins with, as its prefix says.
pub(crate) fn announced_bytes(body: &[u8]) -> Option<usize> {
    let &[_, a, b, c, d] = body.first_chunk::<PREFIX_BYTES>()?;
    Some(PREFIX_BYTES + u32::from_be_bytes([a, b, c, d]) as usize)
}

/// The first message of `body`, refused as grpc-go refuses it (`rpc_util.go`, `recvMsg` and `checkRecvPayload`). `gzip`
/// is whether the call's head allows compressed messages.
pub(crate) fn front(body: &[u8], message_bytes_max: usize, gzip: bool) -> Result<Front<'_>, Status> {
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(Front::Partial);
    };
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len > message_bytes_max {
        let text = format!("grpc: received message larger than max ({len} vs. {message_bytes_max})");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    match flag {
        0 => {}
        1 if gzip => {}
        1 => {
            return Err(Status::new(
                Code::Internal,
                "grpc: compressed flag set with identity or empty encoding",
            ));
        }
        _ => {
            return Err(Status::new(
                Code::Internal,
                format!("grpc: received unexpected payload format {flag}"),
            ));
        }
    }
    Ok(match rest.get(..len) {
        None => Front::Partial,
        Some(message) if flag == 0 => Front::Message(message, PREFIX_BYTES + len),
        Some(message) => Front::Compressed(message, PREFIX_BYTES + len),
    })
}

/// Checks the body of a finished unary request, and leaves its message after a prefix.
pub(crate) fn only(body: &mut Vec<u8>, message_bytes_max: usize, gzip: bool) -> Result<(), Status> {
    match front(body, message_bytes_max, gzip)? {
        Front::Message(_, len) if len == body.len() => Ok(()),
        Front::Compressed(message, len) if len == body.len() => {
            let mut inflated = vec![0; PREFIX_BYTES];
            inflate(message, message_bytes_max, &mut inflated)?;
            *body = inflated;
            Ok(())
        }
        Front::Message(..) | Front::Compressed(..) => Err(Status::new(
            Code::Internal,
            "cardinality violation: received multiple request messages for non-client-streaming RPC",
        )),
        Front::Partial if body.is_empty() => Err(Status::new(
            Code::Internal,
            "cardinality violation: received no request message from non-client-streaming RPC",
        )),
        // grpc-go gives what it reads for a unary call no code of its own.
        Front::Partial => Err(Status { code: Code::Unknown, ..unexpected_end() }),
    }
}

/// The refusal of a streaming call's body that ends within a message.
pub(crate) fn unexpected_end() -> Status {
    Status::new(Code::Internal, "unexpected EOF")
}

/// Appends the frame of the message that `fill` appends. Leaves `out` as it was if the message has more bytes than
/// `message_bytes_max`, which a frame's prefix has room for, and says how many.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    message_bytes_max: usize,
    fill: impl FnOnce(&mut Vec<u8>),
) -> Result<(), usize> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    fill(out);
    let bytes = out.len() - start - PREFIX_BYTES;
    let len = u32::try_from(bytes).ok().filter(|_| bytes <= message_bytes_max);
    let Some(len) = len else {
        out.truncate(start);
        return Err(bytes);
    };
    out[start + 1..start + PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// The refusal of an answer of so many bytes, as grpc-go has it (`server.go`, `sendResponse`).
pub(crate) fn too_large(bytes: usize, message_bytes_max: usize) -> Status {
    let text = format!("grpc: trying to send message larger than max ({bytes} vs. {message_bytes_max})");
    Status::new(Code::ResourceExhausted, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 100;

    #[test]
    fn a_message_that_is_too_large_leaves_nothing() {
        let mut out = vec![1];
        assert_eq!(encode(&mut out, 3, |out| out.extend([7; 4])), Err(4));
        assert_eq!(out, [1]);
        assert_eq!(encode(&mut out, 3, |out| out.extend([7; 3])), Ok(()));
        assert_eq!(out, [1, 0, 0, 0, 0, 3, 7, 7, 7]);
    }

    proptest! {
        #[test]
        fn any_split_of_messages_gives_them_back(
            messages: Vec<[u8; 9]>,
            cut in 0usize..1000,
        ) {
            let mut body = Vec::new();
            for message in &messages {
                encode(&mut body, MAX, |out| out.extend_from_slice(message)).unwrap();
            }
            body.truncate(body.len().saturating_sub(cut));
            let mut got = Vec::new();
            let mut rest = body.as_slice();
            while let Ok(Front::Message(message, len)) = front(rest, MAX, false) {
                got.push(message.to_vec());
                rest = &rest[len..];
            }
            prop_assert_eq!(got.len(), body.len() / 14);
            prop_assert!(got.iter().zip(&messages).all(|(a, b)| a == b));
        }

        #[test]
        fn any_bytes_are_a_message_or_refused(body: Vec<u8>) {
            if let Ok(Front::Message(message, len)) = front(&body, MAX, false) {
                prop_assert!(message.len() <= MAX && len <= body.len());
                prop_assert_eq!(announced_bytes(&body), Some(len));
            }
            let _ = only(&mut body.clone(), MAX, false);
            let _ = only(&mut body.clone(), MAX, true);
        }
    }

    #[test]
    fn refusals_are_grpc_gos() {
        let text = |body: &[u8]| {
            only(&mut body.to_vec(), MAX, false).map_err(|s| (s.code, s.text)).expect_err("refused")
        };
        assert_eq!(text(&[0, 0, 0, 0, 101]).1, "grpc: received message larger than max (101 vs. 100)");
        assert_eq!(text(&[0, 0, 0, 0, 101]).0, Code::ResourceExhausted);
        assert_eq!(text(&[1, 0, 0, 0, 0]).1, "grpc: compressed flag set with identity or empty encoding");
        assert_eq!(text(&[7, 0, 0, 0, 0]).1, "grpc: received unexpected payload format 7");
        assert_eq!(text(&[0, 0, 0, 0, 2, 1]).1, "unexpected EOF");
        assert!(text(&[]).1.contains("no request message"));
        assert!(text(&[0; 10]).1.contains("multiple request messages"));
    }
}
