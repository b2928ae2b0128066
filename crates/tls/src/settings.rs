//! What the flags say.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::ALL_CIPHER_SUITES;

use crate::Error;

/// How connections are protected; etcd's `TLSInfo`. Default: nothing is set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// This side's certificate, with the chain up to its authority, when it listens; also when it dials, unless
    /// `client_cert_file` is set.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// This side's certificate when it dials.
    pub client_cert_file: Option<PathBuf>,
    /// Its key.
    pub client_key_file: Option<PathBuf>,
    /// Authorities of the other side's certificates; the system's if not set. If set, who connects must show a
    /// certificate.
    pub trusted_ca_file: Option<PathBuf>,
    /// Whether who connects must show a certificate.
    pub client_cert_auth: bool,
    /// Certificates that are not accepted any more of who connects, in PEM or DER.
    pub crl_file: Option<PathBuf>,
    /// If not empty, the common name of who connects must be one of them.
    pub allowed_cn: Vec<String>,
    /// If not empty, the certificate of who connects must be good for one of them.
    pub allowed_hostname: Vec<String>,
    /// Whether the certificate of who connects must be good for the address it connects from, if it names any.
    pub check_client_san: bool,
    /// Accept any certificate of whom this side dials: the other side's is self-signed.
    pub insecure_skip_verify: bool,
    /// Versions and cipher suites.
    pub protocols: Protocols,
    /// Protocols to agree on above TLS, the preferred first (ALPN).
    pub alpn: Vec<Vec<u8>>,
}

/// A version of TLS. Older ones are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2
    V12,
    /// TLS 1.3
    V13,
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "TLS1.2" => Ok(Self::V12),
            "TLS1.3" => Ok(Self::V13),
            _ => Err(Error::Settings(format!(
                "unexpected TLS version {text:?} (must be one of: TLS1.2, TLS1.3)"
            ))),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V12 => "TLS1.2",
            Self::V13 => "TLS1.3",
        })
    }
}

/// Versions and cipher suites that are offered and taken.
#[derive(Clone, Debug)]
pub struct Protocols {
    min: Version,
    max: Version,
    suites: Vec<SupportedCipherSuite>,
}

impl Default for Protocols {
    fn default() -> Self {
        Self { min: Version::V12, max: Version::V13, suites: ALL_CIPHER_SUITES.to_vec() }
    }
}

impl Protocols {
    /// Cipher suites by their names in Go and at IANA; none given is all of them. The suites of TLS 1.3 cannot be
    /// chosen, as in Go.
    ///
    /// # Errors
    /// If a suite is not supported, or the parts do not go together.
    pub fn new(min: Version, max: Option<Version>, suite_names: &[String]) -> Result<Self, Error> {
        let max = max.unwrap_or(Version::V13);
        if min > max {
            return Err(Error::Settings(format!("min version ({min}) is greater than max version ({max})")));
        }
        if min == Version::V13 && !suite_names.is_empty() {
            let why = "cipher suites cannot be configured when only TLS1.3 is enabled";
            return Err(Error::Settings(why.to_owned()));
        }
        let mut suites: Vec<_> = ALL_CIPHER_SUITES.iter().filter(|suite| is_tls13(suite)).copied().collect();
        for name in suite_names {
            match find(name) {
                Some(suite) if suites.contains(&suite) => {}
                Some(suite) => suites.push(suite),
                None if UNAVAILABLE.contains(&name.as_str()) => {}
                None => return Err(unexpected(name)),
            }
        }
        // Of a list with none that is there nothing would be left.
        if let (Some(first), false) =
            (suite_names.first(), suite_names.iter().any(|name| find(name).is_some()))
        {
            return Err(unexpected(first));
        }
        if suite_names.is_empty() {
            suites = ALL_CIPHER_SUITES.to_vec();
        } else if max == Version::V12 && suites.iter().all(is_tls13) {
            let why = "none of the cipher suites can be used with TLS1.2, the only version enabled";
            return Err(Error::Settings(why.to_owned()));
        }
        Ok(Self { min, max, suites })
    }

    pub(crate) fn suites(&self) -> Vec<SupportedCipherSuite> {
        self.suites.clone()
    }

