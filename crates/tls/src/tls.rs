//! Handshakes, with what the files hold at the moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error as TlsError, InconsistentKeys, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::files::{self, Stamp};
use crate::leaf::key_of_first_version;
use crate::verify::{Lenient, TakeAny, check_client};
use crate::{Error, HandshakeError, Identity, Settings, Stream};

/// How connections are protected. Cheap to clone, and may be used by many threads.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    /// For listening; none without a certificate to show.
    server: Option<Mutex<Loaded<ServerConfig>>>,
    client: Mutex<Loaded<ClientConfig>>,
}

impl Tls {
    /// Reads all files once, so that what is wrong with them is known at start.
    ///
    /// # Errors
    /// If a file cannot be used, or the settings do not go together.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        check(&settings)?;
        let server = match settings.cert_file {
            Some(_) => Some(Mutex::new(Loaded::new(server_files(&settings), || server_config(&settings))?)),
            None => None,
        };
        let client = Mutex::new(Loaded::new(client_files(&settings), || client_config(&settings))?);
        Ok(Self(Arc::new(Inner { settings, server, client })))
    }

    /// Whether connections can be accepted: there is a certificate to show.
    #[must_use]
    pub fn can_listen(&self) -> bool {
        self.0.server.is_some()
    }

    /// The listener's side of a handshake, with the names of who connected, if a certificate was shown.
    ///
    /// # Errors
    /// If there is no protected connection with somebody who is allowed, within `time_max`.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        time_max: Duration,
    ) -> Result<(Stream, Option<Identity>), HandshakeError> {
        timeout(time_max, self.accept_unhurried(tcp)).await.unwrap_or(Err(HandshakeError::TimedOut))
    }

    async fn accept_unhurried(&self, tcp: TcpStream) -> Result<(Stream, Option<Identity>), HandshakeError> {
        let settings = &self.0.settings;
        let Some(server) = &self.0.server else {
            return Err(HandshakeError::NotAllowed("this side has none".to_owned()));
        };
        let config = server.lock().current(|| server_config(settings));
        let from = tcp.peer_addr()?;
        let stream = TlsAcceptor::from(config).accept(tcp).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let identity = certificate.map(|certificate| Identity::of(certificate));
        check_client(settings, certificate, identity.as_ref().unwrap_or(&Identity::default()), from).await?;
        Ok((Stream::Tls(Box::new(stream.into())), identity))
    }

    /// The dialler's side of a handshake with `host`.
    ///
    /// # Errors
    /// If there is no protected connection with that host.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> Result<Stream, HandshakeError> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| HandshakeError::Host(host.to_owned()))?;
        let stream = TlsConnector::from(self.client_config()).connect(name, tcp).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    /// What to dial with at the moment.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.0.client.lock().current(|| client_config(&self.0.settings))
    }
}

/// What was made of files, and of which.
#[derive(Debug)]
struct Loaded<T> {
    files: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
    config: Arc<T>,
}

impl<T> Loaded<T> {
    fn new(files: Vec<PathBuf>, load: impl FnOnce() -> Result<T, Error>) -> Result<Self, Error> {
        // Before the files are read: a change in between is then seen as one.
        let stamps = stamps(&files);
        Ok(Self { files, stamps, config: Arc::new(load()?) })
    }

    /// Made anew if a file changed. A certificate and its key are two files and change one after the other: what does
    /// not go together is not used, and looked at again when the other has changed, too.
    fn current(&mut self, load: impl FnOnce() -> Result<T, Error>) -> Arc<T> {
        let stamps = stamps(&self.files);
        if stamps != self.stamps {
            self.stamps = stamps;
            match load() {
                Ok(config) => {
                    self.config = Arc::new(config);
                    tracing::info!("certificates were replaced");
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot use the new certificates, keeping the former ones")
                }
            }
        }
        self.config.clone()
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| files::stamp(path)).collect()
}

fn check(settings: &Settings) -> Result<(), Error> {
    let pairs = [
        (&settings.cert_file, &settings.key_file, "certificate"),
        (&settings.client_cert_file, &settings.client_key_file, "client certificate"),
    ];
    for (cert, key, what) in pairs {
        if cert.is_some() != key.is_some() {
            return Err(Error::Settings(format!("{what} and its key must both be given")));
        }
    }
    if !settings.allowed_cn.is_empty() && !settings.allowed_hostname.is_empty() {
        return Err(Error::Settings("allowed CN and allowed hostname are mutually exclusive".to_owned()));
    }
    Ok(())
}

