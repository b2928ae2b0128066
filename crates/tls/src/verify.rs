//! Checks that rustls leaves to its user.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error as TlsError, SignatureScheme};

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
