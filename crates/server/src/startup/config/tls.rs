//! How connections are protected.

use std::path::PathBuf;

use windlass_tls::{Protocols, Settings, unavailable_suites};

use super::http::list;
use super::{Urls, refuse};
use crate::startup::flags::{Error, Notice, Scheme, Url, Values};

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
    /// Also what of it is ignored.
    pub(super) fn from_values(values: &Values, urls: &Urls) -> Result<(Self, Vec<Notice>), Error> {
        let mut clients = Side::from_values(values, "", "client-cert-auth", "client-crl-file")?;
        clients.settings.allowed_cn = list(values.text("client-cert-allowed-cn"));
        clients.settings.allowed_hostname = list(values.text("client-cert-allowed-hostname"));
        // A client of gRPC offers HTTP/2 alone. Who offers both, such as curl or Prometheus, wants a page, and pages are
        // served over HTTP/1.1.
        clients.settings.alpn = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        let mut peers = Side::from_values(values, "peer-", "peer-client-cert-auth", "peer-crl-file")?;
        peers.settings.allowed_cn = list(values.text("peer-cert-allowed-cn"));
        peers.settings.allowed_hostname = list(values.text("peer-cert-allowed-hostname"));
        peers.settings.check_client_san = !values.boolean("peer-skip-client-san-verification");
        let of_clients = [&urls.listen_client, &urls.listen_client_http, &urls.listen_metrics];
        for url in of_clients.into_iter().flatten() {
            clients.check_listening(url, "")?;
        }
        urls.listen_peer.iter().try_for_each(|url| peers.check_listening(url, "peer-"))?;
        clients.check_pairs(&urls.listen_client, "")?;
        peers.check_pairs(&urls.listen_peer, "peer-")?;
        let mut ignored = ignored_suites(values);
        ignored.extend(clients.ignored(&urls.listen_client, ""));
        ignored.extend(peers.ignored(&urls.listen_peer, "peer-"));
        Ok((Self { clients, peers }, ignored))
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

    /// A certificate is nothing without its key, where one is shown.
    fn check_pairs(&self, listened: &[Url], prefix: &str) -> Result<(), Error> {
        let settings = &self.settings;
        for (cert, key, name) in [
            (&settings.cert_file, &settings.key_file, ""),
            (&settings.client_cert_file, &settings.client_key_file, "client-"),
        ] {
            if cert.is_some() != key.is_some() && listened.iter().any(|url| url.scheme() == Scheme::Https) {
                return refuse(format!(
                    "--{prefix}{name}cert-file and --{prefix}{name}key-file must both be present"
                ));
            }
        }
        Ok(())
    }

    /// What is not asked of who connects without TLS: a member may serve the machine it runs on so, beside others.
    fn ignored(&self, listened: &[Url], prefix: &str) -> Vec<Notice> {
        let settings = &self.settings;
        let has_rules = settings.client_cert_auth
            || settings.crl_file.is_some()
            || !settings.allowed_cn.is_empty()
            || !settings.allowed_hostname.is_empty();
        let open = listened.iter().filter(|url| url.scheme() == Scheme::Http && has_rules);
        let ignored = |url| Notice::Ignored {
            what: format!(
                "scheme is http while rules for certificates are given (--{prefix}client-cert-auth and the like): \
                 nobody shows one at {url}, so whoever reaches it is let in"
            ),
        };
        open.map(ignored).collect()
    }
}

/// Cipher suites that are known and not there: the others of the list are used.
fn ignored_suites(values: &Values) -> Vec<Notice> {
    let named = list(values.text("cipher-suites"));
    let ignored = |suite| Notice::Ignored {
        what: format!("cipher suite {suite} is not safe enough to be there, and never agreed on"),
    };
    unavailable_suites(&named).map(ignored).collect()
}

fn protocols(values: &Values) -> Result<Protocols, Error> {
    let version = |name: &str| match values.text(name) {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|error: windlass_tls::Error| Error::Configuration(error.to_string())),
    };
    if values.is_set("cipher-suites") && list(values.text("cipher-suites")).is_empty() {
        return refuse("unexpected TLS cipher suite \"\"");
    }
    let min = version("tls-min-version")?.unwrap_or(windlass_tls::Version::V12);
    Protocols::new(min, version("tls-max-version")?, &list(values.text("cipher-suites")))
        .map_err(|error| Error::Configuration(error.to_string()))
}
