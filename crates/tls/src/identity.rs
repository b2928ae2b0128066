//! Whom a certificate names. Reads just that from a certificate that was verified already.
//!
//! It may be given any bytes and must not panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::der::{Der, EXTENSIONS, INTEGER, OCTET_STRING, OID, SEQUENCE, VERSION, seconds};

/// The names in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The subject's common name; etcd takes it for the user's name.
    pub common_name: Option<String>,
    /// Alternative names that are DNS names.
    pub dns_names: Vec<String>,
    /// Alternative names that are addresses.
    pub addresses: Vec<IpAddr>,
    /// When it ends, in seconds since 1970.
    pub not_after_s: Option<i64>,
}

const BMP_STRING: u8 = 0x1e;
const SET: u8 = 0x31;
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;
const COMMON_NAME_OID: &[u8] = &[0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES_OID: &[u8] = &[0x55, 0x1d, 0x11];

impl Identity {
    /// Reads a certificate in DER. What cannot be read is not there.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let mut identity = Self::default();
        // Up to where it can be read: an unreadable rest leaves names out, so it can only refuse, never allow.
        let _ = identity.read(certificate);
        identity
    }

    fn read(&mut self, certificate: &[u8]) -> Option<()> {
        let mut certificate = Der(Der(certificate).expect(SEQUENCE)?);
        let mut body = Der(certificate.expect(SEQUENCE)?);
        body.optional(VERSION);
        body.expect(INTEGER)?;
        body.expect(SEQUENCE)?; // signature algorithm
        body.expect(SEQUENCE)?; // issuer
        let mut validity = Der(body.expect(SEQUENCE)?);
        validity.next()?;
        self.not_after_s = validity.next().and_then(|(tag, text)| seconds(tag, text));
        self.read_subject(body.expect(SEQUENCE)?);
        body.expect(SEQUENCE)?; // key
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                self.read_extensions(Der(content).expect(SEQUENCE)?);
            }
        }
        Some(())
    }

    /// The last common name counts, as in Go.
    fn read_subject(&mut self, subject: &[u8]) {
        let mut sets = Der(subject);
        while let Some(set) = sets.expect(SET) {
            let mut attributes = Der(set);
            while let Some(attribute) = attributes.expect(SEQUENCE) {
                let mut attribute = Der(attribute);
                if attribute.expect(OID) == Some(COMMON_NAME_OID)
                    && let Some((tag, value)) = attribute.next()
                {
                    self.common_name = text(tag, value);
                }
            }
        }
    }

    fn read_extensions(&mut self, extensions: &[u8]) {
        let mut extensions = Der(extensions);
        while let Some(extension) = extensions.expect(SEQUENCE) {
            let mut extension = Der(extension);
            if extension.expect(OID) != Some(ALTERNATIVE_NAMES_OID) {
                continue;
            }
            while let Some((tag, value)) = extension.next() {
                if tag == OCTET_STRING
                    && let Some(names) = Der(value).expect(SEQUENCE)
                {
                    self.read_names(names);
                }
            }
        }
    }

    fn read_names(&mut self, names: &[u8]) {
        let mut names = Der(names);
        while let Some((tag, value)) = names.next() {
            match tag {
                DNS_NAME => self.dns_names.extend(std::str::from_utf8(value).ok().map(str::to_owned)),
                ADDRESS => self.addresses.extend(address(value)),
                _ => {}
            }
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

fn text(tag: u8, value: &[u8]) -> Option<String> {
    if tag != BMP_STRING {
        return String::from_utf8(value.to_vec()).ok();
    }
    let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(common_name: Option<&str>, names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "org");
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.not_after = rcgen::date_time_ymd(2031, 3, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_the_end_are_read() {
        let identity =
            Identity::of(&certificate(Some("root"), &["node.example", "10.0.0.7", "::1", "*.x.y"]));
        assert_eq!(identity.common_name.as_deref(), Some("root"));
        assert_eq!(identity.dns_names, ["node.example", "*.x.y"]);
        assert_eq!(identity.addresses, ["10.0.0.7".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(identity.not_after_s, Some(1_930_089_600));
        let nameless = Identity::of(&certificate(None, &[]));
        assert_eq!((nameless.common_name, nameless.dns_names.len()), (None, 0));
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic(noise: Vec<u8>) {
            let _ = Identity::of(&noise);
        }

        #[test]
        fn no_damage_can_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut der = certificate(Some("root"), &["node.example", "10.0.0.7"]);
            for (at, with) in changes {
                let at = at.index(der.len());
                der[at] = with;
            }
            let _ = Identity::of(&der);
        }
    }
}
