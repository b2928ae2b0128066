//! The configuration of a member: typed, complete, checked as a whole.
//!
//! Made from the flags alone; nothing here looks at the machine.

mod auth;
mod cluster;
mod http;
#[cfg(test)]
mod tests;
mod tls;

pub use auth::{AuthOptions, JwtOptions, TokenKind};
pub use cluster::{Bootstrap, ClusterState};
pub use http::HttpRules;
pub use tls::{Protection, Side};

use super::{
    flags::{self, Error, Scheme, Url, Values},
    logging,
    rotation::Rotation,
};
use std::{net::IpAddr, path::PathBuf, time::Duration};
use windlass_replica::compactor::Retention;
use windlass_types::key::SHARDS_MAX;

/// Everything that a member's flags say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Human-readable name of this member.
    pub name: String,
    /// Folder of all of this member's files.
    pub data_dir: PathBuf,
    /// Folder of the Raft log, where it is not within the data folder.
    pub wal_dir: Option<PathBuf>,
    /// Addresses.
    pub urls: Urls,
    /// The cluster to begin or to belong to.
    pub bootstrap: Bootstrap,
    /// Timing and rules of elections.
    pub raft: Raft,
    /// Bounds on what clients may ask.
    pub limits: Limits,
    /// What history to keep; none keeps all of it.
    pub retention: Option<Retention>,
    /// Rules of connections.
    pub connections: Connections,
    /// Rules of requests over HTTP.
    pub http: HttpRules,
    /// Threads, group commit and logs.
    pub storage: Storage,
    /// How net threads wait.
    pub waiting: Waiting,
    /// Where and what to log.
    pub logging: logging::Settings,
    /// How often watches that ask for it are told their progress; at least 100 ms.
    pub watch_progress_interval: Duration,
    /// Tokens and passwords.
    pub auth: AuthOptions,
    /// Certificates, and whose are taken.
    pub tls: Protection,
    /// Durations above which a warning is logged, and the detail of metrics.
    pub observation: Observation,
    /// What to log about the flags themselves once logging works.
    pub notices: Vec<flags::Notice>,
}

/// Addresses to listen on, and how others reach them. All are `unix`, or `http` and, where listened on, an IP
/// or `localhost`.
#[derive(Clone, Debug)]
pub struct Urls {
    /// Client traffic; at least one.
    pub listen_client: Vec<Url>,
    /// Peer traffic; at least one.
    pub listen_peer: Vec<Url>,
    /// Addresses for HTTP alone; if there are any, those of `listen_client` serve gRPC alone.
    pub listen_client_http: Vec<Url>,
    /// Further addresses for metrics and health; may be none.
    pub listen_metrics: Vec<Url>,
    /// `listen_client` as clients reach it; at least one.
    pub advertise_client: Vec<Url>,
    /// `listen_peer` as peers reach it; at least one.
    pub advertise_peer: Vec<Url>,
}

/// Timing and rules of elections.
#[derive(Clone, Copy, Debug)]
pub struct Raft {
    /// Time between heartbeats; above zero.
    pub heartbeat_interval: Duration,
    /// Time without a leader until an election; at least five heartbeats, at most 50 s.
    pub election_timeout: Duration,
    /// Ask for votes before raising the term.
    pub pre_vote: bool,
    /// Refuse membership changes that would cost the quorum.
    pub strict_reconfig_check: bool,
    /// Most learners at a time.
    pub learners_max: usize,
    /// Bytes of log kept in memory for members that are away.
    pub catch_up_bytes: usize,
}

/// Bounds on what clients may ask.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Size in bytes above which writes are refused; none when the operator switched the quota off.
    pub quota_bytes: Option<u64>,
    /// Most bytes in one request; at most half a Raft log segment.
    pub request_bytes_max: usize,
    /// Most operations in one transaction.
    pub txn_ops_max: usize,
    /// Most open streams of one connection.
    pub concurrent_streams_max: u32,
}

/// Rules of connections.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// Shortest time between a client's pings that is tolerated.
    pub keepalive_min_time: Duration,
    /// Time without traffic after which the server pings; zero never.
    pub keepalive_interval: Duration,
    /// Time that a client has to answer; zero for ever.
    pub keepalive_timeout: Duration,
    /// Set SO_REUSEPORT, so that another process can bind the same port.
    pub reuse_port: bool,
    /// Set SO_REUSEADDR.
    pub reuse_address: bool,
}

/// How writes of the logs, Raft's and the shards', are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// What a probe of their disk at start finds faster.
    Auto,
    /// O_DSYNC writes.
    Dsync,
    /// Plain writes, then fdatasync.
    Fdatasync,
}

