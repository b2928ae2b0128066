//! An authority, and certificates of it in files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Paths, as flags want them.
pub struct Files {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir(folder).expect("a new folder");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", folder.display()));
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        std::fs::write(folder.join("ca.pem"), pem).expect("a file");
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) }
    }

    pub fn file(&self) -> String {
        self.folder.join("ca.pem").display().to_string()
    }

    pub fn certificate(&self, common_name: &str, names: &[&str]) -> Files {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let write = |extension: &str, pem: String| {
            let path = self.folder.join(format!("{common_name}.{extension}"));
            std::fs::write(&path, pem).expect("a file");
            path.display().to_string()
        };
        Files { cert: write("pem", pem), key: write("key", key.serialize_pem()) }
    }
}
