//! JWTs as etcd's: signed by one method, with the user's name and the revision of users and roles. Source: RFC 7515, 7519;
//! etcd `server/auth/jwt.go`.
//!
//! The method is the configured one and no other, whatever a token says of itself: that is what confusions of methods are
//! made of.

mod es512;

use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{hmac, signature as sig};
use serde_json::{Value, json};

use super::keys::{self, Private};
use crate::startup::config::JwtOptions;
use crate::startup::named_file;

/// Bytes of a key file, a hundred times an RSA key of 8192 bits. A larger one, or a device that never ends, is refused.
const KEY_FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a key, a method or a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of a key.
    #[error("the key file {} of --auth-token cannot be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it.
    #[error("the key file {} of --auth-token cannot be used for {method}: {why}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// For what.
        method: &'static str,
        /// Why.
        why: String,
    },
    /// There is no key for the method.
    #[error("--auth-token names no key for sign-method={0}: give priv-key, or pub-key to verify alone")]
    Missing(&'static str),
    /// The two keys are not a pair.
    #[error("the pub-key and the priv-key of --auth-token do not match")]
    Mismatch,
    /// The method.
    #[error("--auth-token: unknown or unsupported sign-method {0:?}: use one of {1}")]
    Method(String, String),
    /// Nobody here can sign.
    #[error("auth: token signing attempted with verify-only key")]
    VerifyOnly,
    /// A token.
    #[error("{0}")]
    Token(&'static str),
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user.
    pub username: String,
    /// The revision of users and roles when it was made.
    pub revision: u64,
    /// When it ends, in seconds since 1970.
    pub expires_s: Option<u64>,
    /// When it begins.
    pub not_before_s: Option<u64>,
}

impl Claims {
    /// Whether it is good at this time.
    #[must_use]
    pub fn is_good_at(&self, now_s: u64) -> bool {
        self.expires_s.is_none_or(|end| now_s < end) && self.not_before_s.is_none_or(|begin| now_s >= begin)
    }
}

/// Signs and verifies.
pub struct Jws {
    method: &'static Method,
    verify: Verify,
    sign: Option<Sign>,
    ttl_s: u64,
}

enum Verify {
    Mac(hmac::Key),
    P521(es512::Verifier),
    Key(UnparsedPublicKey<Vec<u8>>),
}

enum Sign {
    Mac(hmac::Key),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    P521(es512::Signer),
    Ed(Ed25519KeyPair),
}

/// A method of signing, by its name in RFC 7518.
struct Method {
    name: &'static str,
    algorithm: Algorithm,
}

enum Algorithm {
    Mac(&'static hmac::Algorithm),
    Rsa(&'static dyn RsaEncoding, &'static dyn VerificationAlgorithm),
    Ec(&'static EcdsaSigningAlgorithm, &'static dyn VerificationAlgorithm),
    P521,
    Ed,
}

static METHODS: [Method; 13] = {
    use Algorithm::{Ec, Ed, Mac, P521, Rsa};
    const fn method(name: &'static str, algorithm: Algorithm) -> Method {
        Method { name, algorithm }
    }
    [
        method("HS256", Mac(&hmac::HMAC_SHA256)),
        method("HS384", Mac(&hmac::HMAC_SHA384)),
        method("HS512", Mac(&hmac::HMAC_SHA512)),
        method("RS256", Rsa(&sig::RSA_PKCS1_SHA256, &sig::RSA_PKCS1_2048_8192_SHA256)),
        method("RS384", Rsa(&sig::RSA_PKCS1_SHA384, &sig::RSA_PKCS1_2048_8192_SHA384)),
        method("RS512", Rsa(&sig::RSA_PKCS1_SHA512, &sig::RSA_PKCS1_2048_8192_SHA512)),
        method("PS256", Rsa(&sig::RSA_PSS_SHA256, &sig::RSA_PSS_2048_8192_SHA256)),
        method("PS384", Rsa(&sig::RSA_PSS_SHA384, &sig::RSA_PSS_2048_8192_SHA384)),
        method("PS512", Rsa(&sig::RSA_PSS_SHA512, &sig::RSA_PSS_2048_8192_SHA512)),
        method("ES256", Ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, &sig::ECDSA_P256_SHA256_FIXED)),
        method("ES384", Ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING, &sig::ECDSA_P384_SHA384_FIXED)),
        method("ES512", P521),
        method("EdDSA", Ed),
    ]
};

impl Jws {
    /// Reads the keys that the options name.
    ///
    /// # Errors
    /// If they cannot be used for the method.
    pub fn load(options: &JwtOptions) -> Result<Self, Error> {
        let method = METHODS.iter().find(|method| method.name == options.method).ok_or_else(|| {
            let known: Vec<_> = METHODS.iter().map(|method| method.name).collect();
            Error::Method(options.method.clone(), known.join(", "))
        })?;
        let read = |path: &PathBuf| match named_file::bytes(path, KEY_FILE_BYTES_MAX) {
            Ok(bytes) => Ok((path.clone(), bytes)),
            Err(source) => Err(Error::File { path: path.clone(), source }),
        };
        let private = options.private_key.as_ref().map(read).transpose()?;
        let public = options.public_key.as_ref().map(read).transpose()?;
        let ttl_s = options.ttl.as_secs();
        if let Algorithm::Mac(algorithm) = method.algorithm {
            let (_, secret) =
                private.filter(|(_, secret)| !secret.is_empty()).ok_or(Error::Missing(method.name))?;
            let key = hmac::Key::new(*algorithm, &secret);
            return Ok(Self { method, verify: Verify::Mac(key.clone()), sign: Some(Sign::Mac(key)), ttl_s });
        }
        let fault = |path: &PathBuf, why: String| Error::Key { path: path.clone(), method: method.name, why };
        let sign =
            private.map(|(path, pem)| method.signer(&pem).map_err(|why| fault(&path, why))).transpose()?;
        let public =
            public.map(|(path, pem)| keys::public(&pem).map_err(|why| fault(&path, why))).transpose()?;
        let own = sign.as_ref().map(Sign::public_key);
        if let (Some(own), Some(public)) = (&own, &public)
            && own != public
        {
            return Err(Error::Mismatch);
        }
        let key = own.or(public).ok_or(Error::Missing(method.name))?;
        let of_key = options.public_key.as_ref().or(options.private_key.as_ref());
        let verify = method.verifier(key).map_err(|why| fault(of_key.expect("one was read"), why))?;
        Ok(Self { method, verify, sign, ttl_s })
    }

