//! What the flags say of tokens and passwords.

use std::path::PathBuf;
use std::time::Duration;

use super::refuse;
use crate::startup::flags::{Error, Values, parse_duration};

/// How tokens are made, and passwords hashed.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// What tokens are.
    pub tokens: TokenKind,
    /// How long a simple token is good after its last use.
    pub token_ttl: Duration,
    /// The cost of bcrypt.
    pub bcrypt_cost: u32,
    /// Whether the names in clients' certificates, which were verified, are names of users.
    pub names_in_certificates: bool,
}

/// What tokens are.
#[derive(Clone, Debug)]
pub enum TokenKind {
    /// Random names that the log assigns.
    Simple,
    /// JSON web tokens.
    Jwt(JwtOptions),
}

/// How JWTs are signed.
#[derive(Clone, Debug)]
pub struct JwtOptions {
    /// The method, by its name in RFC 7518.
    pub method: String,
    /// The file of the key that verifies.
    pub public_key: Option<PathBuf>,
    /// The file of the key that signs, or of the secret.
    pub private_key: Option<PathBuf>,
    /// How long a token is good.
    pub ttl: Duration,
}

/// bcrypt's costs. Source: etcd takes its default for any other.
const COSTS: std::ops::RangeInclusive<u64> = 4..=31;
const COST_DEFAULT: u32 = 10;

/// etcd's, where a time of zero is given or none.
const SIMPLE_TTL_DEFAULT: Duration = Duration::from_secs(300);
const JWT_TTL_DEFAULT: Duration = Duration::from_secs(5 * 60);

impl AuthOptions {
    pub(super) fn from_values(values: &Values) -> Result<Self, Error> {
        let cost = values.number("bcrypt-cost");
        let token_ttl = Duration::from_secs(values.number("auth-token-ttl"));
        Ok(Self {
            tokens: TokenKind::parse(values.text("auth-token"))?,
            token_ttl: if token_ttl.is_zero() { SIMPLE_TTL_DEFAULT } else { token_ttl },
            bcrypt_cost: u32::try_from(cost).ok().filter(|_| COSTS.contains(&cost)).unwrap_or(COST_DEFAULT),
            names_in_certificates: values.boolean("client-cert-auth"),
        })
    }
}

impl TokenKind {
    /// Source: etcd `server/auth/store.go` `decomposeOpts`.
    fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let mut options = Vec::new();
        for part in parts {
            match part.split_once('=') {
                Some((name, value)) if !value.contains('=') && options.iter().all(|(n, _)| *n != name) => {
                    options.push((name, value));
                }
                _ => {
                    return refuse(format!(
                        "--auth-token: {part:?} is no option, or one that is there twice"
                    ));
                }
            }
        }
        match kind {
            "simple" => Ok(Self::Simple),
            "jwt" => JwtOptions::parse(&options).map(Self::Jwt),
            _ => refuse(format!("--auth-token: {kind:?} is no kind of token: use simple or jwt")),
        }
    }
}

impl JwtOptions {
    fn parse(options: &[(&str, &str)]) -> Result<Self, Error> {
        let value = |name: &str| {
            let found = options.iter().find(|(n, value)| *n == name && !value.is_empty());
            found.map(|(_, value)| *value)
        };
        let Some(method) = value("sign-method") else {
            return refuse("--auth-token=jwt needs sign-method=METHOD, such as RS256");
        };
        let ttl = match value("ttl").map(parse_duration).transpose() {
            Ok(ttl) => ttl.unwrap_or(JWT_TTL_DEFAULT),
            Err(why) => return refuse(format!("--auth-token: ttl: {why}")),
        };
        Ok(Self {
            method: method.to_owned(),
            public_key: value("pub-key").map(PathBuf::from),
            private_key: value("priv-key").map(PathBuf::from),
            ttl,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_tokens_are_read() {
        assert!(matches!(TokenKind::parse("simple"), Ok(TokenKind::Simple)));
        let text = "jwt,pub-key=a.pub,priv-key=a.key,sign-method=RS256,ttl=10m";
        let Ok(TokenKind::Jwt(jwt)) = TokenKind::parse(text) else { panic!("it is one") };
        assert_eq!((jwt.method.as_str(), jwt.ttl), ("RS256", Duration::from_secs(600)));
        assert_eq!(jwt.public_key, Some(PathBuf::from("a.pub")));
        assert_eq!(jwt.private_key, Some(PathBuf::from("a.key")));
        let Ok(TokenKind::Jwt(jwt)) = TokenKind::parse("jwt,sign-method=HS256") else { panic!("it is one") };
        assert_eq!((jwt.ttl, jwt.public_key, jwt.private_key), (JWT_TTL_DEFAULT, None, None));
        for wrong in [
            "",
            "other",
            "jwt",
            "jwt,ttl=1m",
            "jwt,sign-method=RS256,ttl=x",
            "jwt,a",
            "jwt,a=1,a=2",
            "jwt,a=b=c",
        ] {
            assert!(TokenKind::parse(wrong).is_err(), "{wrong}");
        }
    }
}
