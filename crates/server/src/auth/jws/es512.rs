//! ES512: ECDSA over P-521 with SHA-512, which `ring` does not have. Source: RFC 7518, section 3.4.

use p521::ecdsa::signature::{Signer as _, Verifier as _};
use p521::ecdsa::{Signature, SigningKey, VerifyingKey};

use super::super::keys::{self, Private};

/// Bytes of a secret number; a shorter one lacks zeros in front.
const SECRET_BYTES: usize = 66;
const ANOTHER_KIND: &str = "it is a key of another kind";

/// A private key.
pub struct Signer(Box<SigningKey>);

/// A public key.
pub struct Verifier(Box<VerifyingKey>);

impl Signer {
    /// # Errors
    /// It is no key of this curve.
    pub fn new(key: Private) -> Result<Self, String> {
        let key = match key {
            Private::Pkcs8(der) => keys::ec_of_pkcs8(&der),
            key => Some(key),
        };
        let Some(Private::Ec { secret, public }) = key else { return Err(ANOTHER_KIND.to_owned()) };
        let Some(zeros) = SECRET_BYTES.checked_sub(secret.len()) else { return Err(ANOTHER_KIND.to_owned()) };
        let padded = [&vec![0; zeros], &secret[..]].concat();
        let pair = SigningKey::from_slice(&padded).map_err(|_| ANOTHER_KIND)?;
        let signer = Self(Box::new(pair));
        if signer.public_key() != public {
            return Err("its two parts do not belong together".to_owned());
        }
        Ok(signer)
    }

    /// The signature, as the two numbers one after the other.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().to_vec()
    }

    /// The point, uncompressed.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.verifying_key().to_sec1_point(false).as_bytes().to_vec()
    }
}

impl Verifier {
    /// Of a point.
    ///
    /// # Errors
    /// It is none of this curve.
    pub fn new(point: &[u8]) -> Result<Self, String> {
        VerifyingKey::from_sec1_bytes(point)
            .map(|key| Self(Box::new(key)))
            .map_err(|_| ANOTHER_KIND.to_owned())
    }

    /// Whether the owner of the key signed this.
    pub fn is_right(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}