    /// A token for a user.
    ///
    /// # Errors
    /// [`Error::VerifyOnly`] without a private key.
    pub fn sign(&self, username: &str, revision: u64, now_s: u64) -> Result<String, Error> {
        let sign = self.sign.as_ref().ok_or(Error::VerifyOnly)?;
        let header = json!({ "alg": self.method.name, "typ": "JWT" });
        let claims = json!({ "exp": now_s + self.ttl_s, "revision": revision, "username": username });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = sign.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token says, if this method and key signed it. Whether its time is over is not looked at.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Claims, Error> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Token("it has no signature"))?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Token("it has no claims"))?;
        let read = |part: &str| -> Option<Value> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        let header = read(header).ok_or(Error::Token("its header cannot be read"))?;
        if header["alg"].as_str() != Some(self.method.name) {
            return Err(Error::Token("it is signed by another method"));
        }
        let signature =
            URL_SAFE_NO_PAD.decode(signature).map_err(|_| Error::Token("its signature cannot be read"))?;
        if !self.verify.is_right(signed.as_bytes(), &signature) {
            return Err(Error::Token("its signature is wrong"));
        }
        let claims = read(claims).ok_or(Error::Token("its claims cannot be read"))?;
        let seconds = |name: &str| match &claims[name] {
            Value::Null => Ok(None),
            time => number(time).map(Some).ok_or(Error::Token("a time in it is no number")),
        };
        Ok(Claims {
            username: claims["username"].as_str().ok_or(Error::Token("it names no user"))?.to_owned(),
            revision: number(&claims["revision"]).ok_or(Error::Token("it has no revision"))?,
            expires_s: seconds("exp")?,
            not_before_s: seconds("nbf")?,
        })
    }
}

/// A whole number, however it is written.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
}

impl Method {
    fn verifier(&self, key: Vec<u8>) -> Result<Verify, String> {
        let verification: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Mac(_) => unreachable!("a secret has no public part"),
            Algorithm::Rsa(_, verification) | Algorithm::Ec(_, verification) => verification,
            Algorithm::P521 => return es512::Verifier::new(&key).map(Verify::P521),
            Algorithm::Ed => &signature::ED25519,
        };
        Ok(Verify::Key(UnparsedPublicKey::new(verification, key)))
    }

    fn signer(&self, pem: &[u8]) -> Result<Sign, String> {
        let said = |error: ring::error::KeyRejected| error.to_string();
        let another = || Err("it is a key of another kind".to_owned());
        match (&self.algorithm, keys::private(pem)?) {
            (Algorithm::Rsa(encoding, _), Private::Rsa(der)) => {
                RsaKeyPair::from_der(&der).map(|pair| Sign::Rsa(Box::new(pair), *encoding)).map_err(said)
            }
            (Algorithm::Rsa(encoding, _), Private::Pkcs8(der)) => {
                RsaKeyPair::from_pkcs8(&der).map(|pair| Sign::Rsa(Box::new(pair), *encoding)).map_err(said)
            }
            (Algorithm::Ec(algorithm, _), Private::Ec { secret, public }) => {
                let random = SystemRandom::new();
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &secret, &public, &random)
                    .map(Sign::Ec)
                    .map_err(said)
            }
            (Algorithm::Ec(algorithm, _), Private::Pkcs8(der)) => {
                EcdsaKeyPair::from_pkcs8(algorithm, &der, &SystemRandom::new()).map(Sign::Ec).map_err(said)
            }
            (Algorithm::P521, key) => es512::Signer::new(key).map(Sign::P521),
            (Algorithm::Ed, Private::Pkcs8(der)) => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Sign::Ed).map_err(said)
            }
            _ => another(),
        }
    }
}

impl Sign {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        const RANDOM: &str = "the kernel has random numbers";
        match self {
            Self::Mac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).expect(RANDOM);
                signature
            }
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).expect(RANDOM).as_ref().to_vec(),
            Self::P521(pair) => pair.sign(message),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn public_key(&self) -> Vec<u8> {
        match self {
            Self::Mac(_) => unreachable!("a secret has no public part"),
            Self::Rsa(pair, _) => pair.public_key().as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Self::P521(pair) => pair.public_key(),
            Self::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

impl Verify {
    fn is_right(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Mac(key) => hmac::verify(key, message, signature).is_ok(),
            Self::P521(key) => key.is_right(message, signature),
            Self::Key(key) => key.verify(message, signature).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
