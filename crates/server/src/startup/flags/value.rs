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
    /// A Go duration that is not negative, such as `1m30s`.
    Duration,
    /// Such a duration, or this word.
    DurationOr(&'static str),
    /// URLs separated by commas.
    Urls,
    /// One of these words.
    Choice(&'static [&'static str]),
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
            Self::Duration | Self::DurationOr(_) => parse_duration(text).map(drop),
            Self::Urls => parse_urls(text).map(drop),
            Self::Gates => parse_gates(text).map(drop),
            Self::Choice(words) if words.contains(&text) => Ok(()),
            Self::Choice(_) => Err("invalid value".to_owned()),
        }
    }

    /// Whether two valid values mean the same.
    pub fn same(self, left: &str, right: &str) -> bool {
        match self {
            Self::Bool => parse_bool(left) == parse_bool(right),
            Self::Duration | Self::DurationOr(_) => {
                left == right || parse_duration(left) == parse_duration(right)
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

/// A decimal number up to `max`.
pub fn parse_number(text: &str, max: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) if number <= max => Ok(number),
        Ok(_) => Err(OUT_OF_RANGE.to_owned()),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(OUT_OF_RANGE.to_owned()),
        Err(_) => Err(PARSE_ERROR.to_owned()),
    }
}

/// A decimal number with an optional sign.
pub fn parse_integer(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => OUT_OF_RANGE.to_owned(),
        _ => PARSE_ERROR.to_owned(),
    })
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

/// URLs separated by commas, sorted as etcd sorts them; the error is etcd's text.
pub fn parse_urls(text: &str) -> Result<Vec<Url>, String> {
    let mut urls = text.split(',').map(Url::parse).collect::<Result<Vec<_>, _>>()?;
    urls.sort();
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
        let urls = parse_urls("http://b:2, http://[::1]:3,http://a:1").unwrap();
        let parts: Vec<_> = urls.iter().map(|url| (url.as_str(), url.host(), url.address())).collect();
        assert_eq!(
            parts,
            [("http://[::1]:3", "::1", "[::1]:3"), ("http://a:1", "a", "a:1"), ("http://b:2", "b", "b:2")]
        );
        let socket = Url::parse("unix:///run/windlass.sock").unwrap();
        assert_eq!((socket.scheme(), socket.address()), (Scheme::Unix, "/run/windlass.sock"));
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
        assert_eq!(Kind::Choice(&["a"]).check("b"), Err("invalid value".to_owned()));
        assert!(Kind::Bool.same("T", "true") && !Kind::Bool.same("f", "true"));
        assert!(Kind::Duration.same("60s", "1m") && !Kind::Text.same("60s", "1m"));
    }
}
