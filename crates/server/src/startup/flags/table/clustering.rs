//! Flags that say which cluster this member belongs to.

use super::Flag;
use crate::startup::flags::value::Kind;

const DISCOVERY: &str = "name the members with --initial-cluster instead of a discovery service";
/// All that etcd 3.5 and 3.6 know.
const V2_STAGES: &[&str] = &["not-yet", "write-only", "write-only-drop-data", "gone"];
const NO_DISCOVERY: &str = "there is no discovery service to talk to";

pub(super) const FLAGS: &[Flag] = &[
    Flag::used(
        "initial-advertise-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "This member's peer URLs as the other members reach them, separated by commas.",
    ),
    Flag::used(
        "initial-cluster",
        Kind::Text,
        "",
        "Members of a new cluster, name=url separated by commas. Default: ${name}=${initial-advertise-peer-urls}",
    ),
    Flag::used(
        "initial-cluster-state",
        Kind::Choice(&["new", "existing"]),
        "new",
        "Whether this member begins a new cluster or belongs to an existing one.",
    ),
    Flag::used(
        "initial-cluster-token",
        Kind::Text,
        "etcd-cluster",
        "Token that keeps clusters with equal URLs apart.",
    ),
    Flag::used(
        "advertise-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "This member's client URLs as clients reach them, separated by commas.",
    ),
    Flag::refused("discovery", Kind::Text, "", DISCOVERY),
    Flag::refused("discovery-token", Kind::Text, "", DISCOVERY),
    Flag::refused("discovery-endpoints", Kind::Text, "", DISCOVERY),
    Flag::no_meaning("discovery-dial-timeout", Kind::Duration, "2s", NO_DISCOVERY),
    Flag::no_meaning("discovery-request-timeout", Kind::Duration, "5s", NO_DISCOVERY),
    Flag::no_meaning("discovery-keepalive-time", Kind::Duration, "2s", NO_DISCOVERY),
    Flag::no_meaning("discovery-keepalive-timeout", Kind::Duration, "6s", NO_DISCOVERY),
    Flag::no_meaning("discovery-insecure-transport", Kind::Bool, "true", NO_DISCOVERY),
    Flag::refused("discovery-insecure-skip-tls-verify", Kind::Bool, "false", DISCOVERY),
    Flag::refused("discovery-cert", Kind::Text, "", DISCOVERY),
    Flag::refused("discovery-key", Kind::Text, "", DISCOVERY),
    Flag::refused("discovery-cacert", Kind::Text, "", DISCOVERY),
    Flag::refused("discovery-user", Kind::Text, "", DISCOVERY),
    Flag::refused("discovery-password", Kind::Text, "", DISCOVERY),
    Flag::no_meaning("discovery-fallback", Kind::Choice(&["exit", "proxy"]), "exit", NO_DISCOVERY),
    Flag::refused("discovery-proxy", Kind::Text, "", DISCOVERY),
    Flag::refused("discovery-srv", Kind::Text, "", DISCOVERY),
    Flag::refused("discovery-srv-name", Kind::Text, "", DISCOVERY),
    Flag::used(
        "strict-reconfig-check",
        Kind::Bool,
        "true",
        "Refuse membership changes that would cost the quorum.",
    ),
    Flag::used("pre-vote", Kind::Bool, "true", "Ask whether an election can be won before starting one."),
    Flag::used(
        "auto-compaction-retention",
        Kind::Text,
        "0",
        "How much history to keep: a duration or hours where it is periodic, else revisions. 0: compact only when asked.",
    ),
    Flag::used(
        "auto-compaction-mode",
        Kind::Choice(&["periodic", "revision", ""]),
        "periodic",
        "What --auto-compaction-retention counts. Empty: compact only when asked.",
    ),
    Flag::no_meaning("v2-deprecation", Kind::Choice(V2_STAGES), "write-only", "there is no v2 store"),
];
