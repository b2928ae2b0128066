//! Whom a run trusts and as whom it asks.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use windlass_client::{Security, User, alpn};
use windlass_tls::{Settings, Tls};

/// For connections.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// TLS, and the user.
    pub security: Security,
    /// The user's token; empty for nobody.
    pub token: String,
    /// Bound of an attempt to connect, where it is not the usual one.
    pub dial_timeout: Option<Duration>,
}

/// As the flags have them.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Authorities that servers' certificates are to be of.
    pub cacert: Option<PathBuf>,
    /// The client's own certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Take any certificate.
    pub skip_verify: bool,
}

impl Access {
    /// Reads the files, if there are any.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn new(files: &Files, user: Option<User>) -> Result<Self> {
        Ok(Self {
            security: Security { tls: files.tls(alpn())?, user, ..Security::default() },
            token: String::new(),
            dial_timeout: None,
        })
    }
}

impl Files {
    /// TLS for a protocol above it, if there are files or any certificate is to be taken.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn tls(&self, alpn: Vec<Vec<u8>>) -> Result<Option<Tls>> {
        let Self { cacert, cert, key, skip_verify } = self.clone();
        let is_protected = skip_verify || [&cacert, &cert, &key].iter().any(|file| file.is_some());
        let settings = Settings {
            client_cert_file: cert,
            client_key_file: key,
            trusted_ca_file: cacert,
            insecure_skip_verify: skip_verify,
            alpn,
            ..Settings::default()
        };
        // Its text names its cause already.
        let tls = is_protected.then(|| Tls::new(settings)).transpose();
        tls.map_err(|error| anyhow::Error::msg(error.to_string()))
    }
}
