//! What a well-formed request head is (RFC 9113 sections 8.2 and 8.3).
//!
//! nghttp2 would check every field of every request. A client's requests mostly have the same head, and equal heads need
//! one check: so the server's sessions do it here, per block.

use crate::Headers;
use crate::field::{valid_name, valid_value};

/// What a well-formed head says of the rest of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The value of `content-length`.
    pub body_bytes: Option<u64>,
}

/// What a block says that may open a request; `None` if it may not. CONNECT is not served, so every request has a path.
pub(crate) fn shape_of(headers: Headers<'_>) -> Option<Shape> {
    let mut pseudo = Pseudo::default();
    let mut regular_seen = false;
    let mut body_bytes = None;
    let all = headers.iter().all(|(name, value)| {
        if name.first() == Some(&b':') {
            return !regular_seen && valid_value(value) && pseudo.take(name, value);
        }
        regular_seen = true;
        let makes_sense = name != b"content-length" || take_length(&mut body_bytes, value);
        makes_sense && is_valid_regular(name, value)
    });
    (all && pseudo.is_complete()).then_some(Shape { body_bytes })
}

/// False if there was one before, or it is no number (RFC 9110 section 8.6).
fn take_length(length: &mut Option<u64>, value: &[u8]) -> bool {
    let digits = Some(value).filter(|value| value.iter().all(u8::is_ascii_digit));
    let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    length.is_none() && number.inspect(|number| *length = Some(*number)).is_some()
}

/// Whether a block may end a request.
pub(crate) fn are_valid_trailers(headers: Headers<'_>) -> bool {
    headers.iter().all(|(name, value)| name.first() != Some(&b':') && is_valid_regular(name, value))
}

fn is_valid_regular(name: &[u8], value: &[u8]) -> bool {
    let allowed = match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => false,
        b"te" => value == b"trailers",
        _ => true,
    };
    allowed && valid_name(name) && valid_value(value)
}

/// Which pseudo header fields were seen.
#[derive(Default)]
struct Pseudo {
    method: bool,
    scheme: bool,
    authority: bool,
    path: bool,
}

impl Pseudo {
    /// False if the field is not one of a request's, comes twice, or has no sense.
    fn take(&mut self, name: &[u8], value: &[u8]) -> bool {
        let (seen, makes_sense) = match name {
            b":method" => (&mut self.method, !value.is_empty() && value != b"CONNECT"),
            b":scheme" => (&mut self.scheme, !value.is_empty()),
            b":authority" => (&mut self.authority, true),
            b":path" => (&mut self.path, value.first() == Some(&b'/')),
            _ => return false,
        };
        !std::mem::replace(seen, true) && makes_sense
    }

    fn is_complete(&self) -> bool {
        self.method && self.scheme && self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;

    const GOOD: [(&str, &str); 5] =
        [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "h"), ("te", "trailers")];

    fn valid(fields: &[(&str, &str)]) -> bool {
        let mut block = Block::default();
        fields.iter().for_each(|(name, value)| block.push(name.as_bytes(), value.as_bytes()));
        shape_of(block.headers()).is_some()
    }

    #[test]
    fn a_head_needs_its_pseudo_fields_once_and_first() {
        assert!(valid(&GOOD));
        for (place, missing) in GOOD.iter().enumerate().take(3) {
            let mut fields = GOOD.to_vec();
            fields.remove(place);
            assert!(!valid(&fields), "without {missing:?}");
        }
        for twice in GOOD.iter().take(4) {
            let mut fields = GOOD.to_vec();
            fields.insert(0, *twice);
            assert!(!valid(&fields), "twice {twice:?}");
        }
        let mut late = GOOD.to_vec();
        late.rotate_right(1);
        assert!(!valid(&late));
    }

    #[test]
    fn fields_that_http2_forbids_are_refused() {
        for bad in [
            (":status", "200"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("Upper", "x"),
            ("a b", "x"),
            ("", "x"),
            ("x", "a\nb"),
            ("x", " a"),
        ] {
            let mut fields = GOOD.to_vec();
            fields.push(bad);
            assert!(!valid(&fields), "{bad:?}");
        }
        for (place, bad) in [(0, (":method", "CONNECT")), (2, (":path", "a")), (2, (":path", ""))] {
            let mut fields = GOOD.to_vec();
            fields[place] = bad;
            assert!(!valid(&fields), "{bad:?}");
        }
    }

    #[test]
    fn the_length_of_the_body_is_one_number() {
        let shape = |lengths: &[&str]| {
            let mut block = Block::default();
            GOOD.iter().for_each(|(name, value)| block.push(name.as_bytes(), value.as_bytes()));
            lengths.iter().for_each(|value| block.push(b"content-length", value.as_bytes()));
            shape_of(block.headers()).map(|shape| shape.body_bytes)
        };
        assert_eq!(shape(&[]), Some(None));
        assert_eq!(shape(&["0"]), Some(Some(0)));
        assert_eq!(shape(&["18446744073709551615"]), Some(Some(u64::MAX)));
        for bad in [&["18446744073709551616"][..], &[""], &["+1"], &["-1"], &["1,1"], &["1", "1"]] {
            assert_eq!(shape(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn trailers_have_no_pseudo_fields() {
        let mut block = Block::default();
        block.push(b"x", b"y");
        assert!(are_valid_trailers(block.headers()));
        block.push(b":path", b"/a");
        assert!(!are_valid_trailers(block.headers()));
    }
}
