//! Checks that rustls leaves to its user.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore,
    SignatureScheme,
};

use crate::der::{Der, SEQUENCE};
use crate::leaf::{self, Purpose};
use crate::{HandshakeError, Identity, Settings};

/// Takes any certificate, as etcd does of peers whose certificates are self-signed: against who only listens.
#[derive(Debug)]
pub(crate) struct TakeAny(pub Arc<CryptoProvider>);

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes what webpki takes, and what [`leaf`] does.
#[derive(Debug)]
pub(crate) struct Lenient<V: ?Sized> {
    pub provider: Arc<CryptoProvider>,
    pub roots: Arc<RootCertStore>,
    pub inner: Arc<V>,
}

impl<V: ?Sized> Lenient<V> {
    fn is_good(&self, certificate: &CertificateDer<'_>, purpose: Purpose, now: UnixTime) -> bool {
        leaf::is_good(
            certificate,
            purpose,
            &self.roots,
            &self.provider.signature_verification_algorithms,
            now,
        )
    }

    /// Checks a handshake's signature by the key of a certificate that webpki does not read.
    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let key = leaf::key_of_first_version(certificate).ok_or(CertificateError::BadEncoding)?;
        let parts = Der(&key).expect(SEQUENCE).and_then(leaf::key_parts);
        let (key_algorithm, key) = parts.ok_or(CertificateError::BadEncoding)?;
        let of_scheme = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
        let is_good = of_scheme.flat_map(|(_, algorithms)| *algorithms).any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == key_algorithm
                && algorithm.verify_signature(key, message, signature.signature()).is_ok()
        });
        if is_good {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateError::BadSignature.into())
    }
}

impl ClientCertVerifier for Lenient<dyn ClientCertVerifier> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.inner.verify_client_cert(certificate, intermediates, now).or_else(|error| {
            let is_good = self.is_good(certificate, Purpose::Client, now);
            if is_good { Ok(ClientCertVerified::assertion()) } else { Err(error) }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match leaf::key_of_first_version(certificate) {
            Some(_) => self.verify_signature(message, certificate, signature),
            None => self.inner.verify_tls12_signature(message, certificate, signature),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        match leaf::key_of_first_version(certificate) {
            Some(key) => verify_tls13_signature_with_raw_key(
                message,
                &key,
                signature,
                &self.provider.signature_verification_algorithms,
            ),
            None => self.inner.verify_tls13_signature(message, certificate, signature),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Certificates of the first version name no hosts, so none of who listens is ever taken.
impl ServerCertVerifier for Lenient<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.inner.verify_server_cert(certificate, intermediates, name, ocsp_response, now).or_else(|error| {
            if !self.is_good(certificate, Purpose::Server, now) {
                return Err(error);
            }
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            Ok(ServerCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether who connected may, by the names in its certificate, which is verified already.
pub(crate) async fn check_client(
    settings: &Settings,
    certificate: Option<&CertificateDer<'_>>,
    identity: &Identity,
    from: SocketAddr,
) -> Result<(), HandshakeError> {
    let refuse = |why: String| Err(HandshakeError::NotAllowed(why));
    let Some(certificate) = certificate else {
        return match settings.allowed_cn.is_empty() && settings.allowed_hostname.is_empty() {
            true => Ok(()),
            false => refuse("there is none, and only some names are allowed".to_owned()),
        };
    };
    let common_name = identity.common_name.as_deref().unwrap_or_default();
    if !settings.allowed_cn.is_empty() && !settings.allowed_cn.iter().any(|allowed| allowed == common_name) {
        return refuse(format!("its common name is {common_name:?}"));
    }
    if !settings.allowed_hostname.is_empty() && !is_for_any(certificate, &settings.allowed_hostname) {
        return refuse(format!("it is for {:?} and {:?}", identity.dns_names, identity.addresses));
    }
    if settings.check_client_san && !is_from(identity, from.ip()).await {
        let names = format!("{:?} and {:?}", identity.dns_names, identity.addresses);
        return refuse(format!("it is for {names}, and none of them is {}", from.ip()));
    }
    Ok(())
}

fn is_for_any(certificate: &CertificateDer<'_>, hosts: &[String]) -> bool {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
    let is_for = |host: &String| {
        ServerName::try_from(host.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    };
    hosts.iter().any(is_for)
}

/// Whether the certificate is for this address: names none, has it, or has a name of it. A name with a wildcard would
/// need the names of an address, which is not asked for.
async fn is_from(identity: &Identity, address: IpAddr) -> bool {
    if identity.addresses.is_empty() && identity.dns_names.is_empty() {
        return true;
    }
    let address = address.to_canonical();
    if identity.addresses.iter().any(|known| known.to_canonical() == address) {
        return true;
    }
    for name in identity.dns_names.iter().filter(|name| !name.starts_with("*.")) {
        if let Ok(mut found) = tokio::net::lookup_host((name.as_str(), 0)).await
            && found.any(|found| found.ip().to_canonical() == address)
        {
            return true;
        }
    }
    false
}
