//! Keys in PEM: the forms in which openssl writes them. Reads just the parts that `ring` wants; it may be given any bytes and
//! must not panic.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const FIRST: u8 = 0xa0;
const SECOND: u8 = 0xa1;

/// A private key.
#[derive(Debug, PartialEq, Eq)]
pub enum Private {
    /// PKCS#8, of any kind.
    Pkcs8(Vec<u8>),
    /// PKCS#1.
    Rsa(Vec<u8>),
    /// From SEC1: the secret number and the point that belongs to it.
    Ec {
        /// The number.
        secret: Vec<u8>,
        /// The point, uncompressed.
        public: Vec<u8>,
    },
}

/// Reads a private key.
///
/// # Errors
/// What is wrong with it.
pub fn private(pem: &[u8]) -> Result<Private, String> {
    for (label, der) in sections(pem) {
        match label.as_str() {
            "PRIVATE KEY" => return Ok(Private::Pkcs8(der)),
            "RSA PRIVATE KEY" => return Ok(Private::Rsa(der)),
            "EC PRIVATE KEY" => return sec1(&der).ok_or_else(|| "it has no public part".to_owned()),
            // `openssl ecparam -genkey` puts the parameters in front.
            _ => {}
        }
    }
    Err("there is no private key in it, or one with a passphrase".to_owned())
}

/// Reads a public key, or that of a certificate: for RSA the two numbers, for curves the point.
///
/// # Errors
/// What is wrong with it.
pub fn public(pem: &[u8]) -> Result<Vec<u8>, String> {
    for (label, der) in sections(pem) {
        let key = match label.as_str() {
            "PUBLIC KEY" => spki(&der),
            "RSA PUBLIC KEY" => Some(der),
            "CERTIFICATE" => certificate(&der),
            _ => continue,
        };
        return key.ok_or_else(|| "it cannot be read".to_owned());
    }
    Err("there is no public key in it".to_owned())
}

/// The sections of a PEM file, with their labels; those that cannot be read are left out.
fn sections(pem: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = String::from_utf8_lossy(pem);
    let mut sections = Vec::new();
    let mut rest = &*text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = begun.split_once("-----") else { break };
        let Some((body, after)) = body.split_once(&format!("-----END {label}-----")) else { break };
        let digits: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if let Ok(der) = STANDARD.decode(digits) {
            sections.push((label.to_owned(), der));
        }
        rest = after;
    }
    sections
}

/// The key of a curve that is in a PKCS#8.
pub fn ec_of_pkcs8(der: &[u8]) -> Option<Private> {
    let mut info = Der(Der(der).expect(SEQUENCE)?);
    info.expect(INTEGER)?; // version
    info.expect(SEQUENCE)?; // algorithm
    sec1(info.expect(OCTET_STRING)?)
}

fn sec1(der: &[u8]) -> Option<Private> {
    let mut key = Der(Der(der).expect(SEQUENCE)?);
    key.expect(INTEGER)?;
    let secret = key.expect(OCTET_STRING)?.to_vec();
    let mut public = None;
    while let Some((tag, content)) = key.next() {
        if tag == SECOND {
            public = bits(Der(content).expect(BIT_STRING)?);
        }
    }
    Some(Private::Ec { secret, public: public? })
}

fn spki(der: &[u8]) -> Option<Vec<u8>> {
    let mut info = Der(Der(der).expect(SEQUENCE)?);
    info.expect(SEQUENCE)?; // algorithm
    bits(info.expect(BIT_STRING)?)
}

fn certificate(der: &[u8]) -> Option<Vec<u8>> {
    let mut certificate = Der(Der(der).expect(SEQUENCE)?);
    let mut body = Der(certificate.expect(SEQUENCE)?);
    if body.0.first() == Some(&FIRST) {
        body.next()?; // version
    }
    body.expect(INTEGER)?;
    for _ in 0..4 {
        body.expect(SEQUENCE)?; // signature algorithm, issuer, validity, subject
    }
    let mut info = Der(body.expect(SEQUENCE)?);
    info.expect(SEQUENCE)?; // algorithm
    bits(info.expect(BIT_STRING)?)
}

/// The bytes of a bit string that is whole bytes.
fn bits(content: &[u8]) -> Option<Vec<u8>> {
    match content.split_first() {
        Some((0, bytes)) => Some(bytes.to_vec()),
        _ => None,
    }
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (digits.iter().fold(0_usize, |len, digit| len << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_can_panic(der: Vec<u8>, label in 0_usize..6) {
            let label = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "PUBLIC KEY", "CERTIFICATE", "X"][label];
            let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
            let _ = private(pem.as_bytes());
            let _ = public(pem.as_bytes());
        }

        #[test]
        fn no_pkcs8_can_panic(der: Vec<u8>) {
            let _ = ec_of_pkcs8(&der);
        }

        #[test]
        fn no_text_can_panic(text: String) {
            let _ = private(format!("-----BEGIN {text}").as_bytes());
            let _ = public(format!("-----BEGIN {text}").as_bytes());
        }
    }
}