/// What gathered commands wait for although a flush could start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchLinger {
    /// More of them, for this long; zero for none.
    Fixed(Duration),
    /// The end of the flush in flight, where that proves quicker.
    Adaptive,
}

/// Threads, group commit and logs.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    /// Threads that serve connections; from 1.
    pub net_threads: usize,
    /// Storage shards; from 1.
    pub shards: usize,
    /// Most Raft log flushes in flight; from 1.
    pub flush_depth: usize,
    /// Most bytes of commands in one Raft entry; a single larger request still makes an entry of its own.
    pub batch_bytes_max: usize,
    /// What commands wait for before a flush.
    pub batch_linger: BatchLinger,
    /// Size of a Raft log segment in bytes, a multiple of 1 MiB.
    pub wal_segment_bytes: u64,
    /// Buffered bytes at which a shard flushes its own log.
    pub shard_flush_bytes: usize,
    /// Age of the oldest buffered record at which a shard flushes its own log; above zero.
    pub shard_flush_interval: Duration,
    /// How writes of the logs, Raft's and the shards', are made durable.
    pub sync_mode: SyncMode,
    /// Whether some of these may be changed while the member runs.
    pub live_settings: bool,
}

/// How net threads wait for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Keep the CPUs from deep sleep while a lone client sends request after request.
    pub hold_cpus: bool,
    /// Time for which a thread looks for work before it sleeps; at most 1 ms.
    pub poll: Duration,
}

/// What operators are told.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// A request that takes longer is logged with a warning; zero for none.
    pub warning_request_duration: Duration,
    /// An entry that takes longer to apply is logged with a warning; zero for none.
    pub warning_apply_duration: Duration,
    /// Histograms per gRPC method as well.
    pub extensive_metrics: bool,
}

/// etcd's quota when none is given.
const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;
/// etcd's bound, beyond which nobody would notice a lost leader.
const ELECTION_TIMEOUT_MAX_MS: u64 = 50_000;
/// Segments are prepared with writes of this size.
const SEGMENT_UNIT_BYTES: u64 = 1 << 20;
/// A segment takes an entry of half its size, beside its header and a reserve of 1 MiB: in smaller ones it would not fit.
const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// The folder of the member's files, as the flags say.
#[must_use]
pub fn data_dir(values: &Values) -> PathBuf {
    match values.text("data-dir") {
        "" => format!("{}.etcd", values.text("name")).into(),
        given => given.into(),
    }
}

impl Config {
    /// Checks the flags' values together. `cores` is the number that this process may use; threads follow from it
    /// where the flags leave them open.
    pub fn from_values(values: &Values, cores: usize) -> Result<Self, Error> {
        let name = values.text("name").to_owned();
        let data_dir = data_dir(values);
        let urls = Urls::from_values(values)?;
        let storage = Storage::from_values(values, cores)?;
        let (tls, ignored) = Protection::from_values(values, &urls)?;
        Ok(Self {
            bootstrap: Bootstrap::from_values(values, &name, &urls.advertise_peer)?,
            raft: Raft::from_values(values)?,
            limits: Limits::from_values(values, &storage)?,
            retention: retention(values)?,
            connections: Connections::from_values(values),
            http: HttpRules::from_values(values)?,
            watch_progress_interval: watch_progress_interval(values)?,
            tls,
            auth: AuthOptions::from_values(values)?,
            logging: logging_settings(values)?,
            observation: Observation {
                warning_request_duration: values.duration("warning-unary-request-duration"),
                warning_apply_duration: values.duration("warning-apply-duration"),
                extensive_metrics: values.text("metrics") == "extensive",
            },
            waiting: Waiting {
                hold_cpus: values.text("cpu-latency") == "auto",
                poll: Duration::from_micros(values.number("poll-us")),
            },
            wal_dir: Some(values.text("wal-dir")).filter(|path| !path.is_empty()).map(PathBuf::from),
            notices: [values.notices(), &ignored].concat(),
            name,
            data_dir,
            urls,
            storage,
        })
    }
}

