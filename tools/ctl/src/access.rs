//! How a cluster is reached and as whom, as etcdctl's options say it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use windlass_client::{Security, User, alpn};
use windlass_tls::{Settings, Tls};

use crate::exit::{Code, Failure};

/// The options; an empty text is none. Default: no TLS but where an endpoint asks for it, no user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// File of the authorities that servers are trusted for; the system's if none.
    pub cacert: String,
    /// File of the certificate that this program shows.
    pub cert: String,
    /// File of its key.
    pub key: String,
    /// Use TLS also where an endpoint does not say so.
    pub is_protected: bool,
    /// Take any certificate.
    pub skip_verify: bool,
    /// The name that certificates must be for, instead of the endpoint's host.
    pub server_name: String,
    /// `name` or `name:password`.
    pub user: String,
    /// The password; then the user's name is all of `user`.
    pub password: String,
}

/// Without passwords: they must not get onto a screen.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cacert, cert, key, is_protected, skip_verify, server_name, user, .. } = self;
        f.debug_struct("Access")
            .field("cacert", cacert)
            .field("cert", cert)
            .field("key", key)
            .field("is_protected", is_protected)
            .field("skip_verify", skip_verify)
            .field("server_name", server_name)
            .field("user", &user.split(':').next().unwrap_or_default())
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Reads the files, and asks for the password where there is none.
    ///
    /// # Errors
    /// Files that cannot be used, or no password.
    pub fn security(self, ask: impl FnOnce() -> io::Result<String>) -> Result<Security, Failure> {
        let tls = self.tls(alpn())?;
        let server_name = Some(self.server_name.clone()).filter(|name| !name.is_empty());
        Ok(Security { tls, server_name, user: self.into_user(ask)? })
    }

    /// TLS, if an option asks for it, for a protocol above it.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub fn tls(&self, alpn: Vec<Vec<u8>>) -> Result<Option<Tls>, Failure> {
        let file = |name: &str| (!name.is_empty()).then(|| PathBuf::from(name));
        let has_files =
            [&self.cacert, &self.cert, &self.key, &self.server_name].iter().any(|f| !f.is_empty());
        if !has_files && !self.is_protected && !self.skip_verify {
            return Ok(None);
        }
        if self.cert.is_empty() != self.key.is_empty() {
            let text =
                format!("KeyFile and CertFile must both be present[key: {}, cert: {}]", self.key, self.cert);
            return Err(Failure::bad_args(text));
        }
        // As etcdctl: to take any certificate is no reason to use TLS where nothing else asks for it.
        if !has_files && !self.is_protected {
            return Ok(None);
        }
        let settings = Settings {
            client_cert_file: file(&self.cert),
            client_key_file: file(&self.key),
            trusted_ca_file: file(&self.cacert),
            insecure_skip_verify: self.skip_verify,
            alpn,
            ..Settings::default()
        };
        Ok(Some(Tls::new(settings).map_err(|error| Failure::bad_args(error.to_string()))?))
    }

    fn into_user(self, ask: impl FnOnce() -> io::Result<String>) -> Result<Option<User>, Failure> {
        if self.user.is_empty() {
            return Ok(None);
        }
        if !self.password.is_empty() {
            return Ok(Some(User { name: self.user, password: self.password }));
        }
        let (name, password) = match self.user.split_once(':') {
            Some((name, password)) => (name.to_owned(), password.to_owned()),
            None => {
                let password = ask().map_err(|error| Failure::new(Code::Error, error.to_string()))?;
                (self.user, password)
            }
        };
        // Go's client asks for a token only if both are given.
        Ok((!name.is_empty() && !password.is_empty()).then_some(User { name, password }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user: &str, password: &str) -> Option<(String, String)> {
        let access = Access { user: user.into(), password: password.into(), ..Access::default() };
        let security = access.security(|| Ok("typed".to_owned())).expect("valid");
        security.user.map(|user| (user.name, user.password))
    }

    #[test]
    fn users_are_read_as_etcdctl_reads_them() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(user("", "p"), None);
        assert_eq!(user("root:a:b", ""), pair("root", "a:b"));
        assert_eq!(user("root:a", "b"), pair("root:a", "b"));
        assert_eq!(user("root", ""), pair("root", "typed"));
        assert_eq!(user(":", ""), None);
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let access = Access { cert: "x".into(), ..Access::default() };
        let failure = access.security(|| Ok(String::new())).expect_err("has no key");
        assert_eq!(failure, Failure::bad_args("KeyFile and CertFile must both be present[key: , cert: x]"));
    }
}
