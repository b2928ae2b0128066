//! How connections are protected.

use std::path::PathBuf;

use windlass_tls::{Protocols, Settings};

use super::http::list;
use super::{Urls, refuse};
use crate::startup::flags::{Error, Scheme, Url, Values};

/// How both kinds of connections are protected.
#[derive(Clone, Debug)]
pub struct Protection {
    /// Those of clients.
    pub clients: Side,
    /// Those of the other members, both ways.
    pub peers: Side,
}

/// How one kind of connections is protected.
#[derive(Clone, Debug)]
pub struct Side {
    /// Files and rules.
    pub settings: Settings,
    /// Make a certificate that is signed by itself, where no file is given.
    pub auto: bool,
    /// How long such a certificate is good.
    pub validity_years: u32,
}

impl Protection {
    pub(super) fn from_values(values: &Values, urls: &Urls) -> Result<Self, Error> {
        let mut clients = Side::from_values(values, "", "client-cert-auth", "client-crl-file")?;
        clients.settings.allowed_cn = list(values.text("client-cert-allowed-cn"));
        clients.settings.allowed_hostname = list(values.text("client-cert-allowed-hostname"));
        // gRPC, and HTTP/1.1 for those who do not ask for more.
        clients.settings.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut peers = Side::from_values(values, "peer-", "peer-client-cert-auth", "peer-crl-file")?;
        peers.settings.allowed_cn = list(values.text("peer-cert-allowed-cn"));
        peers.settings.allowed_hostname = list(values.text("peer-cert-allowed-hostname"));
        peers.settings.check_client_san = !values.boolean("peer-skip-client-san-verification");
        let of_clients = [&urls.listen_client, &urls.listen_client_http, &urls.listen_metrics];
        for url in of_clients.into_iter().flatten() {
            clients.check_listening(url, "")?;
        }
        urls.listen_peer.iter().try_for_each(|url| peers.check_listening(url, "peer-"))?;
        clients.check_needed(&urls.listen_client, "")?;
        peers.check_needed(&urls.listen_peer, "peer-")?;
        Ok(Self { clients, peers })
    }
}

impl Side {
    fn from_values(values: &Values, prefix: &str, auth: &str, crl: &str) -> Result<Self, Error> {
        let text = |name: &str| values.text(&format!("{prefix}{name}"));
        let file = |name: &str| Some(text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
        let crl = Some(values.text(crl)).filter(|path| !path.is_empty()).map(PathBuf::from);
        let settings = Settings {
            cert_file: file("cert-file"),
            key_file: file("key-file"),
            client_cert_file: file("client-cert-file"),
            client_key_file: file("client-key-file"),
            trusted_ca_file: file("trusted-ca-file"),
            client_cert_auth: values.boolean(auth),
            crl_file: crl,
            protocols: protocols(values)?,
            ..Settings::default()
        };
        for (cert, key, name) in [
            (&settings.cert_file, &settings.key_file, ""),
            (&settings.client_cert_file, &settings.client_key_file, "client-"),
        ] {
            if cert.is_some() != key.is_some() {
                return refuse(format!(
                    "--{prefix}{name}cert-file and --{prefix}{name}key-file must both be present"
                ));
            }
        }
        let auto = values.boolean(&format!("{prefix}auto-tls"));
        let validity_years = u32::try_from(values.number("self-signed-cert-validity")).unwrap_or(u32::MAX);
        Ok(Self { settings, auto, validity_years })
    }

    /// Whether there is a certificate to show.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.settings.cert_file.is_some() || self.auto
    }

    fn check_listening(&self, url: &Url, prefix: &str) -> Result<(), Error> {
        match url.scheme() {
            Scheme::Https if !self.is_on() => refuse(format!(
                "cannot listen on {url} without a certificate: give --{prefix}cert-file and --{prefix}key-file, or \
                 --{prefix}auto-tls"
            )),
            Scheme::Unixs => {
                refuse(format!("TLS on Unix sockets is not supported: give {url} as unix or https"))
            }
            Scheme::Https | Scheme::Http | Scheme::Unix => Ok(()),
        }
    }

    /// Rules for who connects are nothing without TLS: to go on would protect less than was asked for.
    fn check_needed(&self, listened: &[Url], prefix: &str) -> Result<(), Error> {
        let settings = &self.settings;
        let has_rules = settings.client_cert_auth
            || settings.crl_file.is_some()
            || !settings.allowed_cn.is_empty()
            || !settings.allowed_hostname.is_empty();
        let is_open = |url: &&Url| url.scheme() == Scheme::Http;
        match listened.iter().find(is_open) {
            Some(url) if has_rules => refuse(format!(
                "rules for certificates are given (--{prefix}client-cert-auth and the like), but at {url} nobody shows \
                 one: make it an https URL, or leave the rules out"
            )),
            _ => Ok(()),
        }
    }
}

fn protocols(values: &Values) -> Result<Protocols, Error> {
    let version = |name: &str| match values.text(name) {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|error: windlass_tls::Error| Error::Configuration(error.to_string())),
    };
    let min = version("tls-min-version")?.unwrap_or(windlass_tls::Version::V12);
    Protocols::new(min, version("tls-max-version")?, &list(values.text("cipher-suites")))
        .map_err(|error| Error::Configuration(error.to_string()))
}
