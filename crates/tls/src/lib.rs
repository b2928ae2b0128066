//! Protected connections, with the meaning of etcd's flags: certificates from files, client certificates, names that
//! are allowed, revocation lists, self-signed certificates.
//!
//! For both listeners, of clients and of peers, and for what this process dials. Files are looked at anew before each
//! handshake and read when they changed, so certificates are replaced without a restart; files that cannot be used are
//! named in the log, and the former ones stay in use. It must never accept what a flag forbids because a file is missing,
//! and never log a key.

mod blocking;
mod der;
mod error;
mod files;
mod identity;
mod leaf;
mod self_signed;
mod settings;
mod stream;
mod tls;
mod verify;

pub use blocking::BlockingStream;
pub use error::{Error, HandshakeError};
pub use identity::Identity;
pub use self_signed::self_signed;
pub use settings::{Protocols, Settings, Version, unavailable_suites};
pub use stream::Stream;
pub use tls::Tls;
