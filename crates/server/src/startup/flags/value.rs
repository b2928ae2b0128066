//! What flag values look like: etcd's spellings of booleans, numbers, durations and URLs, and its texts for those
//! that are wrong.

use super::gates::parse_gates;
use std::{fmt, num::IntErrorKind, time::Duration};

/// What a flag's value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// Go's spellings of true and false; a flag without a value is true.
    Bool,
    /// A whole number from 0 to `max`.
    Number {
        /// The largest value taken.
        max: u64,
    },
    /// A whole number that may be negative.
    Integer,
    /// A Go duration, such as `1m30s`. A negative one counts as zero, which is how etcd takes them.
    Duration,
    /// Such a duration, or this word.
    DurationOr(&'static str),
    /// URLs separated by commas.
    Urls,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words in letters of any case; nothing is the default.
    AnyCase(&'static [&'static str]),
    /// Feature gates, `A=true,B=false`.
    Gates,
}

impl Kind {
    /// A number with no bound of its own. Half of `u64`, so that no arithmetic on it is near an overflow.
    pub const NUMBER: Self = Self::Number { max: i64::MAX as u64 };

    /// Whether `text` is such a value; the error is etcd's reason, without flag or value.
    pub fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Text => Ok(()),
            Self::Bool => parse_bool(text).map(drop),
            Self::Number { max } => parse_number(text, max).map(drop),
            Self::Integer => parse_integer(text).map(drop),
            Self::DurationOr(word) if text == word => Ok(()),
            Self::Duration | Self::DurationOr(_) => parse_signed_duration(text).map(drop),
            Self::Urls => parse_urls(text).map(drop),
            Self::Gates => parse_gates(text).map(drop),
            Self::Choice(words) if words.contains(&text) => Ok(()),
            Self::AnyCase(words) if text.is_empty() || words.contains(&&*text.to_lowercase()) => Ok(()),
            Self::Choice(_) | Self::AnyCase(_) => Err("invalid value".to_owned()),
        }
    }

    /// Whether two valid values mean the same.
    pub fn same(self, left: &str, right: &str) -> bool {
        match self {
            Self::Bool => parse_bool(left) == parse_bool(right),
            Self::Duration | Self::DurationOr(_) => {
                left == right || parse_signed_duration(left) == parse_signed_duration(right)
            }
            _ => left == right,
        }
    }
}

const PARSE_ERROR: &str = "parse error";
const OUT_OF_RANGE: &str = "value out of range";

/// The spellings of Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(PARSE_ERROR.to_owned()),
    }
}

/// A number up to `max`, in any base that Go's flags know.
pub fn parse_number(text: &str, max: u64) -> Result<u64, String> {
    match parse_digits(text)? {
        number if number <= u128::from(max) => u64::try_from(number).map_err(|_| OUT_OF_RANGE.to_owned()),
        _ => Err(OUT_OF_RANGE.to_owned()),
    }
}

/// Such a number with an optional sign.
pub fn parse_integer(text: &str) -> Result<i64, String> {
    let (digits, sign) = match text.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (text.strip_prefix('+').unwrap_or(text), 1),
    };
    let number = i128::try_from(parse_digits(digits)?).map_err(|_| OUT_OF_RANGE.to_owned())?;
    i64::try_from(sign * number).map_err(|_| OUT_OF_RANGE.to_owned())
}

/// Go's `strconv.ParseUint` with base 0: `0x`, `0o`, `0b` and `0` in front name the base, and underscores may part
/// digits.
fn parse_digits(text: &str) -> Result<u128, String> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    // An underscore may stand between digits, and behind what names the base.
    let parted = if radix == 10 { digits } else { digits.strip_prefix('_').unwrap_or(digits) };
    if parted.split('_').any(|part| part.is_empty() || !part.chars().all(|char| char.is_digit(radix))) {
        return Err(PARSE_ERROR.to_owned());
    }
    u128::from_str_radix(&parted.replace('_', ""), radix).map_err(|error| match error.kind() {
        IntErrorKind::PosOverflow => OUT_OF_RANGE.to_owned(),
        _ => PARSE_ERROR.to_owned(),
    })
}

