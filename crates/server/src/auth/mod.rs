//! Who calls: tokens, names in certificates, passwords. The shell around [`windlass_replica::auth`]: it has the clock, chance,
//! the keys of JWTs and the threads that hash passwords, and decides nothing that the log decides.

mod jws;
mod keys;
mod passwords;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use windlass_replica::auth::{Asker, Auth, Invalid, SimpleTokens, index_of};
use windlass_rpc::{Meta, Protected};
use windlass_types::{LogIndex, RequestError, nanoseconds};

pub use jws::{Claims, Error as JwtError};
pub use passwords::{Done, Passwords, Work};

use crate::startup::config::{AuthOptions, TokenKind};
use jws::Jws;

/// Letters of the part of a simple token that nobody can guess. Source: etcd `simple_token.go`.
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// How many of them.
const PREFIX_LETTERS: usize = 16;

/// JWTs whose signature was found to be right and is not looked at again. At the bound all are forgotten.
const VERIFIED_MAX: usize = 4096;

/// How often tokens whose time is over are looked for.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Who makes a call, as far as is known before it is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// Nobody said.
    #[default]
    Nobody,
    /// This member itself.
    Member,
    /// Whoever has this token.
    Token(Arc<str>),
    /// Whom a certificate names.
    Named(Arc<str>),
}

/// A user who was identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The user's name.
    pub user: Arc<str>,
    /// The revision of users and roles as of which that is so.
    pub revision: u64,
}

impl Known {
    /// As what is carried out is told of it.
    #[must_use]
    pub fn asker(&self) -> Asker<'_> {
        Asker { user: &self.user, revision: self.revision }
    }
}

/// What makes and reads tokens. Shared by all threads of the member.
pub struct Authority {
    tokens: Tokens,
    names_in_certificates: bool,
    clock: Instant,
    random: SystemRandom,
    passwords: Passwords,
}

enum Tokens {
    Simple(Mutex<SimpleTokens>),
    Jwt { jws: Arc<Jws>, verified: Mutex<HashMap<Box<str>, Claims>> },
}

impl Authority {
    /// As the flags say. Reads the files of keys.
    ///
    /// # Errors
    /// If one cannot be used.
    pub fn new(options: &AuthOptions) -> Result<Self, JwtError> {
        let tokens = match &options.tokens {
            TokenKind::Simple => {
                let ttl_ns = nanoseconds(options.token_ttl);
                Tokens::Simple(Mutex::new(SimpleTokens::new(ttl_ns)))
            }
            TokenKind::Jwt(jwt) => Tokens::Jwt { jws: Arc::new(Jws::load(jwt)?), verified: Mutex::default() },
        };
        Ok(Self {
            tokens,
            names_in_certificates: options.names_in_certificates,
            clock: Instant::now(),
            random: SystemRandom::new(),
            passwords: Passwords::new(options.bcrypt_cost),
        })
    }

    /// Where passwords are hashed and compared.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Who makes a call: the token in its headers goes before the certificate of its connection, as in etcd.
    #[must_use]
    pub fn caller(&self, meta: &Meta, certificate: impl FnOnce() -> Option<Protected>) -> Caller {
        if let Some(token) = meta.token.as_deref().or(meta.authorization.as_deref()) {
            return Caller::Token(token.strip_prefix("Bearer ").unwrap_or(token).into());
        }
        if !self.names_in_certificates {
            return Caller::Nobody;
        }
        let name = certificate().and_then(|Protected(identity)| identity?.common_name.clone());
        name.map_or(Caller::Nobody, |name| Caller::Named(name.into()))
    }

    /// Whether certificates name users.
    #[must_use]
    pub fn names_in_certificates(&self) -> bool {
        self.names_in_certificates
    }

