//! Certificates that webpki does not take of whom shows them, and Go does: those of X.509's first version, which
//! `openssl x509 -req` makes where it is given no extensions, and those that say that they are authorities, as everything does
//! that `openssl req -x509` signs with its own key.
//!
//! Pure. Such a certificate is taken where a trusted authority itself has signed it, or where it is that authority. Its time,
//! what it is for and what it says to be critical are checked as Go checks them; lists of revoked certificates are not
//! read here, so whoever has one must not ask.

use rustls::RootCertStore;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};

use crate::der::{
    BIT_STRING, BOOLEAN, Der, EXTENSIONS, INTEGER, OCTET_STRING, OID, SEQUENCE, VERSION, seconds,
};

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// By who listens.
    Server,
    /// By who connects.
    Client,
}

const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0];

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

/// DER's true.
const TRUE: &[u8] = &[0xff];

/// The parts of a certificate that decide.
#[derive(Debug, Default)]
pub(crate) struct Leaf<'a> {
    /// What the signature is of.
    signed: &'a [u8],
    issuer: &'a [u8],
    not_before_s: i64,
    not_after_s: i64,
    /// Its key, with tag and length.
    key: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    is_first_version: bool,
    is_authority: bool,
    /// None are all.
    purposes: Option<Vec<&'a [u8]>>,
    has_unknown_critical: bool,
}

/// Whether a certificate is of the kinds that are taken here, and good.
pub(crate) fn is_good(
    certificate: &[u8],
    purpose: Purpose,
    roots: &RootCertStore,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> bool {
    let Some(leaf) = Leaf::read(certificate) else { return false };
    let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    (leaf.is_first_version || leaf.is_authority)
        && !leaf.has_unknown_critical
        && (leaf.not_before_s..=leaf.not_after_s).contains(&now_s)
        && leaf.is_for(purpose)
        && roots.roots.iter().any(|root| leaf.is_signed_by(root, algorithms))
}

/// The key of a certificate of the first version, which rustls does not read.
pub(crate) fn key_of_first_version(certificate: &[u8]) -> Option<SubjectPublicKeyInfoDer<'_>> {
    let leaf = Leaf::read(certificate)?;
    leaf.is_first_version.then(|| leaf.key.into())
}

/// Algorithm and bits of the value of a key.
pub(crate) fn key_parts(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut key = Der(key);
    Some((key.expect(SEQUENCE)?, bits(key.expect(BIT_STRING)?)?))
}

/// The bytes of a bit string that is whole bytes.
fn bits(value: &[u8]) -> Option<&[u8]> {
    value.split_first().and_then(|(&unused, bytes)| (unused == 0).then_some(bytes))
}