fn present(files: &[&Option<PathBuf>]) -> Vec<PathBuf> {
    files.iter().filter_map(|path| path.as_ref().cloned()).collect()
}

fn server_files(settings: &Settings) -> Vec<PathBuf> {
    present(&[&settings.cert_file, &settings.key_file, &settings.trusted_ca_file, &settings.crl_file])
}

fn client_files(settings: &Settings) -> Vec<PathBuf> {
    let (cert, key) = client_pair(settings);
    present(&[cert, key, &settings.trusted_ca_file])
}

fn client_pair(settings: &Settings) -> (&Option<PathBuf>, &Option<PathBuf>) {
    match settings.client_cert_file {
        Some(_) => (&settings.client_cert_file, &settings.client_key_file),
        None => (&settings.cert_file, &settings.key_file),
    }
}

fn provider(settings: &Settings) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: settings.protocols.suites(), ..ring::default_provider() })
}

fn refused(what: &'static str, path: Option<&Path>) -> impl Fn(String) -> Error {
    let path = path.map(Path::to_owned).unwrap_or_default();
    move |why| Error::Content { what, path: path.clone(), why }
}

/// A certificate to show, which its key must fit. rustls alone would not read one of the first version.
fn shown(keys: &CryptoProvider, cert: &Path, key: &Path) -> Result<Arc<SingleCertAndKey>, Error> {
    let refused = refused("certificate with its key", Some(cert));
    let chain = files::certificates(cert)?;
    let key = keys.key_provider.load_private_key(files::key(key)?);
    let shown = CertifiedKey::new(chain, key.map_err(|error| refused(error.to_string()))?);
    let first_version = shown.end_entity_cert().ok().and_then(|cert| key_of_first_version(cert));
    match shown.keys_match() {
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(_) if first_version.is_some() && first_version == shown.key.public_key() => {}
        Err(error) => return Err(refused(error.to_string())),
    }
    Ok(Arc::new(shown.into()))
}

fn server_config(settings: &Settings) -> Result<ServerConfig, Error> {
    let provider = provider(settings);
    let keys = provider.clone();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&settings.protocols.versions())
        .map_err(|error| Error::Settings(error.to_string()))?;
    // As in etcd, a file of authorities alone is enough to ask for certificates.
    let builder = if settings.trusted_ca_file.is_some() || settings.client_cert_auth {
        let roots = Arc::new(files::roots(settings.trusted_ca_file.as_deref())?);
        let mut verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        if let Some(path) = &settings.crl_file {
            // Of authorities without a list nothing is known, which is no reason to refuse.
            verifier = verifier.with_crls(files::revocation_lists(path)?).allow_unknown_revocation_status();
        }
        let path = settings.crl_file.as_deref().or(settings.trusted_ca_file.as_deref());
        let refused = refused("authority or revocation list", path);
        let inner = verifier.build().map_err(|error| refused(error.to_string()))?;
        builder.with_client_cert_verifier(match settings.crl_file {
            // What it does not take is not looked up in the list either.
            Some(_) => inner,
            None => Arc::new(Lenient { provider, roots, inner }),
        })
    } else {
        builder.with_no_client_auth()
    };
    let (Some(cert), Some(key)) = (&settings.cert_file, &settings.key_file) else {
        return Err(Error::Settings("a certificate and its key are needed to listen".to_owned()));
    };
    let mut config = builder.with_cert_resolver(shown(&keys, cert, key)?);
    config.alpn_protocols.clone_from(&settings.alpn);
    Ok(config)
}

fn client_config(settings: &Settings) -> Result<ClientConfig, Error> {
    let provider = provider(settings);
    let keys = provider.clone();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&settings.protocols.versions())
        .map_err(|error| Error::Settings(error.to_string()))?;
    let builder = if settings.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TakeAny(provider)))
    } else {
        let roots = Arc::new(files::roots(settings.trusted_ca_file.as_deref())?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
        let refused = refused("authority", settings.trusted_ca_file.as_deref());
        let inner: Arc<dyn ServerCertVerifier> =
            verifier.build().map_err(|error| refused(error.to_string()))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { provider, roots, inner }))
    };
    let mut config = match client_pair(settings) {
        (Some(cert), Some(key)) => builder.with_client_cert_resolver(shown(&keys, cert, key)?),
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols.clone_from(&settings.alpn);
    Ok(config)
}
