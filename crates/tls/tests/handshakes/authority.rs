//! An authority that makes certificates into files.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    made: Cell<usize>,
}

/// A certificate to make.
#[derive(Clone)]
pub struct Leaf {
    pub common_name: String,
    pub names: Vec<String>,
    pub ended: bool,
    pub serial: u64,
}

impl Leaf {
    pub fn new(common_name: &str, names: &[&str]) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Self { common_name: common_name.to_owned(), names, ended: false, serial: 1 }
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key), made: Cell::new(0) }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Files of a certificate and its key.
    pub fn leaf(&self, leaf: Leaf) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(leaf.names).unwrap();
        params.distinguished_name = named(&leaf.common_name);
        params.serial_number = Some(SerialNumber::from(leaf.serial));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if leaf.ended {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let cert_file = self.write("cert", certificate.pem().as_bytes());
        (cert_file, self.write("key", key.serialize_pem().as_bytes()))
    }

    /// Files of a certificate that signs itself and says that it is an authority, as `openssl req -x509` makes them, and of
    /// its key.
    pub fn itself(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let mut params =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = named("itself");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let cert_file = self.write("cert", certificate.pem().as_bytes());
        (cert_file, self.write("key", key.serialize_pem().as_bytes()))
    }

    /// A file of a list that revokes these.
    pub fn revoke(&self, serials: &[u64], as_pem: bool) -> PathBuf {
        let now = SystemTime::now();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(3600)).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).unwrap();
        if as_pem { self.write("crl", list.pem().unwrap().as_bytes()) } else { self.write("crl", list.der()) }
    }

    fn write(&self, what: &str, bytes: &[u8]) -> PathBuf {
        self.made.set(self.made.get() + 1);
        let path = self.folder.path().join(format!("{what}-{}", self.made.get()));
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
