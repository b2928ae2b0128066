//! Durations as Go's `time.Duration` reads and prints them.
//!
//! Never negative: no option and no measurement here is.

use std::time::Duration;

use super::quote;

/// Nanoseconds of each unit that Go knows.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60.0 * 1e9),
    ("h", 3600.0 * 1e9),
];

/// `time.ParseDuration`: `1h15m30.5s`, `300ms`.
///
/// # Errors
/// Go's text for what is wrong, also for a negative duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", quote(text.as_bytes()));
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total_ns = 0.0;
    while !rest.is_empty() {
        let digits_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits_len].parse().map_err(|_| invalid())?;
        rest = &rest[digits_len..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..unit_len];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text.as_bytes())));
        }
        let (_, ns) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
            format!("time: unknown unit {} in duration {}", quote(unit.as_bytes()), quote(text.as_bytes()))
        })?;
        total_ns += number * ns;
        rest = &rest[unit_len..];
    }
    if total_ns > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(Duration::from_nanos(total_ns as u64))
}

/// `Duration.String`: the largest fitting unit below a second, `1h2m3.5s` above.
pub fn format_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(ns, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(ns, 6)),
        _ => clock(ns),
    }
}

fn clock(ns: u128) -> String {
    let (minutes, below_ns) = (ns / 60_000_000_000, ns % 60_000_000_000);
    let seconds = fraction(below_ns, 9);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / 10^digits` without trailing zeros.
fn fraction(value: u128, digits: u32) -> String {
    let scale = 10_u128.pow(digits);
    let text = format!("{}.{:0width$}", value / scale, value % scale, width = digits as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_durations() {
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("1h15m0.5s"), Ok(Duration::from_millis(4_500_500)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("5"), Err("time: missing unit in duration \"5\"".into()));
        assert_eq!(parse_duration(""), Err("time: invalid duration \"\"".into()));
        assert_eq!(parse_duration("-1s"), Err("time: invalid duration \"-1s\"".into()));
        assert_eq!(parse_duration("1x"), Err("time: unknown unit \"x\" in duration \"1x\"".into()));
        assert!(parse_duration("9999999h").is_err());
    }

    #[test]
    fn prints_go_durations() {
        let cases: [(u64, &str); 8] = [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (1_838_972, "1.838972ms"),
            (1_000_696_657, "1.000696657s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_500_000_000, "1h2m3.5s"),
        ];
        for (ns, text) in cases {
            assert_eq!(format_duration(Duration::from_nanos(ns)), text);
        }
    }
}
