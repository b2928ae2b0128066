//! What can be wrong with settings and files, and with a handshake.

use std::io;
use std::path::PathBuf;

/// Why connections cannot be protected as asked. Each names the file or the setting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no usable {what}: {why}", path.display())]
    Content {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Settings that do not go together, or one that cannot be.
    #[error("{0}")]
    Settings(String),
}

/// Why a connection was not made. Nothing was said on it but the handshake.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The other side went away, or one of the sides did not like the other.
    #[error("TLS handshake failed: {0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("TLS handshake was not complete in time")]
    TimedOut,
    /// The handshake was good, but the certificate is not one that is allowed.
    #[error("certificate is not allowed: {0}")]
    NotAllowed(String),
    /// The host that is dialled has no name that a certificate could have.
    #[error("{0:?} is no host name that a certificate could have")]
    Host(String),
}
