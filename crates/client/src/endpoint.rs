//! Where a server listens, as users write it.

use std::str::FromStr;

use crate::Error;

/// `host:port`, `http://host:port`, `https://host:port` or `unix://path`. The host may be a name or an address, an IPv6
/// address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: String,
}

/// What an endpoint says about protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Nothing: TLS where the client is told to use it.
    Unsaid,
    /// Never TLS.
    Http,
    /// Always TLS.
    Https,
    /// A socket in the file system, never TLS.
    Unix,
}

impl Endpoint {
    /// `host:port`, or the path of a socket.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What it says about protection.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host without its port and brackets, for which a certificate must be.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Reads an endpoint of any scheme.
    ///
    /// # Errors
    /// [`Error::BadEndpoint`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::BadEndpoint { endpoint: text.to_owned(), why };
        if text.starts_with("unixs:") {
            return Err(bad("TLS over unix sockets is not supported"));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let authority = path.strip_prefix("//").unwrap_or(path).to_owned();
            return Ok(Self { scheme: Scheme::Unix, authority });
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => (Scheme::Unsaid, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        if port.parse::<u16>().is_err() {
            return Err(bad("its port is not a number below 65536"));
        }
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(['/', ' ', '@']) || (host.contains(':') && !is_bracketed) {
            return Err(bad("it is neither host:port nor a URL of host and port"));
        }
        Ok(Self { scheme, authority: authority.to_owned() })
    }
}

/// Endpoints of plain TCP only, for whoever dials them without a [`crate::Client`].
impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::BadEndpoint { endpoint: text.to_owned(), why };
        let endpoint = Self::parse(text)?;
        match endpoint.scheme {
            Scheme::Unsaid | Scheme::Http => Ok(endpoint),
            Scheme::Https => Err(bad("TLS is not supported")),
            Scheme::Unix => Err(bad("unix sockets are not supported")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_etcdctl_reads() {
        for (text, scheme) in [
            ("127.0.0.1:2379", Scheme::Unsaid),
            ("http://127.0.0.1:2379", Scheme::Http),
            ("https://127.0.0.1:2379/", Scheme::Https),
        ] {
            let endpoint = Endpoint::parse(text).expect("valid");
            assert_eq!((endpoint.authority(), endpoint.scheme()), ("127.0.0.1:2379", scheme));
            assert_eq!(endpoint.host(), "127.0.0.1");
        }
        let v6 = Endpoint::parse("[::1]:1").expect("valid");
        assert_eq!((v6.authority(), v6.host()), ("[::1]:1", "::1"));
        assert_eq!(Endpoint::parse("unix:///run/e.sock").expect("valid").authority(), "/run/e.sock");
        for text in ["", ":1", "a", "a:x", "a:70000", "unixs:///x", "http://a/b:1", "::1:2", "ftp://a:1"] {
            assert!(matches!(Endpoint::parse(text), Err(Error::BadEndpoint { .. })), "{text}");
        }
    }

    #[test]
    fn plain_endpoints_are_told_from_others() {
        assert!("http://a:1".parse::<Endpoint>().is_ok());
        for text in ["https://a:1", "unix:/x:1"] {
            assert!(matches!(text.parse::<Endpoint>(), Err(Error::BadEndpoint { .. })), "{text}");
        }
    }
}