/// As [`parse_duration`]; a negative duration is zero.
pub fn parse_signed_duration(text: &str) -> Result<Duration, String> {
    match text.strip_prefix('-') {
        Some(rest) if !rest.starts_with('+') => parse_duration(rest).map(|_| Duration::ZERO),
        _ => parse_duration(text),
    }
}

/// Go's `time.ParseDuration` without negative values: numbers with units (ns, us, ms, s, m, h), or a bare 0.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = || PARSE_ERROR.to_owned();
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut nanoseconds: u64 = 0;
    while !rest.is_empty() {
        let (part, remaining) = parse_duration_part(rest).ok_or_else(error)?;
        nanoseconds =
            nanoseconds.checked_add(part).filter(|sum| *sum <= i64::MAX as u64).ok_or_else(error)?;
        rest = remaining;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The leading number and unit of `text` in nanoseconds, and what follows them.
fn parse_duration_part(text: &str) -> Option<(u64, &str)> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    // The longest unit first: `ms` is not `m` followed by `s`.
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (_, scale) = UNITS.iter().find(|(unit, _)| *unit == &rest[..unit_end])?;

    let mut nanoseconds =
        if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.checked_mul(*scale)? };
    let mut place = *scale;
    for digit in fraction.bytes() {
        place /= 10;
        nanoseconds = nanoseconds.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some((nanoseconds, &rest[unit_end..]))
}

/// How a URL's address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// TCP.
    Http,
    /// TCP with TLS.
    Https,
    /// A Unix socket.
    Unix,
    /// A Unix socket with TLS.
    Unixs,
}

/// An address as etcd's flags take it: a scheme and `host:port`, nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    text: String,
    scheme: Scheme,
    host_length: usize,
}

