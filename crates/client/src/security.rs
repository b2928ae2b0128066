//! Whom a client trusts, and as whom it asks.

use std::io;
use std::time::Duration;

use windlass_tls::{Settings, Tls};

use crate::socket::Socket;
use crate::{Connection, Endpoint, Error, Scheme};

/// The user as whom a client asks.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
}

/// Without the password: it must not get into logs.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a client protects its connections, and who it says it is. Default: not at all, and nobody.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// For endpoints that do not say `http://`. Without it only those that say `https://` are protected, with the
    /// system's authorities.
    pub tls: Option<Tls>,
    /// The name that servers' certificates must be for; the endpoint's host if not set.
    pub server_name: Option<String>,
    /// Asked for a token before the first request.
    pub user: Option<User>,
}

/// What a client of HTTP/2 must offer.
#[must_use]
pub fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec()]
}

/// Opens connections as a [`Security`] says.
pub(crate) struct Dialer {
    tls: Option<Tls>,
    /// With the system's authorities, where an endpoint says `https://` and nothing else is known.
    fallback: Option<Tls>,
    server_name: Option<String>,
}

impl Dialer {
    /// Reads the system's authorities if an endpoint needs them.
    pub(crate) fn new(security: &Security, endpoints: &[Endpoint]) -> Result<Self, Error> {
        let Security { tls, server_name, .. } = security.clone();
        let needs_fallback =
            tls.is_none() && endpoints.iter().any(|endpoint| endpoint.scheme() == Scheme::Https);
        let fallback = needs_fallback.then(|| Tls::new(Settings { alpn: alpn(), ..Settings::default() }));
        let fallback = fallback.transpose().map_err(|error| Error::Tls(error.to_string()))?;
        Ok(Self { tls, fallback, server_name })
    }

    pub(crate) fn dial(&self, endpoint: &Endpoint, timeout: Duration) -> io::Result<Connection> {
        Connection::over(self.socket(endpoint, timeout)?, endpoint)
    }

    pub(crate) fn socket(&self, endpoint: &Endpoint, timeout: Duration) -> io::Result<Socket> {
        let tls = match endpoint.scheme() {
            Scheme::Http | Scheme::Unix => None,
            Scheme::Unsaid => self.tls.as_ref(),
            Scheme::Https => self.tls.as_ref().or(self.fallback.as_ref()),
        };
        match tls {
            Some(tls) => {
                let name = self.server_name.as_deref().unwrap_or_else(|| endpoint.host());
                Socket::dial_protected(endpoint, tls, name, timeout)
            }
            None => Socket::dial(endpoint, timeout),
        }
    }
}
