//! Flags that etcd does not have: threads, group commit and the logs.

use super::Flag;
use crate::startup::flags::value::Kind;
use windlass_types::key::SHARDS_MAX;

pub(super) const FLAGS: &[Flag] = &[
    Flag::used(
        "net-threads",
        Kind::Number { max: 256 },
        "0",
        "Threads that serve connections. 0: half the cores, at least one.",
    ),
    Flag::used(
        "shards",
        Kind::Number { max: SHARDS_MAX as u64 },
        "0",
        "Storage shards, one thread each; may change at a restart. 0: half the cores, at least one.",
    ),
    Flag::used("flush-depth", Kind::Number { max: 32 }, "2", "Most flushes of the Raft log in flight."),
    Flag::used(
        "batch-bytes",
        Kind::Number { max: 16 << 20 },
        "1048576",
        "Most bytes of commands in one Raft entry.",
    ),
    Flag::used(
        "batch-linger",
        Kind::DurationOr("adaptive"),
        "adaptive",
        "Time to wait for more commands before a flush; adaptive: as long as proves best on this disk under this load. 0: never wait.",
    ),
    Flag::used(
        "cpu-latency",
        Kind::Choice(&["auto", "off"]),
        "auto",
        "auto: while a lone client sends request after request, CPUs enter no idle state that takes long to leave. off: the kernel decides.",
    ),
    Flag::used(
        "poll-us",
        Kind::Number { max: 1000 },
        "0",
        "Microseconds for which a net thread that has nothing to do looks for work before it sleeps. 0: only for a quick lone client.",
    ),
    Flag::used(
        "wal-segment-bytes",
        Kind::Number { max: 1 << 30 },
        "67108864",
        "Size of a Raft log segment: a multiple of 1 MiB, at least 4 MiB.",
    ),
    Flag::used(
        "catch-up-bytes",
        Kind::Number { max: 128 << 20 },
        "16777216",
        "Bytes of log kept in memory for members that are away. One that misses more gets a snapshot.",
    ),
    Flag::used(
        "shard-flush-bytes",
        Kind::Number { max: 64 << 20 },
        "1000000",
        "A shard flushes its own log when this many bytes are buffered.",
    ),
    Flag::used(
        "shard-flush-interval",
        Kind::Duration,
        "100ms",
        "A shard flushes its own log when the oldest buffered record is this old.",
    ),
    Flag::used(
        "sync-mode",
        Kind::Choice(&["auto", "dsync", "fdatasync"]),
        "auto",
        "How writes of the logs are made durable: O_DSYNC writes, or writes and fdatasync. auto: what is faster here.",
    ),
    Flag::used(
        "disk-settings",
        Kind::Text,
        "",
        "File of settings that windlass-disk wrote; flags win over it. Default: windlass.settings in the data folder.",
    ),
    Flag::used(
        "enable-live-settings",
        Kind::Bool,
        "false",
        "Let flush-depth, batch-bytes and batch-linger be changed while the member runs, at /debug/settings: for windlass-disk tune --endpoint.",
    ),
];
