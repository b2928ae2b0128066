//! Groups of flags that several commands have, and values of flags that take more than a number.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::{Args, ValueEnum};
use windlass_client::User;

use crate::keys::{self, Keys, Spread};
use crate::workload::{Reading, Shape, Target};

const KEY_BYTES_MAX: u64 = 64 << 10;
const VALUE_BYTES_MAX: u64 = 64 << 20;

/// How many requests, and when.
#[derive(Debug, Args)]
pub struct Amount {
    /// Number of requests.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub total: u64,
    /// Requests per second, begun at their times whatever the server does; 0: as many as it answers.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
}

impl Amount {
    pub fn rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.rate)
    }
}

#[derive(Debug, Args)]
pub struct KeyFlags {
    /// Size of a key in bytes.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=KEY_BYTES_MAX))]
    pub key_size: u64,
    /// Number of different keys.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub key_space_size: u64,
    /// How requests spread over the keys.
    #[arg(long, value_enum, default_value_t = Spread::Uniform)]
    pub keys: Spread,
    /// The same as --keys sequential.
    #[arg(long, conflicts_with = "keys")]
    pub sequential_keys: bool,
}

impl KeyFlags {
    /// The keys and their size in bytes.
    pub fn build(&self, seed: u64) -> Result<(Keys, usize), String> {
        let spread = if self.sequential_keys { Spread::Sequential } else { self.keys };
        keys_of(self.key_space_size, self.key_size, spread, seed)
    }

    pub fn shape(&self, value: &ValueFlags, seed: u64) -> Result<Shape, String> {
        let (keys, key_bytes) = self.build(seed)?;
        Ok(Shape { keys, key_bytes, value_bytes: value.val_size as usize, seed })
    }
}

/// Keys of a space that fit into so many bytes.
pub fn keys_of(space: u64, size: u64, spread: Spread, seed: u64) -> Result<(Keys, usize), String> {
    let digits = keys::digits(space);
    if (size as usize) < digits {
        return Err(format!("--key-size {size} is too short for --key-space-size {space}: {digits} digits"));
    }
    Ok((Keys::new(space, spread, seed), size as usize))
}

#[derive(Debug, Args)]
pub struct ValueFlags {
    /// Size of the value in bytes.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(..=VALUE_BYTES_MAX))]
    pub val_size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Consistency {
    /// Linearizable.
    L,
    /// Serializable.
    S,
}

#[derive(Debug, Args)]
pub struct ReadFlags {
    /// Linearizable or serializable.
    #[arg(long, value_enum, default_value_t = Consistency::L)]
    pub consistency: Consistency,
    /// Keys in an answer, at most; 0: all.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    pub limit: i64,
    /// Ask only how many keys there are.
    #[arg(long)]
    pub count_only: bool,
}

impl ReadFlags {
    pub fn reading(&self) -> Reading {
        let serializable = self.consistency == Consistency::S;
        Reading { serializable, limit: self.limit, count_only: self.count_only }
    }
}

/// KEY alone, KEY to END, or the keys that puts write.
pub fn target(key: Option<String>, end: Option<String>, keys: (Keys, usize)) -> Target {
    match key {
        Some(key) => Target::Range(key, end.unwrap_or_default()),
        None => Target::Keys(keys.0, keys.1),
    }
}

/// `NAME:PASSWORD`; the password may hold colons.
/// A user and a password.
///
/// # Errors
/// It is not `NAME:PASSWORD`.
pub fn user(text: &str) -> Result<User, String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() => {
            Ok(User { name: name.to_owned(), password: password.to_owned() })
        }
        _ => Err(format!("--user {text:?} is not NAME:PASSWORD")),
    }
}

/// How many times as much.
pub fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.000_001..=1e6).contains(&factor) => Ok(factor),
        _ => Err("it is no factor from 0.000001 to 1000000".to_owned()),
    }
}

/// A duration as Go writes it, of one number and one unit: `100ms`, `5s`, `1m`, `1h`; `0` for none.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a duration such as 100ms, 5s, 1m or 1h");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
    let number: u64 = text[..split].parse().map_err(|_| refuse())?;
    let ms = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refuse()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let ms = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(
            (ms("100ms"), ms("5s"), ms("2m"), ms("1h"), ms("0")),
            (Ok(100), Ok(5_000), Ok(120_000), Ok(3_600_000), Ok(0))
        );
        for text in ["", "5", "s", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