impl Url {
    /// Reads one URL; the error is etcd's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
        };
        let host_length = match scheme {
            Scheme::Http | Scheme::Https => {
                let (address, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                let host_length = host_length(address)
                    .ok_or_else(|| format!("URL address does not have the form \"host:port\": {text}"))?;
                if !path.is_empty() {
                    return Err(format!("URL must not contain a path: {text}"));
                }
                host_length
            }
            Scheme::Unix | Scheme::Unixs => rest.len(),
        };
        Ok(Self { text: text.to_owned(), scheme, host_length })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What follows the scheme: `host:port`, or a socket's path.
    pub fn address(&self) -> &str {
        &self.text[self.text.find("://").expect("parsed with a scheme") + 3..]
    }

    /// The host without the brackets of an IPv6 address; may be empty.
    pub fn host(&self) -> &str {
        self.address()[..self.host_length].trim_start_matches('[').trim_end_matches(']')
    }

    /// The URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Length of the host (brackets included) of a `host:port` with a port from 0 to 65535.
fn host_length(address: &str) -> Option<usize> {
    let (host, port) = address.rsplit_once(':')?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let well_formed = bracketed || !host.contains([':', '[', ']', '@']);
    let has_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (well_formed && has_port).then_some(host.len())
}

/// URLs separated by commas, each once and sorted as etcd sorts them; the error is etcd's text.
pub fn parse_urls(text: &str) -> Result<Vec<Url>, String> {
    let mut urls = text.split(',').map(Url::parse).collect::<Result<Vec<_>, _>>()?;
    urls.sort();
    urls.dedup();
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("\u{b5}s1", u64::MAX),
            ("1\u{b5}s", 1_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+2m", 120_000_000_000),
            ("-1s", u64::MAX),
            ("5", u64::MAX),
            ("", u64::MAX),
            ("+", u64::MAX),
            (".s", u64::MAX),
            ("1..5s", u64::MAX),
            ("1x", u64::MAX),
            ("1s ", u64::MAX),
            ("9223372036854775807ns", i64::MAX as u64),
            ("9223372036854775808ns", u64::MAX),
            ("99999999999999h", u64::MAX),
        ];
        for (text, nanoseconds) in cases {
            let want = match nanoseconds {
                u64::MAX => Err(PARSE_ERROR.to_owned()),
                nanoseconds => Ok(Duration::from_nanos(nanoseconds)),
            };
            assert_eq!(parse_duration(text), want, "{text:?}");
        }
    }

    #[test]
    fn wrong_urls_get_etcds_texts() {
        let scheme = "URL scheme must be http, https, unix, or unixs: ";
        let form = "URL address does not have the form \"host:port\": ";
        let path = "URL must not contain a path: ";
        for (text, reason) in [
            ("foo", scheme),
            ("", scheme),
            ("ftp://1.2.3.4:2", scheme),
            ("http://localhost", form),
            ("http://localhost:x", form),
            ("http://localhost:65536", form),
            ("http://::1:2379", form),
            ("http://user@host:1", form),
            ("http://1.2.3.4:2/x", path),
            ("http://1.2.3.4:2/", path),
            ("http://1.2.3.4:2?a", path),
        ] {
            assert_eq!(Url::parse(text), Err(format!("{reason}{text}")));
        }
    }

    #[test]
    fn urls_are_split_trimmed_and_sorted() {
        let urls = parse_urls("http://b:2, http://[::1]:3,http://a:1,http://b:2").unwrap();
        let parts: Vec<_> = urls.iter().map(|url| (url.as_str(), url.host(), url.address())).collect();
        assert_eq!(
            parts,
            [("http://[::1]:3", "::1", "[::1]:3"), ("http://a:1", "a", "a:1"), ("http://b:2", "b", "b:2")]
        );
        let socket = Url::parse("unix:///run/windlass.sock").unwrap();
        assert_eq!((socket.scheme(), socket.address()), (Scheme::Unix, "/run/windlass.sock"));
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, number) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("0100", Some(64)),
            ("0x_1F", Some(31)),
            ("0b101", Some(5)),
            ("0o17", Some(15)),
            ("1_000", Some(1000)),
            ("0_7", Some(7)),
            ("_1", None),
            ("1__0", None),
            ("1_", None),
            ("0x", None),
            ("08", None),
            ("+1", None),
            ("", None),
        ] {
            assert_eq!(parse_number(text, 5000).ok(), number, "{text:?}");
        }
        assert_eq!(parse_integer("+0x10"), Ok(16));
        assert_eq!(parse_integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_integer("--1"), Err(PARSE_ERROR.to_owned()));
    }

    #[test]
    fn numbers_and_booleans_have_etcds_reasons() {
        let parse_error = Err(PARSE_ERROR.to_owned());
        let out_of_range = Err(OUT_OF_RANGE.to_owned());
        assert_eq!(Kind::NUMBER.check("-1"), parse_error);
        assert_eq!(Kind::NUMBER.check("x"), parse_error);
        assert_eq!(Kind::NUMBER.check("99999999999999999999"), out_of_range);
        assert_eq!(Kind::Number { max: 4 }.check("5"), out_of_range);
        assert_eq!(Kind::Integer.check("-9223372036854775809"), out_of_range);
        assert_eq!(Kind::Integer.check("-1"), Ok(()));
        assert_eq!(Kind::Bool.check("yes"), parse_error);
        let levels = Kind::AnyCase(&["info"]);
        assert!(levels.check("Info").is_ok() && levels.check("").is_ok() && levels.check("x").is_err());
        assert_eq!(Kind::Duration.check("-1s"), Ok(()));
        assert_eq!(Kind::Duration.check("-+1s"), parse_error);
        assert_eq!(parse_signed_duration("-1s"), Ok(Duration::ZERO));
        assert_eq!(Kind::Choice(&["a"]).check("b"), Err("invalid value".to_owned()));
        assert!(Kind::Bool.same("T", "true") && !Kind::Bool.same("f", "true"));
        assert!(Kind::Duration.same("60s", "1m") && !Kind::Text.same("60s", "1m"));
    }
}
