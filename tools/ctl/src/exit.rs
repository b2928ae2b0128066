//! How the program ends: etcdctl's exit codes and the failure that carries one.
//!
//! Only `main` ends the process; everything else returns a [`Failure`].

use std::fmt;

/// etcdctl's exit codes. Source: etcd `pkg/cobrautl/error.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The server or the command line refused.
    Error,
    /// No endpoint to talk to, or none that takes the user.
    BadConnection,
    /// Standard input, or what the cluster holds, is not what the command works on.
    InvalidInput,
    /// A known option with a value that nothing implements.
    BadFeature,
    /// What ends by itself only if something is wrong has ended.
    Interrupted,
    /// Reading or writing the terminal failed.
    Io,
    /// Nobody reads what is written any more, as behind `head`: that ends a program without a word.
    Unread,
    /// Wrong number or combination of arguments.
    BadArgs,
    /// A program that the command ran ended with this.
    Child(u8),
}

impl Code {
    /// What the process ends with.
    pub fn number(self) -> u8 {
        match self {
            Self::Error => 1,
            Self::BadConnection => 2,
            Self::InvalidInput => 3,
            Self::BadFeature => 4,
            Self::Interrupted => 5,
            Self::Io => 6,
            // As shells show the signal for it.
            Self::Unread => 128 + 13,
            Self::BadArgs => 128,
            Self::Child(number) => number,
        }
    }
}

/// A command that did not work, with the text for its user.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    message: String,
    /// What led to it, for people: printed before the message.
    pub detail: Option<String>,
}

impl Failure {
    /// A failure that prints `Error: <message>`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None }
    }

    /// A failure whose text is printed already.
    pub fn told(code: Code) -> Self {
        Self::new(code, "")
    }

    /// Shorthand for [`Code::BadArgs`].
    pub fn bad_args(message: impl Into<String>) -> Self {
        Self::new(Code::BadArgs, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<windlass_client::Error> for Failure {
    fn from(error: windlass_client::Error) -> Self {
        let code = match error {
            windlass_client::Error::NoEndpoints | windlass_client::Error::Login(_) => Code::BadConnection,
            windlass_client::Error::BadEndpoint { .. } | windlass_client::Error::Tls(_) => Code::BadArgs,
            _ => Code::Error,
        };
        let message = error.to_string();
        let detail =
            if let windlass_client::Error::DeadlineExceeded { cause } = error { cause } else { None };
        Self { code, message, detail }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::told(Code::Unread),
            _ => Self::new(Code::Io, error.to_string()),
        }
    }
}
