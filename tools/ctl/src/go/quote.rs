//! Go's double-quoted strings: `strconv.Quote` and the reading side of `%q`.
//!
//! Strings are bytes: Go's need not be UTF-8, and keys and values are not.

/// `strconv.Quote`: what is printable stays, the rest is escaped, bytes that are not UTF-8 as `\xNN`.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| quote_char(c, &mut out));
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

fn quote_char(c: char, out: &mut String) {
    let escape = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        ' '..='~' => return out.push(c),
        // The standard library escapes what its Unicode tables call unprintable; `'` is handled above.
        _ if c > '\u{7f}' && c.escape_debug().count() == 1 => return out.push(c),
        '\0'..='\u{7f}' => return out.push_str(&format!("\\x{:02x}", u32::from(c))),
        '\u{80}'..='\u{ffff}' => return out.push_str(&format!("\\u{:04x}", u32::from(c))),
        _ => return out.push_str(&format!("\\U{:08x}", u32::from(c))),
    };
    out.push_str(escape);
}

/// Reads a quoted string (double quotes or back quotes) at the start of `input`: its bytes and what follows it.
///
/// `None` if there is none, or an escape in it is wrong.
pub fn unquote_prefix(input: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    match input.split_first()? {
        (b'`', rest) => {
            let end = rest.iter().position(|&b| b == b'`')?;
            Some((rest[..end].to_vec(), &rest[end + 1..]))
        }
        (b'"', rest) => unquote_double(rest),
        _ => None,
    }
}

fn unquote_double(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut out = Vec::new();
    loop {
        match rest.split_first()? {
            (b'"', after) => return Some((out, after)),
            (b'\n', _) => return None,
            (b'\\', after) => rest = unescape(after, &mut out)?,
            (&byte, after) => {
                out.push(byte);
                rest = after;
            }
        }
    }
}

/// Reads what follows a backslash.
fn unescape<'a>(input: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&kind, rest) = input.split_first()?;
    let literal = match kind {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' | b'"' => kind,
        b'x' => {
            let (value, rest) = number(rest, 2, 16)?;
            out.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        b'0'..=b'7' => {
            let (value, rest) = number(input, 3, 8)?;
            out.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        b'u' | b'U' => {
            let (value, rest) = number(rest, if kind == b'u' { 4 } else { 8 }, 16)?;
            let c = char::from_u32(value)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    out.push(literal);
    Some(rest)
}

/// Reads exactly `digits` digits of `base`.
fn number(input: &[u8], digits: usize, base: u32) -> Option<(u32, &[u8])> {
    let (text, rest) = input.split_at_checked(digits)?;
    let value = text.iter().try_fold(0_u32, |value, &byte| {
        char::from(byte).to_digit(base).and_then(|digit| value.checked_mul(base)?.checked_add(digit))
    })?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quote(b"plain 'text'"), "\"plain 'text'\"");
        assert_eq!(quote(b"x\"<>&\xff\x01\xe2\x80\xa8\n\0\x7f"), r#""x\"<>&\xff\x01\u2028\n\x00\x7f""#);
        assert_eq!(quote("käse\u{1f600}\u{10ffff}".as_bytes()), "\"käse\u{1f600}\\U0010ffff\"");
    }

    #[test]
    fn unquotes_what_it_quotes() {
        let all: Vec<u8> = (0..=255).collect();
        let quoted = quote(&all);
        assert_eq!(unquote_prefix(quoted.as_bytes()), Some((all, &b""[..])));
    }

    #[test]
    fn unquotes_a_prefix_only() {
        assert_eq!(
            unquote_prefix(br#""a\x41\101\u00e4") = "#),
            Some((b"aAA\xc3\xa4".to_vec(), &b") = "[..]))
        );
        assert_eq!(unquote_prefix(b"`a\\n`x"), Some((b"a\\n".to_vec(), &b"x"[..])));
        for wrong in [&b"a"[..], b"\"open", b"\"\\q\"", b"\"\\x4\"", b"\"\\'\"", b"\"\\400\"", b""] {
            assert_eq!(unquote_prefix(wrong), None, "{wrong:?}");
        }
    }
}