impl Urls {
    fn from_values(values: &Values) -> Result<Self, Error> {
        let must_advertise = values.is_set("listen-client-urls") && !values.is_from_file();
        if must_advertise && !values.is_set("advertise-client-urls") {
            return refuse("--advertise-client-urls is required when --listen-client-urls is set explicitly");
        }
        let urls = Self {
            listen_client: values.urls("listen-client-urls"),
            listen_peer: values.urls("listen-peer-urls"),
            listen_client_http: values.urls("listen-client-http-urls"),
            listen_metrics: values.urls("listen-metrics-urls"),
            advertise_client: values.urls("advertise-client-urls"),
            advertise_peer: values.urls("initial-advertise-peer-urls"),
        };
        let listened =
            [&urls.listen_peer, &urls.listen_client, &urls.listen_client_http, &urls.listen_metrics];
        urls.listen_peer.iter().chain(&urls.advertise_peer).try_for_each(require_tcp)?;
        for url in listened.into_iter().flatten() {
            if matches!(url.scheme(), Scheme::Unix | Scheme::Unixs) {
                continue;
            }
            if url.host() != "localhost" && url.host().parse::<IpAddr>().is_err() {
                return refuse(format!("expected IP in URL for binding ({url})"));
            }
        }
        for url in urls.advertise_peer.iter().chain(&urls.advertise_client) {
            if url.host().is_empty() {
                return refuse(format!("unexpected empty host ({url})"));
            }
        }
        Ok(urls)
    }
}

/// Peers talk over TCP alone.
fn require_tcp(url: &Url) -> Result<(), Error> {
    match url.scheme() {
        Scheme::Unix | Scheme::Unixs => refuse(format!(
            "peers cannot use Unix sockets in this version: give an http or https URL instead of {url}"
        )),
        Scheme::Http | Scheme::Https => Ok(()),
    }
}

impl Raft {
    fn from_values(values: &Values) -> Result<Self, Error> {
        let heartbeat_ms = values.number("heartbeat-interval");
        let election_ms = values.number("election-timeout");
        if heartbeat_ms == 0 {
            return refuse("--heartbeat-interval must be >0 (set to 0ms)");
        }
        if election_ms == 0 {
            return refuse("--election-timeout must be >0 (set to 0ms)");
        }
        if heartbeat_ms.saturating_mul(5) > election_ms {
            return refuse(format!(
                "--election-timeout[{election_ms}ms] should be at least as 5 times as \
                 --heartbeat-interval[{heartbeat_ms}ms]"
            ));
        }
        if election_ms > ELECTION_TIMEOUT_MAX_MS {
            return refuse(format!(
                "--election-timeout[{election_ms}ms] is too long, and should be set less than \
                 {ELECTION_TIMEOUT_MAX_MS}ms"
            ));
        }
        Ok(Self {
            heartbeat_interval: Duration::from_millis(heartbeat_ms),
            election_timeout: Duration::from_millis(election_ms),
            pre_vote: values.boolean("pre-vote"),
            strict_reconfig_check: values.boolean("strict-reconfig-check"),
            learners_max: to_usize(values.number("max-learners")),
            catch_up_bytes: to_usize(values.number("catch-up-bytes")),
        })
    }
}

impl Limits {
    fn from_values(values: &Values, storage: &Storage) -> Result<Self, Error> {
        let quota_bytes = match values.integer("quota-backend-bytes") {
            0 => Some(QUOTA_BYTES_DEFAULT),
            quota => u64::try_from(quota).ok(),
        };
        // One entry must fit into a segment together with its frame.
        let request_bytes_limit = storage.wal_segment_bytes / 2;
        let request_bytes_max = values.number("max-request-bytes");
        if request_bytes_max == 0 || request_bytes_max > request_bytes_limit {
            return refuse(format!(
                "--max-request-bytes must be from 1 to {request_bytes_limit}, half of --wal-segment-bytes (set to \
                 {request_bytes_max})"
            ));
        }
        Ok(Self {
            quota_bytes,
            request_bytes_max: to_usize(request_bytes_max),
            txn_ops_max: to_usize(values.number("max-txn-ops")),
            concurrent_streams_max: u32::try_from(values.number("max-concurrent-streams"))
                .expect("the table bounds it"),
        })
    }
}

impl Connections {
    fn from_values(values: &Values) -> Self {
        Self {
            keepalive_min_time: values.duration("grpc-keepalive-min-time"),
            keepalive_interval: values.duration("grpc-keepalive-interval"),
            keepalive_timeout: values.duration("grpc-keepalive-timeout"),
            reuse_port: values.boolean("socket-reuse-port"),
            reuse_address: values.boolean("socket-reuse-address"),
        }
    }
}