    pub(crate) fn versions(&self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        let all = [(Version::V13, &rustls::version::TLS13), (Version::V12, &rustls::version::TLS12)];
        all.into_iter()
            .filter(|(version, _)| (self.min..=self.max).contains(version))
            .map(|(_, v)| v)
            .collect()
    }
}

fn is_tls13(suite: &SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

/// Go's name: rustls names those of TLS 1.3 differently.
fn name_of(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

/// Suites of Go's that are not there: without forward secrecy, or with CBC. A list that names them beside others is
/// taken, as Go takes it.
const UNAVAILABLE: [&str; 14] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
];

/// Those of `names` that are known and not there.
pub fn unavailable_suites(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str).filter(|name| UNAVAILABLE.contains(name))
}

fn unexpected(name: &str) -> Error {
    let known: Vec<String> = ALL_CIPHER_SUITES.iter().map(name_of).collect();
    Error::Settings(format!("unexpected TLS cipher suite {name:?}; supported are {}", known.join(", ")))
}

fn find(name: &str) -> Option<SupportedCipherSuite> {
    let is_named = |suite: &&SupportedCipherSuite| {
        let known = name_of(suite);
        // Go has the ChaCha20 suites under their former names, too.
        known == name || (known.contains("CHACHA20") && known.strip_suffix("_SHA256") == Some(name))
    };
    ALL_CIPHER_SUITES.iter().find(is_named).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocols(min: Version, max: Option<Version>, suites: &[&str]) -> Result<Protocols, String> {
        let suites: Vec<String> = suites.iter().map(|&suite| suite.to_owned()).collect();
        Protocols::new(min, max, &suites).map_err(|error| error.to_string())
    }

    #[test]
    fn versions_are_etcds() {
        assert_eq!("TLS1.3".parse::<Version>().unwrap(), Version::V13);
        let error = "TLS1.1".parse::<Version>().unwrap_err().to_string();
        assert_eq!(error, "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)");
        let versions = |min, max| protocols(min, max, &[]).unwrap().versions().len();
        assert_eq!((versions(Version::V12, None), versions(Version::V13, None)), (2, 1));
        assert_eq!(versions(Version::V12, Some(Version::V12)), 1);
        assert_eq!(
            protocols(Version::V13, Some(Version::V12), &[]).unwrap_err(),
            "min version (TLS1.3) is greater than max version (TLS1.2)"
        );
    }

    #[test]
    fn suites_are_chosen_by_gos_names() {
        let chosen = protocols(
            Version::V12,
            None,
            &["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"],
        )
        .unwrap();
        assert_eq!(chosen.suites().iter().filter(|suite| !is_tls13(suite)).count(), 2);
        assert_eq!(chosen.suites().iter().filter(|suite| is_tls13(suite)).count(), 3);
        assert!(protocols(Version::V12, None, &["TLS_AES_128_GCM_SHA256"]).is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let error = protocols(Version::V12, None, &["TLS_RSA_WITH_AES_128_CBC_SHA"]).unwrap_err();
        assert!(
            error.contains("TLS_RSA_WITH_AES_128_CBC_SHA") && error.contains("TLS_AES_256_GCM_SHA384"),
            "{error}"
        );
        let secure = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let mixed = ["TLS_RSA_WITH_AES_256_GCM_SHA384", secure].map(str::to_owned);
        let taken = Protocols::new(Version::V12, None, &mixed).unwrap();
        assert_eq!(taken.suites().iter().filter(|suite| !is_tls13(suite)).count(), 1);
        assert_eq!(unavailable_suites(&mixed).collect::<Vec<_>>(), [&mixed[0]]);
        assert!(protocols(Version::V12, None, &["TLS_NULL", secure]).is_err());
        let with_13_only = protocols(Version::V13, None, &["TLS_AES_128_GCM_SHA256"]).unwrap_err();
        assert_eq!(with_13_only, "cipher suites cannot be configured when only TLS1.3 is enabled");
        assert!(protocols(Version::V12, Some(Version::V12), &["TLS_AES_128_GCM_SHA256"]).is_err());
    }
}
