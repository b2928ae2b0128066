//! Flags of this member: its name, folder, addresses and limits.

use super::Flag;
use crate::startup::flags::value::Kind;

const NO_BBOLT: &str = "Windlass keeps its data in memory and in logs, there is no bbolt backend to tune";
const NO_FILES: &str = "log segments are recycled, there are no old files to keep or purge";
const OWN_TIMES: &str = "the peer transport sets its times by --election-timeout";

pub(super) const FLAGS: &[Flag] = &[
    Flag::used("name", Kind::Text, "default", "Human-readable name for this member."),
    Flag::used("data-dir", Kind::Text, "", "Path to the data folder. Default: ${name}.etcd"),
    Flag::used("wal-dir", Kind::Text, "", "Folder for the Raft log. Default: within the data folder."),
    Flag::no_meaning(
        "snapshot-count",
        Kind::NUMBER,
        "10000",
        "the shards' own logs say up to where the Raft log can be cut",
    ),
    Flag::used("heartbeat-interval", Kind::NUMBER, "100", "Milliseconds between heartbeats."),
    Flag::used("election-timeout", Kind::NUMBER, "1000", "Milliseconds without a leader until an election."),
    Flag::no_meaning(
        "initial-election-tick-advance",
        Kind::Bool,
        "true",
        "a sole member stands for election at once, others wait for one timeout",
    ),
    Flag::used(
        "listen-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "URLs to listen on for peer traffic, separated by commas.",
    ),
    Flag::used(
        "listen-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "URLs to listen on for client traffic, separated by commas.",
    ),
    Flag::used(
        "listen-client-http-urls",
        Kind::Urls,
        "",
        "URLs to listen on for HTTP alone, separated by commas. If given, --listen-client-urls serve gRPC alone.",
    ),
    Flag::no_meaning("max-snapshots", Kind::NUMBER, "5", NO_FILES),
    Flag::no_meaning("max-wals", Kind::NUMBER, "5", NO_FILES),
    Flag::no_meaning("memory-mlock", Kind::Bool, "false", "only its I/O buffers are locked in memory")
        .or_experimental(),
    Flag::used(
        "quota-backend-bytes",
        Kind::Integer,
        "0",
        "Size in bytes above which the store takes no more writes. 0: 2 GiB. Negative: no quota.",
    ),
    Flag::no_meaning("backend-bbolt-freelist-type", Kind::Text, "map", NO_BBOLT),
    Flag::no_meaning("backend-batch-interval", Kind::Duration, "100ms", NO_BBOLT),
    Flag::no_meaning("backend-batch-limit", Kind::Integer, "10000", NO_BBOLT),
    Flag::used("max-txn-ops", Kind::NUMBER, "128", "Most operations in one transaction."),
    Flag::used("max-request-bytes", Kind::NUMBER, "1572864", "Most bytes in one client request."),
    Flag::used(
        "max-concurrent-streams",
        Kind::Number { max: u32::MAX as u64 },
        "4294967295",
        "Most streams that one client connection may have open.",
    ),
    Flag::used(
        "grpc-keepalive-min-time",
        Kind::Duration,
        "5s",
        "Shortest time between a client's pings that is tolerated.",
    ),
    Flag::used(
        "grpc-keepalive-interval",
        Kind::Duration,
        "2h",
        "Time without traffic after which the server pings a client. 0: never.",
    ),
    Flag::used(
        "grpc-keepalive-timeout",
        Kind::Duration,
        "20s",
        "Time that a client has to answer such a ping before its connection is closed. 0: for ever.",
    ),
    Flag::used("socket-reuse-port", Kind::Bool, "false", "Let other processes listen on the same port."),
    Flag::used("socket-reuse-address", Kind::Bool, "false", "Listen on addresses that are in TIME_WAIT."),
    Flag::used("enable-grpc-gateway", Kind::Bool, "true", "Serve the JSON gateway under /v3/."),
    Flag::no_meaning("raft-read-timeout", Kind::Duration, "5s", OWN_TIMES),
    Flag::no_meaning("raft-write-timeout", Kind::Duration, "5s", OWN_TIMES),
    Flag::used(
        "feature-gates",
        Kind::Gates,
        "",
        "etcd's feature gates, as A=true,B=false. Each is known, and told why it changes nothing here.",
    ),
    Flag::used(
        "config-file",
        Kind::Text,
        "",
        "File in YAML or JSON with these flags. All other flags and variables are ignored then.",
    ),
];
