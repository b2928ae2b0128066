//! How a call ends: gRPC's status and what carries it.

use std::borrow::Cow;
use std::fmt::Write;

use windlass_http2::{Field, Trailers};
use windlass_types::Code;

/// The code and text that a call ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub code: Code,
    pub text: Cow<'static, str>,
}

impl Status {
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Headers of every answer that has messages.
pub(crate) const HEAD: &[Field<'static>] =
    &[Field::constant(":status", "200"), Field::constant("content-type", "application/grpc")];

const OK: &[Field<'static>] = &[Field::constant("grpc-status", "0")];

/// The names of the codes as they are on the wire, by code.
const NUMBERS: [&str; 17] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

/// The trailers of a call that ends like this after its messages.
pub(crate) fn trailers(code: Code, text: &str) -> Trailers {
    if code == Code::Ok {
        return Trailers::Constant(OK);
    }
    let mut fields = vec![("grpc-status", NUMBERS[code as usize].to_owned())];
    if !text.is_empty() {
        fields.push(("grpc-message", percent_encode(text).into_owned()));
    }
    Trailers::Owned(fields)
}

/// Hands out the headers of a call that ends like this without messages ("trailers only").
pub(crate) fn with_only_head<R>(
    http: &str,
    code: Code,
    text: &str,
    send: impl FnOnce(&[Field<'_>]) -> R,
) -> R {
    let text = percent_encode(text);
    let field =
        |name: &'static str, value| Field::new(name.as_bytes(), value).expect("encoded values are valid");
    let fields = [
        field(":status", http.as_bytes()),
        HEAD[1],
        field("grpc-status", NUMBERS[code as usize].as_bytes()),
        field("grpc-message", text.as_bytes()),
    ];
    send(if text.is_empty() { &fields[..3] } else { &fields })
}

/// gRPC's encoding of a status text: what is not printable ASCII, and `%`, as percent and two digits. A space at
/// either end is encoded too, because HTTP/2 would not carry it.
fn percent_encode(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    if text.bytes().all(plain) && text.trim_matches(' ').len() == text.len() {
        return Cow::Borrowed(text);
    }
    let last = text.len() - 1;
    let mut out = String::with_capacity(text.len() * 3);
    for (i, byte) in text.bytes().enumerate() {
        if plain(byte) && !(byte == b' ' && (i == 0 || i == last)) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn percent_decode(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte == b'%' {
                let digits = std::str::from_utf8(&tail[..2]).expect("two digits");
                out.push(u8::from_str_radix(digits, 16).expect("two digits"));
                rest = &tail[2..];
            } else {
                out.push(byte);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_text_is_carried(text: String) {
            let encoded = percent_encode(&text);
            prop_assert_eq!(percent_decode(&encoded), text.as_bytes());
            prop_assert!(Field::new(b"grpc-message", encoded.as_bytes()).is_ok());
        }
    }

    #[test]
    fn etcds_texts_are_sent_as_they_are() {
        for error in windlass_types::RequestError::ALL {
            assert_eq!(percent_encode(error.text()), error.text());
        }
        assert_eq!(percent_encode("100% \u{e9}\n"), "100%25 %C3%A9%0A");
        assert_eq!(percent_encode(" "), "%20");
    }

    #[test]
    fn every_code_has_its_number() {
        for (i, number) in NUMBERS.iter().enumerate() {
            assert_eq!(*number, i.to_string());
        }
        assert_eq!(NUMBERS[Code::Unauthenticated as usize], "16");
    }
}
