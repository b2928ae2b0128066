//! Numbers for people: three digits and a unit.

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Anything; large ones are shortened with k and M.
    Count,
    /// Nanoseconds.
    Ns,
    /// Seconds, as a place in time.
    Seconds,
    /// Bytes, in powers of 1024.
    Bytes,
}

impl Unit {
    /// `value` in three digits.
    #[must_use]
    pub fn format(self, value: f64) -> String {
        match self {
            Self::Count => scaled(value, 1000.0, &["", " k", " M", " G"]),
            Self::Ns => scaled(value, 1000.0, &[" ns", " us", " ms", " s"]),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Bytes => scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"]),
        }
    }
}

/// Nanoseconds in three digits.
#[must_use]
pub fn ns(value: u64) -> String {
    Unit::Ns.format(value as f64)
}

/// Bytes in three digits.
#[must_use]
pub fn bytes(value: u64) -> String {
    Unit::Bytes.format(value as f64)
}

/// A whole number with its thousands apart.
#[must_use]
pub fn thousands(value: f64) -> String {
    let plain = format!("{value:.0}");
    let (sign, number) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (place, digit) in number.chars().enumerate() {
        if place > 0 && (number.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn scaled(value: f64, step: f64, names: &[&str]) -> String {
    let (mut value, mut place) = (value, 0);
    // What would be shown as 1000 is shown as 1 of the next.
    while value.abs() >= step * 0.9995 && place + 1 < names.len() {
        value /= step;
        place += 1;
    }
    format!("{}{}", digits(value), names[place])
}

fn digits(value: f64) -> String {
    let text = match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, want) in
            [(0, "0 ns"), (999, "999 ns"), (1_234, "1.23 us"), (19_960, "20 us"), (5_000_000_000, "5 s")]
        {
            assert_eq!(ns(value), want);
        }
        assert_eq!(ns(999_999), "1 ms");
        assert_eq!(
            (bytes(512), bytes(4096), bytes(1_500_000)),
            ("512 B".into(), "4 KiB".into(), "1.43 MiB".into())
        );
        assert_eq!(Unit::Count.format(123_456.0), "123 k");
        assert_eq!((thousands(1_234_567.0), thousands(12.0)), ("1,234,567".to_owned(), "12".to_owned()));
    }
}
