//! Go's textual forms, which etcdctl's users and their scripts know: durations, integers, booleans, quoted strings.
//!
//! Pure functions of their arguments.

mod duration;
mod quote;

pub use duration::{format_duration, parse_duration};
pub use quote::{quote, unquote_prefix};

/// `strconv.ParseInt(text, base, 64)`, base 0 meaning that `0x`, `0o`, `0b` and a leading `0` choose it.
///
/// # Errors
/// Go's text for what is wrong.
pub fn parse_int(text: &str, base: u32) -> Result<i64, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = if base == 0 { split_base(digits) } else { (base, digits) };
    let fault = |what| format!("strconv.ParseInt: parsing {}: {what}", quote(text.as_bytes()));
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(fault("invalid syntax"));
    }
    let magnitude = i128::from_str_radix(digits, base).map_err(|_| fault("value out of range"))?;
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| fault("value out of range"))
}

/// `strconv.ParseUint(text, 16, 64)`, by which ids of members are read.
///
/// # Errors
/// Go's text for what is wrong.
pub fn parse_hex(text: &str) -> Result<u64, String> {
    let fault = |what| format!("strconv.ParseUint: parsing {}: {what}", quote(text.as_bytes()));
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(fault("invalid syntax"));
    }
    u64::from_str_radix(text, 16).map_err(|_| fault("value out of range"))
}

fn split_base(digits: &str) -> (u32, &str) {
    let prefixed =
        |prefix: &str| digits.get(..2).filter(|p| p.eq_ignore_ascii_case(prefix)).map(|_| &digits[2..]);
    if let Some(rest) = prefixed("0x") {
        (16, rest)
    } else if let Some(rest) = prefixed("0o") {
        (8, rest)
    } else if let Some(rest) = prefixed("0b") {
        (2, rest)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    }
}

/// `strconv.ParseBool`.
///
/// # Errors
/// Go's text for what is wrong.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", quote(text.as_bytes()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        assert_eq!(parse_int("0x10", 0), Ok(16));
        assert_eq!(parse_int("-9223372036854775808", 10), Ok(i64::MIN));
        assert_eq!(parse_int("010", 0), Ok(8));
        assert_eq!(parse_int("0", 0), Ok(0));
        assert_eq!(parse_int("ff", 16), Ok(255));
        assert_eq!(parse_int("x", 10), Err("strconv.ParseInt: parsing \"x\": invalid syntax".into()));
        assert_eq!(parse_int("", 10), Err("strconv.ParseInt: parsing \"\": invalid syntax".into()));
        let large = "99999999999999999999";
        assert_eq!(
            parse_int(large, 10),
            Err(format!("strconv.ParseInt: parsing \"{large}\": value out of range"))
        );
        assert!(parse_int("1_0", 10).is_err());
    }

    #[test]
    fn hexadecimal_ids() {
        assert_eq!(parse_hex("ff"), Ok(255));
        assert_eq!(parse_hex("zz"), Err("strconv.ParseUint: parsing \"zz\": invalid syntax".into()));
        assert!(parse_hex("-1").is_err() && parse_hex("").is_err());
        assert!(parse_hex("11111111111111111").expect_err("too large").ends_with("value out of range"));
    }

    #[test]
    fn booleans() {
        assert_eq!(parse_bool("f"), Ok(false));
        assert_eq!(parse_bool("maybe"), Err("strconv.ParseBool: parsing \"maybe\": invalid syntax".into()));
    }
}