    /// The user who makes a call, as of `auth`; `None` for nobody.
    ///
    /// # Errors
    /// [`RequestError::InvalidAuthToken`].
    pub fn identify(&self, caller: &Caller, auth: &Auth) -> Result<Option<Known>, RequestError> {
        let known = |user: Arc<str>| Some(Known { user, revision: auth.revision() });
        match caller {
            Caller::Nobody | Caller::Member => Ok(None),
            Caller::Named(name) => Ok(known(Arc::clone(name))),
            Caller::Token(token) => match &self.tokens {
                Tokens::Simple(tokens) => {
                    let user = tokens.lock().use_token(token, self.now_ns());
                    user.map(known).ok_or(RequestError::InvalidAuthToken)
                }
                Tokens::Jwt { jws, verified } => {
                    let Claims { username, revision, .. } = verify(jws, verified, token)?;
                    Ok(Some(Known { user: username.into(), revision }))
                }
            },
        }
    }

    /// Whether a token may be good although this member does not know it, because it has not applied so much of the log
    /// yet.
    #[must_use]
    pub fn may_come(&self, caller: &Caller, applied: LogIndex) -> bool {
        match (&self.tokens, caller) {
            (Tokens::Simple(_), Caller::Token(token)) => {
                index_of(token).is_some_and(|index| index > applied.0)
            }
            _ => false,
        }
    }

    /// The beginning of a new simple token; `None` if tokens are JWTs.
    #[must_use]
    pub fn token_prefix(&self) -> Option<String> {
        let Tokens::Simple(_) = &self.tokens else { return None };
        let mut prefix = String::with_capacity(PREFIX_LETTERS);
        let mut bytes = [0; 64];
        while prefix.len() < PREFIX_LETTERS {
            self.random.fill(&mut bytes).expect("the kernel has random numbers");
            // What lies above the largest multiple of 52 would make some letters likelier than others.
            let letters =
                bytes.iter().filter(|byte| **byte < 208).map(|byte| LETTERS[usize::from(byte % 52)]);
            prefix.extend(letters.take(PREFIX_LETTERS - prefix.len()).map(char::from));
        }
        Some(prefix)
    }

    /// What signs JWTs; `None` if tokens are simple.
    #[must_use]
    pub fn signer(&self) -> Option<Arc<Jws>> {
        match &self.tokens {
            Tokens::Simple(_) => None,
            Tokens::Jwt { jws, .. } => Some(Arc::clone(jws)),
        }
    }

    /// The log gave a user a token.
    pub fn assigned(&self, token: &str, user: &str) {
        if let Tokens::Simple(tokens) = &self.tokens {
            tokens.lock().assign(token, user, self.now_ns());
        }
    }

    /// The log made tokens invalid.
    pub fn invalidate(&self, invalid: &Invalid) {
        let Tokens::Simple(tokens) = &self.tokens else { return };
        match invalid {
            Invalid::None => {}
            Invalid::Of(user) => tokens.lock().forget(user),
            Invalid::All => tokens.lock().clear(),
        }
    }

    /// Forgets tokens whose time is over.
    pub fn sweep(&self) {
        if let Tokens::Simple(tokens) = &self.tokens {
            tokens.lock().sweep(self.now_ns());
        }
    }

    fn now_ns(&self) -> u64 {
        nanoseconds(self.clock.elapsed())
    }
}

/// Looks at a JWT, or remembers that it did.
fn verify(
    jws: &Jws,
    verified: &Mutex<HashMap<Box<str>, Claims>>,
    token: &str,
) -> Result<Claims, RequestError> {
    let now_s = now_s();
    let known = verified.lock().get(token).cloned();
    let claims = match known {
        Some(claims) => claims,
        None => {
            let claims = jws.verify(token).map_err(|error| {
                tracing::warn!(%error, "a JWT is refused");
                RequestError::InvalidAuthToken
            })?;
            let mut verified = verified.lock();
            if verified.len() >= VERIFIED_MAX {
                verified.clear();
            }
            verified.insert(token.into(), claims.clone());
            claims
        }
    };
    if claims.is_good_at(now_s) { Ok(claims) } else { Err(RequestError::InvalidAuthToken) }
}

/// Seconds since 1970.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