impl Storage {
    fn from_values(values: &Values, cores: usize) -> Result<Self, Error> {
        let or_half_the_cores = |name: &str| match values.number(name) {
            0 => (cores / 2).max(1),
            threads => to_usize(threads),
        };
        for name in ["flush-depth", "batch-bytes", "shard-flush-bytes"] {
            if values.number(name) == 0 {
                return refuse(format!("--{name} must be >0"));
            }
        }
        if values.duration("shard-flush-interval").is_zero() {
            return refuse("--shard-flush-interval must be >0");
        }
        let wal_segment_bytes = values.number("wal-segment-bytes");
        if wal_segment_bytes < SEGMENT_BYTES_MIN || !wal_segment_bytes.is_multiple_of(SEGMENT_UNIT_BYTES) {
            return refuse(format!(
                "--wal-segment-bytes must be a multiple of 1 MiB, at least 4 MiB (set to {wal_segment_bytes})"
            ));
        }
        let batch_bytes_max = values.number("batch-bytes");
        if batch_bytes_max > wal_segment_bytes / 2 {
            return refuse(format!(
                "--batch-bytes must be at most half of --wal-segment-bytes (set to {batch_bytes_max})"
            ));
        }
        Ok(Self {
            net_threads: or_half_the_cores("net-threads"),
            shards: or_half_the_cores("shards").min(usize::from(SHARDS_MAX)),
            flush_depth: to_usize(values.number("flush-depth")),
            batch_bytes_max: to_usize(batch_bytes_max),
            batch_linger: match values.text("batch-linger") {
                "adaptive" => BatchLinger::Adaptive,
                _ => BatchLinger::Fixed(values.duration("batch-linger")),
            },
            wal_segment_bytes,
            shard_flush_bytes: to_usize(values.number("shard-flush-bytes")),
            shard_flush_interval: values.duration("shard-flush-interval"),
            sync_mode: match values.text("sync-mode") {
                "dsync" => SyncMode::Dsync,
                "fdatasync" => SyncMode::Fdatasync,
                _ => SyncMode::Auto,
            },
            live_settings: values.boolean("enable-live-settings"),
        })
    }
}

/// etcd's bound and words (`embed/config.go`).
fn watch_progress_interval(values: &Values) -> Result<Duration, Error> {
    const INTERVAL_MIN: Duration = Duration::from_millis(100);
    let interval = values.duration("watch-progress-notify-interval");
    if interval < INTERVAL_MIN {
        return refuse(format!(
            "--watch-progress-notify-interval must be at least 100ms (set to {}ms)",
            interval.as_millis()
        ));
    }
    Ok(interval)
}

/// Source: etcd `embed/etcd.go` `parseCompactionRetention`.
fn retention(values: &Values) -> Result<Option<Retention>, Error> {
    let text = values.text("auto-compaction-retention");
    let (number, mode) = (text.parse::<u64>().ok(), values.text("auto-compaction-mode"));
    if text.is_empty() || number == Some(0) || (mode.is_empty() && number.is_some()) {
        return Ok(None);
    }
    let revisions = |count| Retention::Revisions(i64::try_from(count).unwrap_or(i64::MAX));
    let period = match number {
        Some(count) if mode == "revision" => return Ok(Some(revisions(u128::from(count)))),
        Some(hours) => Ok(Duration::from_secs(hours.saturating_mul(3600))),
        None => flags::parse_duration(text),
    };
    match period {
        Ok(Duration::ZERO) => Ok(None),
        // A duration is its nanoseconds there: so many revisions that nothing is compacted.
        Ok(period) if mode == "revision" => Ok(Some(revisions(period.as_nanos()))),
        Ok(period) => Ok(Some(Retention::Period(period))),
        Err(why) => refuse(format!("--auto-compaction-retention: {why} (set to {text})")),
    }
}

fn logging_settings(values: &Values) -> Result<logging::Settings, Error> {
    let outputs = logging::parse_outputs(values.text("log-outputs")).map_err(Error::Configuration)?;
    let level = logging::Level::parse(values.text("log-level")).expect("the table lists the levels");
    let format = match values.text("log-format") {
        "console" => logging::Format::Console,
        _ => logging::Format::Json,
    };
    let rotation = match values.boolean("enable-log-rotation") {
        true => Some(rotation(values, &outputs)?),
        false => None,
    };
    Ok(logging::Settings { level, format, outputs, rotation })
}

/// etcd's rule: exactly one file is kept small.
fn rotation(values: &Values, outputs: &[logging::Target]) -> Result<Rotation, Error> {
    let files = outputs.iter().filter(|target| matches!(target, logging::Target::File(_))).count();
    if files != 1 {
        return refuse("--log-outputs requires a single file path when --log-rotate-config-json is defined");
    }
    Rotation::parse(values.text("log-rotation-config-json")).map_err(Error::Configuration)
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn refuse<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Configuration(text.into()))
}