impl<'a> Leaf<'a> {
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let mut certificate = Der(Der(certificate).expect(SEQUENCE)?);
        let signed = certificate.whole(SEQUENCE)?;
        let algorithm = certificate.expect(SEQUENCE)?;
        let signature = bits(certificate.expect(BIT_STRING)?)?;
        let mut body = Der(Der(signed).expect(SEQUENCE)?);
        let is_first_version = body.optional(VERSION).is_none();
        body.expect(INTEGER)?;
        if body.expect(SEQUENCE)? != algorithm {
            return None;
        }
        let issuer = body.expect(SEQUENCE)?;
        let mut validity = Der(body.expect(SEQUENCE)?);
        let mut time = || validity.next().and_then(|(tag, text)| seconds(tag, text));
        let (not_before_s, not_after_s) = (time()?, time()?);
        body.expect(SEQUENCE)?; // subject
        let key = body.whole(SEQUENCE)?;
        let mut leaf = Self {
            signed,
            issuer,
            not_before_s,
            not_after_s,
            key,
            algorithm,
            signature,
            is_first_version,
            ..Self::default()
        };
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                leaf.read_extensions(Der(content).expect(SEQUENCE)?)?;
            }
        }
        Some(leaf)
    }

    fn read_extensions(&mut self, extensions: &'a [u8]) -> Option<()> {
        let mut extensions = Der(extensions);
        while !extensions.0.is_empty() {
            let mut extension = Der(extensions.expect(SEQUENCE)?);
            let id = extension.expect(OID)?;
            let is_critical = extension.optional(BOOLEAN) == Some(TRUE);
            let value = extension.expect(OCTET_STRING)?;
            match id {
                BASIC_CONSTRAINTS => {
                    self.is_authority = Der(Der(value).expect(SEQUENCE)?).optional(BOOLEAN) == Some(TRUE);
                }
                EXTENDED_KEY_USAGE => {
                    let (mut listed, mut purposes) = (Der(Der(value).expect(SEQUENCE)?), Vec::new());
                    while !listed.0.is_empty() {
                        purposes.push(listed.expect(OID)?);
                    }
                    self.purposes = Some(purposes);
                }
                KEY_USAGE | ALTERNATIVE_NAMES => {}
                _ => self.has_unknown_critical |= is_critical,
            }
        }
        Some(())
    }

    fn is_for(&self, purpose: Purpose) -> bool {
        let wanted = match purpose {
            Purpose::Server => SERVER_AUTH,
            Purpose::Client => CLIENT_AUTH,
        };
        let is_wanted = |purpose: &&[u8]| *purpose == wanted || *purpose == ANY_PURPOSE;
        self.purposes.as_ref().is_none_or(|purposes| purposes.iter().any(is_wanted))
    }

    fn is_signed_by(&self, root: &TrustAnchor<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let Some((key_algorithm, key)) = key_parts(&root.subject_public_key_info) else { return false };
        // An authority for some names only is left to webpki.
        root.subject.as_ref() == self.issuer
            && root.name_constraints.is_none()
            && algorithms.all.iter().any(|algorithm| {
                algorithm.signature_alg_id().as_ref() == self.algorithm
                    && algorithm.public_key_alg_id().as_ref() == key_algorithm
                    && algorithm.verify_signature(key, self.signed, self.signature).is_ok()
            })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    use rustls::crypto::ring::default_provider;

    use super::*;

    const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_900_000_000));

    fn authority(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn good(certificate: &[u8], trusted: &[u8], purpose: Purpose, now: UnixTime) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.to_vec().into()).unwrap();
        let algorithms = default_provider().signature_verification_algorithms;
        is_good(certificate, purpose, &roots, &algorithms, now)
    }

    #[test]
    fn an_authority_that_is_trusted_may_show_itself() {
        let own = authority(|_| {});
        assert!(good(&own, &own, Purpose::Client, NOW) && good(&own, &own, Purpose::Server, NOW));
        assert!(!good(&own, &authority(|_| {}), Purpose::Client, NOW), "of the same name, not the same key");
        assert!(!good(&own, &own, Purpose::Client, UnixTime::since_unix_epoch(Duration::ZERO)));
        let for_clients =
            authority(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        assert!(good(&for_clients, &for_clients, Purpose::Client, NOW));
        assert!(!good(&for_clients, &for_clients, Purpose::Server, NOW));
        let critical = authority(|params| {
            let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            unknown.set_criticality(true);
            params.custom_extensions = vec![unknown];
        });
        assert!(!good(&critical, &critical, Purpose::Client, NOW));
        let ended = authority(|params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
        assert!(!good(&ended, &ended, Purpose::Client, NOW));
        let plain = authority(|params| params.is_ca = IsCa::NoCa);
        assert!(!good(&plain, &plain, Purpose::Client, NOW), "left to webpki");
    }

    proptest! {
        #[test]
        fn no_change_of_a_good_one_is_good(at: prop::sample::Index, with in 1..=255_u8) {
            let own = authority(|_| {});
            let mut changed = own.clone();
            changed[at.index(own.len())] ^= with;
            prop_assert!(!good(&changed, &own, Purpose::Client, NOW));
        }

        #[test]
        fn no_bytes_can_panic(noise: Vec<u8>) {
            prop_assert!(Leaf::read(&noise).is_none() && key_of_first_version(&noise).is_none());
        }
    }
}
