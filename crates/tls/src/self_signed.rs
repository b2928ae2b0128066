//! Certificates made here, for etcd's `--auto-tls` and `--peer-auto-tls`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use crate::{Error, Identity, files};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Certificate and key in `folder` (`cert.pem` and `key.pem`, as etcd has them), made if they are not there or the
/// certificate has ended. `hosts` are names and addresses; a certificate that is there is kept with the names it has.
///
/// # Errors
/// If the files cannot be written, or a host is no name.
pub fn self_signed(
    folder: &Path,
    hosts: &[String],
    validity_years: u32,
) -> Result<(PathBuf, PathBuf), Error> {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if is_usable(&cert, &key) {
        return Ok((cert, key));
    }
    let failed = |error: rcgen::Error| Error::Settings(format!("cannot make a certificate: {error}"));
    let mut params = CertificateParams::new(hosts).map_err(failed)?;
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + YEAR * validity_years.max(1)).into();
    let pair = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&pair).map_err(failed)?;
    let write_failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(write_failed(folder))?;
    write_private(&key, &pair.serialize_pem()).map_err(write_failed(&key))?;
    write_private(&cert, &certificate.pem()).map_err(write_failed(&cert))?;
    Ok((cert, key))
}

fn is_usable(cert: &Path, key: &Path) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (Ok(certificates), Ok(_)) = (files::certificates(cert), files::key(key)) else { return false };
    let end = certificates.first().and_then(|certificate| Identity::of(certificate).not_after_s);
    end.is_some_and(|end| end > i64::try_from(now).unwrap_or(i64::MAX))
}

/// Complete or not there: a torn key would keep the member from starting.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let scratch = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&scratch)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(scratch, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{Settings, Tls};

    #[test]
    fn a_certificate_is_made_once_and_again_when_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("fixtures/peer");
        let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let (cert, key) = self_signed(&folder, &hosts, 1).unwrap();
        let made = fs::read(&cert).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let identity = Identity::of(&files::certificates(&cert).unwrap()[0]);
        assert_eq!((identity.dns_names.len(), identity.addresses.len()), (1, 1));
        let settings = Settings {
            cert_file: Some(cert.clone()),
            key_file: Some(key.clone()),
            insecure_skip_verify: true,
            ..Settings::default()
        };
        assert!(Tls::new(settings).unwrap().can_listen());

        assert_eq!(self_signed(&folder, &hosts, 1).unwrap(), (cert.clone(), key.clone()));
        assert_eq!(fs::read(&cert).unwrap(), made);

        let mut params = CertificateParams::new(hosts.clone()).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let pair = KeyPair::generate().unwrap();
        fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        self_signed(&folder, &hosts, 1).unwrap();
        assert!(Identity::of(&files::certificates(&cert).unwrap()[0]).not_after_s > Some(1_700_000_000));
    }
}
