//! Flags that protect connections and users. What is not built is refused, never ignored.

use super::Flag;
use crate::startup::flags::value::Kind;

const NO_TLS: &str = "connections would not be protected as asked; leave it out and put a TLS proxy in front, or \
                      listen on a trusted network only";
const NO_USERS: &str = "users and roles are not built yet in this version";

pub(super) const TLS: &[Flag] = &[
    Flag::refused("cert-file", Kind::Text, "", NO_TLS),
    Flag::refused("key-file", Kind::Text, "", NO_TLS),
    Flag::refused("client-cert-auth", Kind::Bool, "false", NO_TLS),
    Flag::refused("client-cert-file", Kind::Text, "", NO_TLS),
    Flag::refused("client-key-file", Kind::Text, "", NO_TLS),
    Flag::refused("client-crl-file", Kind::Text, "", NO_TLS),
    Flag::refused("client-cert-allowed-hostname", Kind::Text, "", NO_TLS),
    Flag::refused("trusted-ca-file", Kind::Text, "", NO_TLS),
    Flag::refused("auto-tls", Kind::Bool, "false", NO_TLS),
    Flag::refused("peer-cert-file", Kind::Text, "", NO_TLS),
    Flag::refused("peer-key-file", Kind::Text, "", NO_TLS),
    Flag::refused("peer-client-cert-auth", Kind::Bool, "false", NO_TLS),
    Flag::refused("peer-client-cert-file", Kind::Text, "", NO_TLS),
    Flag::refused("peer-client-key-file", Kind::Text, "", NO_TLS),
    Flag::refused("peer-trusted-ca-file", Kind::Text, "", NO_TLS),
    Flag::refused("peer-cert-allowed-cn", Kind::Text, "", NO_TLS),
    Flag::refused("peer-cert-allowed-hostname", Kind::Text, "", NO_TLS),
    Flag::refused("peer-auto-tls", Kind::Bool, "false", NO_TLS),
    Flag::refused("peer-crl-file", Kind::Text, "", NO_TLS),
    Flag::refused("peer-skip-client-san-verification", Kind::Bool, "false", NO_TLS).or_experimental(),
    Flag::no_meaning("self-signed-cert-validity", Kind::NUMBER, "1", "no certificates are made"),
    Flag::refused("cipher-suites", Kind::Text, "", NO_TLS),
    Flag::refused("tls-min-version", Kind::Text, "TLS1.2", NO_TLS),
    Flag::refused("tls-max-version", Kind::Text, "", NO_TLS),
    Flag::used(
        "cors",
        Kind::Text,
        "*",
        "Origins whose scripts may call this member, separated by commas; '*' is any.",
    ),
    Flag::used(
        "host-whitelist",
        Kind::Text,
        "*",
        "Host names that HTTP clients may call this member by without TLS, separated by commas; '*' is any.",
    ),
];

pub(super) const AUTH: &[Flag] = &[
    Flag::refused("auth-token", Kind::Text, "simple", NO_USERS),
    Flag::no_meaning("bcrypt-cost", Kind::NUMBER, "10", NO_USERS),
    Flag::no_meaning("auth-token-ttl", Kind::NUMBER, "300", NO_USERS),
];
