//! The sockets of a member, bound before anything is written.

use std::net::TcpListener;

use windlass_rpc::{BindError, bind};

use crate::startup::flags::Url;
use crate::startup::{Config, Reason, preflight};

/// Every listening socket.
pub struct Listeners {
    /// For clients: the sockets of each arbiter.
    pub clients: Vec<Vec<TcpListener>>,
    /// For metrics and health alone.
    pub metrics: Vec<TcpListener>,
}

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

impl Listeners {
    /// Binds every address of the configuration.
    pub fn bind(config: &Config) -> Result<Self, ListenError> {
        let arbiters = config.storage.net_threads;
        let mut clients: Vec<Vec<TcpListener>> = (0..arbiters).map(|_| Vec::new()).collect();
        for url in &config.urls.listen_client {
            let sockets = bind(url.address(), arbiters).map_err(|e| ListenError::new(url, &e))?;
            clients.iter_mut().zip(sockets).for_each(|(of_arbiter, socket)| of_arbiter.push(socket));
        }
        let mut metrics = Vec::new();
        for url in &config.urls.listen_metrics {
            metrics.extend(bind(url.address(), 1).map_err(|e| ListenError::new(url, &e))?);
        }
        Ok(Self { clients, metrics })
    }
}
