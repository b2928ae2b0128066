//! Peer URLs: `http://host:port` or `https://host:port`, nothing more.

use std::fmt;
use std::str::FromStr;

/// Where a member listens for its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// A name or an address, IPv6 without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The text is no peer URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUrl(String);

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not of the form http://host:port or https://host:port", self.0)
    }
}

impl std::error::Error for BadUrl {}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        parse(text).ok_or_else(|| BadUrl(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Url> {
    let (tls, rest) = match text.split_once("://")? {
        ("http", rest) => (false, rest),
        ("https", rest) => (true, rest),
        _ => return None,
    };
    let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().ok().map(|_| address)?,
        None if host.is_empty() || host.contains([':', '/', '@', '?', '#']) => return None,
        None => host,
    };
    Some(Url { tls, host: host.to_owned(), port: port.parse().ok()? })
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_read_and_written() {
        for text in ["http://10.0.0.1:2380", "https://node-1.example:2380", "http://[::1]:1"] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
        assert_eq!("http://a:1/".parse::<Url>().unwrap().to_string(), "http://a:1");
    }

    #[test]
    fn what_is_no_peer_url_is_refused() {
        for text in
            ["", "a:1", "ftp://a:1", "http://a", "http://:1", "http://a:x", "http://a:70000", "http://[x]:1"]
        {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
        for text in ["http://a/b:1", "http://u@a:1", "http://::1:1", "http://a:1/x"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }
}
