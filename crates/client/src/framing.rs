//! gRPC over HTTP/2: message frames and what trailers say. Pure; see grpc's `PROTOCOL-HTTP2.md`.

use prost::Message;
use windlass_http2::{ErrorCode, Headers};
use windlass_types::Code;

use crate::Error;

/// Bytes before each message: a flag for compression and the length.
const PREFIX_BYTES: usize = 5;

/// A message with its prefix.
pub fn frame(message: &impl Message) -> Vec<u8> {
    let len = message.encoded_len();
    let mut out = Vec::with_capacity(PREFIX_BYTES + len);
    out.push(0);
    out.extend_from_slice(&u32::try_from(len).expect("a request is far below 4 GiB").to_be_bytes());
    message.encode(&mut out).expect("a Vec grows");
    out
}

/// The first whole message in `buffer`, which it is removed from; `None` if there is none yet.
///
/// # Errors
/// The message is compressed, which this client never asks for, or not an `M`.
pub fn take<M: Message + Default>(buffer: &mut Vec<u8>) -> Result<Option<M>, Error> {
    let Some((&[flag, a, b, c, d], rest)) = buffer.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    if flag != 0 {
        return Err(Error::Malformed("the message is compressed".to_owned()));
    }
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    let Some(body) = rest.get(..len) else {
        return Ok(None);
    };
    let message = M::decode(body).map_err(|error| Error::Malformed(error.to_string()))?;
    buffer.drain(..PREFIX_BYTES + len);
    Ok(Some(message))
}

/// How a finished stream ended. An answer without a message may carry its status in the head.
///
/// # Errors
/// Every status but OK, and a stream that has none.
pub fn outcome(
    head: Option<Headers<'_>>,
    trailers: Option<Headers<'_>>,
    reset: ErrorCode,
) -> Result<(), Error> {
    let field = |name| [trailers, head].into_iter().flatten().find_map(|fields| fields.get(name));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if let Some(number) = field("grpc-status") {
        let number = text(number).parse().unwrap_or(Code::Unknown as u8);
        return match Code::from_number(number) {
            Code::Ok => Ok(()),
            code => Err(Error::Status {
                code,
                message: text(&percent_decode(field("grpc-message").unwrap_or_default())),
            }),
        };
    }
    let (code, message) = match field(":status") {
        Some(status) if status != b"200" => {
            (Code::Unknown, format!("unexpected HTTP status code received from server: {}", text(status)))
        }
        _ if reset == ErrorCode::REFUSED_STREAM => {
            (Code::Unavailable, "the server refused the stream".to_owned())
        }
        _ => (Code::Internal, format!("stream terminated with error code {} and no status", reset.0)),
    };
    Err(Error::Status { code, message })
}

/// Undoes `%41`; what is not a valid escape stays.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = (byte == b'%')
            .then(|| after.split_first_chunk::<2>().and_then(|(pair, rest)| Some((hex(*pair)?, rest))));
        if let Some(Some((decoded, after))) = escape {
            out.push(decoded);
            rest = after;
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use windlass_api::etcdserverpb::PutRequest;

    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let first = PutRequest { key: "a".into(), ..Default::default() };
        let mut wire = frame(&first);
        wire.extend(frame(&PutRequest::default()));
        let mut buffer = Vec::new();
        let mut out = Vec::new();
        for byte in wire {
            buffer.push(byte);
            out.extend(take::<PutRequest>(&mut buffer).expect("is valid"));
        }
        assert_eq!(out, [first, PutRequest::default()]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn compressed_or_wrong_messages_are_refused() {
        assert!(take::<PutRequest>(&mut vec![1, 0, 0, 0, 0]).is_err());
        assert!(take::<PutRequest>(&mut vec![0, 0, 0, 0, 1, 0xff]).is_err());
    }

    #[test]
    fn percent_escapes() {
        assert_eq!(percent_decode(b"a%20b%C3%a4%zz%4"), "a bä%zz%4".as_bytes());
    }

    #[test]
    fn a_stream_without_status_is_an_error() {
        let code = |reset| outcome(None, None, reset).expect_err("has no status").code();
        assert_eq!(code(ErrorCode::REFUSED_STREAM), Some(Code::Unavailable));
        assert_eq!(code(ErrorCode::NO_ERROR), Some(Code::Internal));
    }
}
