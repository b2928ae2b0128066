//! What `/metrics` shows: etcd's names where etcd has one, `windlass_` where not.
//!
//! Handles are cheap to clone and safe from any thread. Nothing here may be on the path of a request more often than
//! once per batch, but for the counters of requests themselves.

mod text;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use windlass_io_disk::uring::SyncMode;

use crate::published::Published;

/// Labels of a gRPC counter, as `grpc-ecosystem/go-grpc-prometheus` names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GrpcLabels {
    /// `unary`, `server_stream` or `bidi_stream`
    pub grpc_type: &'static str,
    /// Such as `etcdserverpb.KV`
    pub grpc_service: &'static str,
    /// Such as `Put`
    pub grpc_method: &'static str,
    /// Such as `OK`; empty where the metric does not tell codes apart.
    pub grpc_code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabels {
    server_version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncModeLabels {
    mode: String,
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    /// Time from the submission of a log write to its completion, in seconds.
    pub wal_fsync_seconds: Histogram,
    /// Bytes written to the Raft log, padding included.
    pub wal_write_bytes: Counter,
    /// Commands in one Raft entry.
    pub batch_commands: Histogram,
    /// Write commands that were refused after they were checked.
    pub proposals_failed: Counter,
    /// Times that the leader changed as seen here.
    pub leader_changes: Counter,
    /// Successful checks through `/health`, `/livez`, `/readyz`.
    pub health_success: Gauge,
    /// Failed checks.
    pub health_failures: Gauge,
    /// Requests begun, by method.
    pub grpc_started: Family<GrpcLabels, Counter>,
    /// Requests ended, by method and code.
    pub grpc_handled: Family<GrpcLabels, Counter>,
    /// Messages received, by method.
    pub grpc_received: Family<GrpcLabels, Counter>,
    /// Messages sent, by method.
    pub grpc_sent: Family<GrpcLabels, Counter>,
    /// Bytes received from gRPC clients.
    pub client_received_bytes: Counter,
    /// Bytes sent to gRPC clients.
    pub client_sent_bytes: Counter,
    /// Commands that wait for a flush.
    pub proposals_pending: Gauge,
    /// The log index up to which all shard streams are durable.
    pub stable_index: Gauge<u64, AtomicU64>,
    at_scrape: AtScrape,
}

/// Gauges that are read from elsewhere when somebody scrapes.
#[derive(Default)]
struct AtScrape {
    has_leader: Gauge,
    is_leader: Gauge,
    committed: Gauge<u64, AtomicU64>,
    applied: Gauge<u64, AtomicU64>,
    store_bytes: Gauge<u64, AtomicU64>,
    store_bytes_in_use: Gauge<u64, AtomicU64>,
    revision: Gauge,
    compact_revision: Gauge,
    disk_full: Gauge,
    resident_bytes: Gauge<u64, AtomicU64>,
    cpu_seconds: Gauge<f64, AtomicU64>,
    open_fds: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// All metrics at zero. `sync_mode` is how the log is made durable, `quota_bytes` the configured limit.
    #[must_use]
    pub fn new(version: &'static str, sync_mode: SyncMode, quota_bytes: u64) -> Arc<Self> {
        let metrics = Self {
            registry: Registry::default(),
            // etcd's buckets: 1 ms to 8 s; ours begin where fast disks are.
            wal_fsync_seconds: Histogram::new(exponential_buckets(1.0 / 64_000.0, 2.0, 20)),
            wal_write_bytes: Counter::default(),
            batch_commands: Histogram::new(exponential_buckets(1.0, 2.0, 15)),
            proposals_failed: Counter::default(),
            leader_changes: Counter::default(),
            health_success: Gauge::default(),
            health_failures: Gauge::default(),
            grpc_started: Family::default(),
            grpc_handled: Family::default(),
            grpc_received: Family::default(),
            grpc_sent: Family::default(),
            client_received_bytes: Counter::default(),
            client_sent_bytes: Counter::default(),
            proposals_pending: Gauge::default(),
            stable_index: Gauge::default(),
            at_scrape: AtScrape::default(),
        };
        Arc::new(metrics.registered(version, sync_mode, quota_bytes))
    }

    fn registered(mut self, version: &'static str, sync_mode: SyncMode, quota_bytes: u64) -> Self {
        let mut registry = Registry::default();
        self.register_server(&mut registry);
        self.register_network(&mut registry);
        self.register_storage(&mut registry);
        self.register_process(&mut registry);
        let info: Family<VersionLabels, Gauge> = Family::default();
        info.get_or_create(&VersionLabels { server_version: version }).set(1);
        registry.register("etcd_server_version", "Version that clients are told", info);
        let mode: Family<SyncModeLabels, Gauge> = Family::default();
        mode.get_or_create(&SyncModeLabels { mode: sync_mode.to_string() }).set(1);
        registry.register("windlass_log_sync_mode", "How a log write is made durable", mode);
        let quota: Gauge<u64, AtomicU64> = Gauge::default();
        quota.set(quota_bytes);
        registry.register("etcd_server_quota_backend_bytes", "Configured limit of the store's size", quota);
        self.registry = registry;
        self
    }

    fn register_server(&self, r: &mut Registry) {
        let s = &self.at_scrape;
        r.register("etcd_server_has_leader", "Whether a leader is known", s.has_leader.clone());
        r.register("etcd_server_is_leader", "Whether this member leads", s.is_leader.clone());
        let help = "Changes of the leader seen";
        r.register("etcd_server_leader_changes_seen", help, self.leader_changes.clone());
        // etcd's own type for these two is gauge in spite of the names.
        r.register("etcd_server_proposals_committed_total", "Log index committed", s.committed.clone());
        r.register("etcd_server_proposals_applied_total", "Log index applied", s.applied.clone());
        let help = "Commands that wait for a flush";
        r.register("etcd_server_proposals_pending", help, self.proposals_pending.clone());
        let help = "Commands refused after they were checked";
        r.register("etcd_server_proposals_failed", help, self.proposals_failed.clone());
        r.register("etcd_server_health_success", "Health checks passed", self.health_success.clone());
        r.register("etcd_server_health_failures", "Health checks failed", self.health_failures.clone());
    }

    fn register_network(&self, r: &mut Registry) {
        r.register("grpc_server_started", "gRPC requests begun", self.grpc_started.clone());
        r.register("grpc_server_handled", "gRPC requests ended", self.grpc_handled.clone());
        r.register("grpc_server_msg_received", "gRPC messages received", self.grpc_received.clone());
        r.register("grpc_server_msg_sent", "gRPC messages sent", self.grpc_sent.clone());
        let help = "Bytes received from gRPC clients";
        r.register("etcd_network_client_grpc_received_bytes", help, self.client_received_bytes.clone());
        let help = "Bytes sent to gRPC clients";
        r.register("etcd_network_client_grpc_sent_bytes", help, self.client_sent_bytes.clone());
    }

    fn register_storage(&self, r: &mut Registry) {
        let s = &self.at_scrape;
        let help = "Seconds from submission to completion of a log write";
        r.register("etcd_disk_wal_fsync_duration_seconds", help, self.wal_fsync_seconds.clone());
        let help = "Bytes written to the Raft log";
        r.register("etcd_disk_wal_write_bytes", help, self.wal_write_bytes.clone());
        let help = "Bytes of keys and values in the store";
        r.register("etcd_mvcc_db_total_size_in_bytes", help, s.store_bytes.clone());
        r.register("etcd_mvcc_db_total_size_in_use_in_bytes", help, s.store_bytes_in_use.clone());
        r.register("etcd_debugging_mvcc_current_revision", "Newest revision", s.revision.clone());
        let help = "Revision compacted last";
        r.register("etcd_debugging_mvcc_compact_revision", help, s.compact_revision.clone());
        r.register("windlass_batch_commands", "Commands in one Raft entry", self.batch_commands.clone());
        let help = "Log index up to which every shard is durable by itself";
        r.register("windlass_stable_index", help, self.stable_index.clone());
        let help = "Whether writes are refused because the disk has no room";
        r.register("windlass_disk_full", help, s.disk_full.clone());
    }

    fn register_process(&self, r: &mut Registry) {
        let s = &self.at_scrape;
        r.register("process_resident_memory_bytes", "Resident memory", s.resident_bytes.clone());
        // A gauge only because the library's counters cannot be set; the name is the usual one.
        r.register("process_cpu_seconds_total", "User and system CPU time", s.cpu_seconds.clone());
        r.register("process_open_fds", "Open file descriptors", s.open_fds.clone());
    }

    /// What a scrape gets that does not ask for OpenMetrics: Prometheus's text format 0.0.4.
    #[must_use]
    pub fn encode_text(&self, published: &Published) -> String {
        text::from_open_metrics(&self.encode(published))
    }

    /// What a scrape gets that asks for OpenMetrics.
    #[must_use]
    pub fn encode(&self, published: &Published) -> String {
        let s = &self.at_scrape;
        let flag = i64::from;
        s.has_leader.set(flag(published.leader().0 != 0));
        s.is_leader.set(flag(published.leader() == published.member));
        s.committed.set(published.applied().0);
        s.applied.set(published.applied().0);
        s.store_bytes.set(published.store_bytes());
        s.store_bytes_in_use.set(published.store_bytes());
        s.revision.set(published.revision().0);
        s.compact_revision.set(published.compact_revision().0);
        s.disk_full.set(flag(published.is_full()));
        if let Some(process) = Process::read() {
            s.resident_bytes.set(process.resident_bytes);
            s.cpu_seconds.set(process.cpu_seconds);
            s.open_fds.set(process.open_fds);
        }
        let mut text = String::with_capacity(16 << 10);
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("strings take any text");
        text
    }
}

/// Figures of this process from `/proc/self`.
pub struct Process {
    /// Resident memory.
    pub resident_bytes: u64,
    /// User and system CPU time.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_fds: u64,
}

impl Process {
    /// `None` where `/proc` is not mounted.
    pub fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name, in parentheses, may hold spaces; the rest is plain.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
        let ticks = number(11)? + number(12)?;
        let pages = number(21)?;
        Some(Self {
            resident_bytes: pages * rustix::param::page_size() as u64,
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            open_fds: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use windlass_records::batch::Origin;
    use windlass_records::state::State;
    use windlass_types::{ClusterId, MemberId};

    use super::*;

    #[test]
    fn a_scrape_shows_state_and_process() {
        let published =
            Published::new(ClusterId(1), Origin { member: MemberId(2), incarnation: 1 }, 1, State::EMPTY);
        let metrics = Metrics::new("3.6.14", SyncMode::Dsync, 7);
        metrics.wal_write_bytes.inc_by(4096);
        let text = metrics.encode(&published);
        for line in [
            "etcd_server_has_leader 0",
            "etcd_disk_wal_write_bytes_total 4096",
            "etcd_server_version{server_version=\"3.6.14\"} 1",
            "etcd_debugging_mvcc_current_revision 1",
            "etcd_server_quota_backend_bytes 7",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
        let resident = text.lines().find(|l| l.starts_with("process_resident_memory_bytes ")).unwrap();
        assert_ne!(resident.split(' ').nth(1), Some("0"));
    }
}
