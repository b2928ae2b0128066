//! How the program ends. Source of the codes: etcd `pkg/cobrautl/error.go`.

use std::fmt;

/// Something is wrong with a file, or an option.
pub const ERROR: u8 = 1;

/// An output format that there is not.
pub const BAD_FEATURE: u8 = 4;

/// The wrong number of arguments.
pub const BAD_ARGS: u8 = 128;

/// A command that did not work.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    text: String,
}

impl Failure {
    /// A failure that prints `Error: <text>`.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Something is wrong with a file, in the words of `error` and of what caused it.
    pub fn of(path: &std::path::Path, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{} {error}", path.display());
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::new(ERROR, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
