//! Where a server listens, as users write it.

use std::str::FromStr;

use crate::Error;

/// `host:port` or `http://host:port`. The host may be a name or an address, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
}

impl Endpoint {
    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::BadEndpoint { endpoint: text.to_owned(), why };
        if text.starts_with("https://") || text.starts_with("unixs://") {
            return Err(bad("TLS is not supported"));
        }
        if text.starts_with("unix:") {
            return Err(bad("unix sockets are not supported"));
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        if port.parse::<u16>().is_err() {
            return Err(bad("its port is not a number below 65536"));
        }
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(['/', ' ', '@']) || (host.contains(':') && !is_bracketed) {
            return Err(bad("it is neither host:port nor http://host:port"));
        }
        Ok(Self { authority: authority.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_etcdctl_reads() {
        for text in ["127.0.0.1:2379", "http://127.0.0.1:2379", "http://127.0.0.1:2379/"] {
            assert_eq!(text.parse::<Endpoint>().expect("valid").authority(), "127.0.0.1:2379");
        }
        assert_eq!("[::1]:1".parse::<Endpoint>().expect("valid").authority(), "[::1]:1");
        for text in ["", ":1", "a", "a:x", "a:70000", "https://a:1", "unix:/x:1", "http://a/b:1", "::1:2"] {
            assert!(matches!(text.parse::<Endpoint>(), Err(Error::BadEndpoint { .. })), "{text}");
        }
    }
}
