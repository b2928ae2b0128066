//! Flags for those who run a member: monitoring, logging, tracing, and etcd's feature and unsafe groups.

use super::Flag;
use crate::startup::flags::value::Kind;

const NO_TRACING: &str = "traces are not sent to a collector; /metrics times every stage of a commit";
const ALWAYS_COMPARED: &str =
    "members compare what they wrote and hold every ten seconds, from their start on";
const SLICES: &str = "compaction runs in bounded slices that need no tuning";
const LEASES_KEPT: &str = "what is left of leases is always written to the log";

pub(super) const MONITORING: &[Flag] = &[
    Flag::no_meaning("enable-pprof", Kind::Bool, "false", "there is no Go runtime to profile; use perf"),
    Flag::used(
        "metrics",
        Kind::Text,
        "basic",
        "Level of detail of the metrics: basic, or extensive, which adds histograms per gRPC method.",
    ),
    Flag::used(
        "listen-metrics-urls",
        Kind::Urls,
        "",
        "Further URLs to listen on for metrics and health checks, separated by commas.",
    ),
];

pub(super) const LOGGING: &[Flag] = &[
    Flag::used("logger", Kind::Choice(&["zap"]), "zap", "Only 'zap', etcd's structured log lines."),
    Flag::used(
        "log-outputs",
        Kind::Text,
        "default",
        "Where log lines go: 'default' and 'stderr', 'stdout', or files to append to, separated by commas.",
    ),
    Flag::used(
        "log-level",
        Kind::AnyCase(&["debug", "info", "warn", "error", "dpanic", "panic", "fatal"]),
        "info",
        "Least severe level that is logged: debug, info, warn, error, panic or fatal.",
    ),
    Flag::used(
        "log-format",
        Kind::Choice(&["json", "console"]),
        "json",
        "Shape of log lines: json or console.",
    ),
    Flag::used(
        "enable-log-rotation",
        Kind::Bool,
        "false",
        "Begin a new file when the one of --log-outputs has the size of --log-rotation-config-json.",
    ),
    Flag::used(
        "log-rotation-config-json",
        Kind::Text,
        r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
        "Size in MB of a file, and after how many days and at what number older ones are removed; 0 keeps them.",
    ),
    Flag::used(
        "warning-unary-request-duration",
        Kind::Duration,
        "300ms",
        "A request that takes longer is logged with a warning. 0: none is.",
    )
    .or_experimental(),
];

pub(super) const TRACING: &[Flag] = &[
    Flag::no_meaning("enable-distributed-tracing", Kind::Bool, "false", NO_TRACING).or_experimental(),
    Flag::no_meaning("distributed-tracing-address", Kind::Text, "localhost:4317", NO_TRACING)
        .or_experimental(),
    Flag::no_meaning("distributed-tracing-service-name", Kind::Text, "etcd", NO_TRACING).or_experimental(),
    Flag::no_meaning("distributed-tracing-instance-id", Kind::Text, "", NO_TRACING).or_experimental(),
    Flag::no_meaning("distributed-tracing-sampling-rate", Kind::NUMBER, "0", NO_TRACING).or_experimental(),
];

pub(super) const FEATURES: &[Flag] = &[
    Flag::used(
        "warning-apply-duration",
        Kind::Duration,
        "100ms",
        "An entry that takes longer to apply is logged with a warning. 0: none is.",
    )
    .or_experimental(),
    Flag::no_meaning("corrupt-check-time", Kind::Duration, "0s", ALWAYS_COMPARED).or_experimental(),
    Flag::no_meaning("compact-hash-check-time", Kind::Duration, "1m0s", ALWAYS_COMPARED).or_experimental(),
    Flag::no_meaning("experimental-compact-hash-check-enabled", Kind::Bool, "false", ALWAYS_COMPARED),
    Flag::no_meaning("experimental-initial-corrupt-check", Kind::Bool, "false", ALWAYS_COMPARED),
    Flag::no_meaning("compaction-batch-limit", Kind::NUMBER, "1000", SLICES).or_experimental(),
    Flag::no_meaning("compaction-sleep-interval", Kind::Duration, "10ms", SLICES).or_experimental(),
    Flag::used(
        "watch-progress-notify-interval",
        Kind::Duration,
        "10m0s",
        "How often watches that ask for it are told their progress while nothing happens.",
    )
    .or_experimental(),
    Flag::no_meaning(
        "bootstrap-defrag-threshold-megabytes",
        Kind::NUMBER,
        "0",
        "space is reclaimed while the member runs, there is nothing to defragment",
    )
    .or_experimental(),
    Flag::used("max-learners", Kind::NUMBER, "1", "Most learners that the cluster may have at a time.")
        .or_experimental(),
    Flag::no_meaning(
        "downgrade-check-time",
        Kind::Duration,
        "5s",
        "nothing has to be looked at again: a member speaks one version of the API",
    )
    .or_experimental(),
    Flag::no_meaning(
        "snapshot-catchup-entries",
        Kind::NUMBER,
        "5000",
        "how much is kept for slow followers is counted in bytes",
    )
    .or_experimental(),
    Flag::no_meaning("experimental-enable-lease-checkpoint", Kind::Bool, "false", LEASES_KEPT),
    Flag::no_meaning("experimental-enable-lease-checkpoint-persist", Kind::Bool, "false", LEASES_KEPT),
    Flag::no_meaning(
        "experimental-txn-mode-write-with-shared-buffer",
        Kind::Bool,
        "true",
        "transactions read what they write without a buffer of their own",
    ),
    Flag::no_meaning(
        "experimental-stop-grpc-service-on-defrag",
        Kind::Bool,
        "false",
        "defragmentation never stops the service",
    ),
    Flag::no_meaning(
        "experimental-wait-cluster-ready-timeout",
        Kind::Duration,
        "5s",
        "a member serves when it has found a leader, however long that takes",
    ),
];

pub(super) const UNSAFE: &[Flag] = &[
    Flag::used(
        "force-new-cluster",
        Kind::Bool,
        "false",
        "Make a cluster of this member alone of what it holds. For a quorum that is lost for good.",
    ),
    Flag::refused(
        "unsafe-no-fsync",
        Kind::Bool,
        "false",
        "Windlass never acknowledges what is not durable; start without it",
    ),
];
