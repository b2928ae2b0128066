//! How the program ends: etcdctl's exit codes and the failure that carries one.
//!
//! Only `main` ends the process; everything else returns a [`Failure`].

use std::fmt;

/// etcdctl's exit codes. Source: etcd `pkg/cobrautl/error.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// The server or the command line refused.
    Error = 1,
    /// No endpoint to talk to.
    BadConnection = 2,
    /// Standard input is not what the command reads.
    InvalidInput = 3,
    /// A known option with a value that nothing implements.
    BadFeature = 4,
    /// What ends by itself only if something is wrong has ended.
    Interrupted = 5,
    /// Reading or writing the terminal failed.
    Io = 6,
    /// Wrong number or combination of arguments.
    BadArgs = 128,
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
            windlass_client::Error::NoEndpoints => Code::BadConnection,
            windlass_client::Error::BadEndpoint { .. } => Code::BadArgs,
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
        Self::new(Code::Io, error.to_string())
    }
}
