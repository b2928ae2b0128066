//! Certificates, read before anything listens.

use windlass_tls::{Error, Settings, Tls};

use crate::startup::Config;
use crate::startup::config::Side;
use crate::startup::data_folder::FIXTURES_FOLDER;
use crate::startup::flags::{Scheme, Url};

/// What connections are protected with.
#[derive(Clone, Debug, Default)]
pub struct Protected {
    /// Those of clients, if they are.
    pub clients: Option<Tls>,
    /// Those of the other members, both ways, if they are.
    pub peers: Option<Tls>,
}

/// Whether certificates will have to be made.
#[must_use]
pub fn makes_certificates(config: &Config) -> bool {
    [&config.tls.clients, &config.tls.peers].iter().any(|side| side.auto && side.settings.cert_file.is_none())
}

/// Reads all certificates, and makes those that are to be made.
///
/// # Errors
/// If a file cannot be used.
pub fn load(config: &Config) -> Result<Protected, Error> {
    let urls = &config.urls;
    let of_clients = [&urls.listen_client, &urls.listen_client_http, &urls.listen_metrics];
    let members = config.bootstrap.members.values().flatten();
    Ok(Protected {
        clients: side(config, "client", &config.tls.clients, of_clients.into_iter().flatten())?,
        peers: side(config, "peer", &config.tls.peers, urls.listen_peer.iter().chain(members))?,
    })
}

fn side<'a>(
    config: &Config,
    name: &str,
    side: &Side,
    urls: impl Iterator<Item = &'a Url> + Clone,
) -> Result<Option<Tls>, Error> {
    // Certificates for plain addresses are shown to nobody.
    if !urls.clone().any(|url| url.scheme() == Scheme::Https) {
        return Ok(None);
    }
    if side.settings.cert_file.is_some() || !side.auto {
        return Tls::new(side.settings.clone()).map(Some);
    }
    let folder = config.data_dir.join(FIXTURES_FOLDER).join(name);
    let mut hosts: Vec<String> =
        urls.map(|url| url.host().to_owned()).filter(|host| !host.is_empty()).collect();
    hosts.sort();
    hosts.dedup();
    let (cert, key) = windlass_tls::self_signed(&folder, &hosts, side.validity_years)?;
    let settings = Settings {
        cert_file: Some(cert),
        key_file: Some(key),
        insecure_skip_verify: true,
        ..side.settings.clone()
    };
    Tls::new(settings).map(Some)
}
