//! Certificates, keys and lists in files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::Error;

/// Where systems keep the authorities that they trust. Source: Go's `crypto/x509/root_linux.go`.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Bytes of one file: some hundred thousand revoked certificates. What is larger, or a device that never ends, is refused.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// By what a change of a file is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    /// A file that is renamed into place may have an old time.
    inode: u64,
}

/// The file's stamp; none if it is not there.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified: metadata.modified().ok(), len: metadata.len(), inode: metadata.ino() })
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| match file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)? {
            len if len as u64 > FILE_BYTES_MAX => {
                Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")))
            }
            _ => Ok(bytes),
        });
    read.map_err(|source| Error::Read { what, path: path.to_owned(), source })
}

fn content(what: &'static str, path: &Path, why: impl ToString) -> Error {
    Error::Content { what, path: path.to_owned(), why: why.to_string() }
}

/// All certificates of a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    const WHAT: &str = "certificate";
    let pem = read(WHAT, path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| content(WHAT, path, error))?;
    if certificates.is_empty() {
        return Err(content(WHAT, path, "there is no CERTIFICATE section in it"));
    }
    Ok(certificates)
}

/// The first private key of a PEM file.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    const WHAT: &str = "private key";
    let pem = read(WHAT, path)?;
    // What is wrong with a key is not told from its bytes: they must not reach a log.
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| content(WHAT, path, "there is no readable PRIVATE KEY section in it"))
}

/// Authorities: of the file, else the system's.
pub(crate) fn roots(path: Option<&Path>) -> Result<RootCertStore, Error> {
    const WHAT: &str = "certificate authority";
    let (path, is_system) = match path {
        Some(path) => (path.to_owned(), false),
        None => (system_roots()?, true),
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&path)? {
        // A system's file may hold some that this code does not read; one that was named must be right.
        if let Err(error) = roots.add(certificate)
            && !is_system
        {
            return Err(content(WHAT, &path, error));
        }
    }
    Ok(roots)
}

fn system_roots() -> Result<PathBuf, Error> {
    let found = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        Error::Settings(
            "no trusted CA file is given, and this system has none in the usual places".to_owned(),
        )
    })
}

/// Revocation lists of a file, in PEM or as one in DER.
pub(crate) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    const WHAT: &str = "certificate revocation list";
    let bytes = read(WHAT, path)?;
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| content(WHAT, path, error))?;
    // The verifier reads them and refuses what is none.
    Ok(if lists.is_empty() { vec![CertificateRevocationListDer::from(bytes)] } else { lists })
}
