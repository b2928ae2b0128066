//! The sockets of a member, bound before anything is written.

use std::net::TcpListener;

use windlass_rpc::{BindError, Listener, bind, bind_unix};
use windlass_tls::Tls;

use crate::net::Listeners;
use crate::startup::flags::{Scheme, Url};
use crate::startup::{Config, Reason, preflight};

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct ListenError {
    reason: Reason,
    sentence: String,
}

impl ListenError {
    fn new(url: &Url, error: &BindError) -> Self {
        let source = std::error::Error::source(error).and_then(|s| s.downcast_ref::<std::io::Error>());
        let (reason, sentence) = match source {
            Some(io) => preflight::bind_refused(&url.to_string(), io),
            None => (Reason::Address, error.to_string()),
        };
        Self { reason, sentence }
    }

    /// The reason to end the process with.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// Binds every address of the configuration: for each arbiter its sockets. The first has those for metrics.
pub fn bind_all(config: &Config, tls: Option<&Tls>) -> Result<Vec<Listeners>, ListenError> {
    let count = config.storage.net_threads;
    let mut arbiters: Vec<Listeners> = (0..count).map(|_| Listeners::default()).collect();
    for url in &config.urls.listen_client {
        let sockets = listen(url, count, tls)?;
        arbiters.iter_mut().zip(sockets).for_each(|(of_arbiter, socket)| of_arbiter.clients.push(socket));
    }
    for url in &config.urls.listen_client_http {
        let sockets = listen(url, count, tls)?;
        arbiters.iter_mut().zip(sockets).for_each(|(of_arbiter, socket)| of_arbiter.http.push(socket));
    }
    for url in &config.urls.listen_metrics {
        arbiters[0].metrics.extend(listen(url, 1, tls)?);
    }
    Ok(arbiters)
}

/// Binds the addresses for the other members.
pub fn bind_peers(config: &Config) -> Result<Vec<TcpListener>, ListenError> {
    let mut sockets = Vec::new();
    for url in &config.urls.listen_peer {
        sockets.extend(bind(url.address(), 1).map_err(|error| ListenError::new(url, &error))?);
    }
    Ok(sockets)
}

fn listen(url: &Url, count: usize, tls: Option<&Tls>) -> Result<Vec<Listener>, ListenError> {
    let bound = match url.scheme() {
        Scheme::Unix | Scheme::Unixs => {
            bind_unix(url.address(), count).map(|sockets| sockets.into_iter().map(Listener::from).collect())
        }
        Scheme::Http | Scheme::Https => {
            // That there are certificates for https was checked with the flags.
            let tls = tls.filter(|_| url.scheme() == Scheme::Https);
            let listener = |socket| match tls {
                Some(tls) => Listener::Tls(socket, tls.clone()),
                None => Listener::from(socket),
            };
            bind(url.address(), count).map(|sockets| sockets.into_iter().map(listener).collect())
        }
    };
    bound.map_err(|error| ListenError::new(url, &error))
}
