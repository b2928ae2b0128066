//! Flags that protect connections and users. What is not built is refused, never ignored.

use super::Flag;
use crate::startup::flags::value::Kind;

pub(super) const TLS: &[Flag] = &[
    Flag::used(
        "cert-file",
        Kind::Text,
        "",
        "Certificate to show to clients, in PEM, with the chain up to its authority; read again when it changes.",
    ),
    Flag::used("key-file", Kind::Text, "", "Key of --cert-file."),
    Flag::used(
        "client-cert-auth",
        Kind::Bool,
        "false",
        "Take only clients that show a certificate of --trusted-ca-file, or of the authorities that the system trusts.",
    ),
    Flag::used(
        "client-cert-file",
        Kind::Text,
        "",
        "Certificate to show to other servers in place of --cert-file.",
    ),
    Flag::used("client-key-file", Kind::Text, "", "Key of --client-cert-file."),
    Flag::used("client-crl-file", Kind::Text, "", "List of revoked certificates of clients, in PEM or DER."),
    Flag::used(
        "client-cert-allowed-hostname",
        Kind::Text,
        "",
        "Names, separated by commas; a client's certificate must be for one of them.",
    ),
    Flag::used(
        "client-cert-allowed-cn",
        Kind::Text,
        "",
        "Common names, separated by commas; a client's certificate must have one of them. In etcd's file alone.",
    ),
    Flag::used(
        "trusted-ca-file",
        Kind::Text,
        "",
        "Authorities of clients' certificates, in PEM. If given, clients must show one.",
    ),
    Flag::used(
        "auto-tls",
        Kind::Bool,
        "false",
        "Make a certificate for clients that is signed by itself, where no --cert-file is given.",
    ),
    Flag::used(
        "peer-cert-file",
        Kind::Text,
        "",
        "Certificate to show to other members, in PEM; read again when it changes.",
    ),
    Flag::used("peer-key-file", Kind::Text, "", "Key of --peer-cert-file."),
    Flag::used(
        "peer-client-cert-auth",
        Kind::Bool,
        "false",
        "Take only members that show a certificate of --peer-trusted-ca-file, or of the authorities that the system trusts.",
    ),
    Flag::used(
        "peer-client-cert-file",
        Kind::Text,
        "",
        "Certificate to show when this member connects to others, in place of --peer-cert-file.",
    ),
    Flag::used("peer-client-key-file", Kind::Text, "", "Key of --peer-client-cert-file."),
    Flag::used(
        "peer-trusted-ca-file",
        Kind::Text,
        "",
        "Authorities of members' certificates, in PEM. If given, members must show one.",
    ),
    Flag::used(
        "peer-cert-allowed-cn",
        Kind::Text,
        "",
        "Common names, separated by commas; a member's certificate must have one of them.",
    ),
    Flag::used(
        "peer-cert-allowed-hostname",
        Kind::Text,
        "",
        "Names, separated by commas; a member's certificate must be for one of them.",
    ),
    Flag::used(
        "peer-auto-tls",
        Kind::Bool,
        "false",
        "Make a certificate for members that is signed by itself, where no --peer-cert-file is given.",
    ),
    Flag::used("peer-crl-file", Kind::Text, "", "List of revoked certificates of members, in PEM or DER."),
    Flag::used(
        "peer-skip-client-san-verification",
        Kind::Bool,
        "false",
        "Do not look whether a member's certificate is for the address that it connects from.",
    )
    .or_experimental(),
    Flag::used(
        "self-signed-cert-validity",
        Kind::NUMBER,
        "1",
        "Years for which certificates made here are good.",
    ),
    Flag::used(
        "cipher-suites",
        Kind::Text,
        "",
        "Cipher suites of TLS 1.2, separated by commas; empty is all that are safe.",
    ),
    Flag::used("tls-min-version", Kind::Text, "TLS1.2", "Oldest version of TLS: TLS1.2 or TLS1.3."),
    Flag::used(
        "tls-max-version",
        Kind::Text,
        "",
        "Newest version of TLS: TLS1.2 or TLS1.3; empty is the newest there is.",
    ),
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
    Flag::used(
        "auth-token",
        Kind::Text,
        "simple",
        "Kind of token: simple, or jwt,pub-key=FILE,priv-key=FILE,sign-method=METHOD,ttl=TIME.",
    ),
    Flag::used("bcrypt-cost", Kind::NUMBER, "10", "Cost of hashing a password, from 4 to 31."),
    Flag::used(
        "auth-token-ttl",
        Kind::NUMBER,
        "300",
        "Seconds for which a simple token is good after its last use.",
    ),
];
