//! What `/metrics` shows: etcd's names where etcd has one, `windlass_` where not.
//!
//! Handles are cheap to clone and safe from any thread. Nothing here may be on the path of a request more often than
//! once per batch, but for the counters of requests themselves.

mod absent;
mod calls;
mod peers;
mod process;
mod requests;
mod storage;
mod text;
mod watches;

pub use calls::{ClientLabels, Handling};
pub use peers::Peers;
pub use process::Process;
pub use requests::Requests;
pub use storage::Storage;
pub use watches::{WatchTimes, WatchWork, Watches};

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use windlass_io_disk::uring::SyncMode;
use windlass_types::MemberId;

use crate::published::Published;
use crate::stages::Stages;

/// Labels of a gRPC counter, as `grpc-ecosystem/go-grpc-prometheus` names them; in the order of their names, as Go shows
/// labels, for scripts that look for a whole line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrpcLabels {
    /// Such as `OK`; empty where the metric does not tell codes apart.
    pub grpc_code: &'static str,
    /// Such as `Put`
    pub grpc_method: &'static str,
    /// Such as `etcdserverpb.KV`
    pub grpc_service: &'static str,
    /// `unary`, `server_stream` or `bidi_stream`
    pub grpc_type: &'static str,
}

impl EncodeLabelSet for GrpcLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        let labels = [
            ("grpc_code", self.grpc_code),
            ("grpc_method", self.grpc_method),
            ("grpc_service", self.grpc_service),
            ("grpc_type", self.grpc_type),
        ];
        let mut told = labels.into_iter().filter(|(_, value)| !value.is_empty());
        told.try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

/// What does not change while the process runs.
#[derive(Clone, Copy, Debug)]
pub struct Constants {
    /// The version that clients are told.
    pub version: &'static str,
    /// This member.
    pub member: MemberId,
    /// How the log is made durable.
    pub sync_mode: SyncMode,
    /// The configured limit of the store's size.
    pub quota_bytes: u64,
    /// Histograms for each gRPC method as well.
    pub extensive: bool,
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    /// Time from the submission of a log write to its completion, in seconds.
    pub wal_fsync_seconds: Histogram,
    /// Time of a flush of a shard's own log, in seconds.
    pub backend_commit_seconds: Histogram,
    /// Seconds that a snapshot for a client took, until the last of it was handed to the network.
    pub backend_snapshot_seconds: Histogram,
    /// Bytes written to the Raft log, padding included.
    pub wal_write_bytes: Counter,
    /// Where commits spend their time.
    pub stages: Arc<Stages>,
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
    /// How long they took, by method.
    pub grpc_handling: Family<GrpcLabels, Handling>,
    /// Requests by the API version that the client speaks.
    pub client_requests: Family<ClientLabels, Counter>,
    /// Questions for the place of reads in history that got no answer.
    pub read_indexes_failed: Counter,
    /// Questions that were answered slowly.
    pub read_indexes_slow: Counter,
    /// Scrapes.
    pub scrapes: Counter,
    /// Messages received, by method.
    pub grpc_received: Family<GrpcLabels, Counter>,
    /// Messages sent, by method.
    pub grpc_sent: Family<GrpcLabels, Counter>,
    /// Bytes received from gRPC clients.
    pub client_received_bytes: Counter,
    /// Bytes sent to gRPC clients.
    pub client_sent_bytes: Counter,
    /// Watch streams that are open.
    pub watch_streams: Gauge,
    /// Watches on them.
    pub watchers: Gauge,
    /// Watches that are behind.
    pub slow_watchers: Gauge,
    /// Events sent to watches.
    pub watch_events: Counter,
    /// Events that watches wait for, or have not taken.
    pub pending_events: Gauge,
    /// Commands that wait for a flush.
    pub proposals_pending: Gauge,
    /// The log index up to which all shard streams are durable.
    pub stable_index: Gauge<u64, AtomicU64>,
    /// Heartbeats of a leader that were not in time.
    pub late_heartbeats: Counter,
    /// Leases whose end this member proposed because their time was over.
    pub leases_expired: Counter,
    /// Leases that there are.
    pub leases: Gauge,
    /// Reads in progress.
    pub open_reads: Gauge,
    /// Requests by what they ask for.
    pub requests: Requests,
    /// What shards do.
    pub storage: Storage,
    /// What watches cost.
    pub watches: Watches,
    /// Links to other members.
    pub peers: Peers,
    at_scrape: AtScrape,
    process: process::Gauges,
}

/// Gauges that are read from elsewhere when somebody scrapes.
#[derive(Default)]
struct AtScrape {
    has_leader: Gauge,
    is_leader: Gauge,
    is_learner: Gauge,
    committed: Gauge<u64, AtomicU64>,
    applied: Gauge<u64, AtomicU64>,
    store_bytes: Gauge<u64, AtomicU64>,
    store_bytes_in_use: Gauge<u64, AtomicU64>,
    revision: Gauge,
    compact_revision: Gauge,
    disk_full: Gauge,
    auth_revision: Gauge<u64, AtomicU64>,
    live_keys: Gauge<u64, AtomicU64>,
    put_bytes: Gauge<u64, AtomicU64>,
    puts: Counter,
    deletes: Counter,
    compacted: Counter,
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new(constants: &Constants) -> Arc<Self> {
        let metrics = Self {
            registry: Registry::default(),
            // etcd's buckets: 1 ms to 8 s; ours begin where fast disks are.
            wal_fsync_seconds: Histogram::new(exponential_buckets(1.0 / 64_000.0, 2.0, 20)),
            backend_commit_seconds: Histogram::new(exponential_buckets(1.0 / 64_000.0, 2.0, 20)),
            // etcd's: 10 ms to 11 minutes.
            backend_snapshot_seconds: Histogram::new(exponential_buckets(0.01, 2.0, 17)),
            wal_write_bytes: Counter::default(),
            stages: Arc::default(),
            batch_commands: Histogram::new(exponential_buckets(1.0, 2.0, 15)),
            proposals_failed: Counter::default(),
            leader_changes: Counter::default(),
            health_success: Gauge::default(),
            health_failures: Gauge::default(),
            grpc_started: Family::default(),
            grpc_handled: Family::default(),
            grpc_handling: Family::default(),
            client_requests: Family::default(),
            read_indexes_failed: Counter::default(),
            read_indexes_slow: Counter::default(),
            scrapes: Counter::default(),
            grpc_received: Family::default(),
            grpc_sent: Family::default(),
            client_received_bytes: Counter::default(),
            client_sent_bytes: Counter::default(),
            watch_streams: Gauge::default(),
            watchers: Gauge::default(),
            slow_watchers: Gauge::default(),
            watch_events: Counter::default(),
            pending_events: Gauge::default(),
            proposals_pending: Gauge::default(),
            stable_index: Gauge::default(),
            late_heartbeats: Counter::default(),
            leases_expired: Counter::default(),
            leases: Gauge::default(),
            open_reads: Gauge::default(),
            requests: Requests::default(),
            storage: Storage::default(),
            watches: Watches::default(),
            peers: Peers::default(),
            at_scrape: AtScrape::default(),
            process: process::Gauges::default(),
        };
        Arc::new(metrics.registered(constants))
    }

    fn registered(mut self, constants: &Constants) -> Self {
        let mut registry = Registry::default();
        self.register_server(&mut registry);
        self.register_network(&mut registry);
        self.register_storage(&mut registry);
        self.register_watch(&mut registry);
        self.requests.register(&mut registry);
        self.storage.register(&mut registry);
        self.watches.register(&mut registry);
        self.peers.register(&mut registry);
        absent::register(&mut registry);
        self.process.register(&mut registry);
        self.register_calls(&mut registry, constants.extensive);
        register_constants(&mut registry, constants);
        self.registry = registry;
        self
    }

    fn register_server(&self, r: &mut Registry) {
        let s = &self.at_scrape;
        r.register("etcd_server_has_leader", "Whether a leader is known", s.has_leader.clone());
        r.register("etcd_server_is_leader", "Whether this member leads", s.is_leader.clone());
        r.register("etcd_server_is_learner", "Whether this member only learns", s.is_learner.clone());
        let help = "Changes of the leader seen";
        r.register("etcd_server_leader_changes_seen", help, self.leader_changes.clone());
        // etcd's own type for these two is gauge in spite of the names.
        r.register("etcd_server_proposals_committed_total", "Log index committed", s.committed.clone());
        r.register("etcd_server_proposals_applied_total", "Log index applied", s.applied.clone());
        let help = "Heartbeats of this leader that were late by more than an interval";
        r.register("etcd_server_heartbeat_send_failures", help, self.late_heartbeats.clone());
        let help = "Leases whose time was over";
        r.register("etcd_debugging_server_lease_expired", help, self.leases_expired.clone());
        r.register("windlass_leases", "Leases that there are", self.leases.clone());
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

    fn register_calls(&self, r: &mut Registry, extensive: bool) {
        let help = "Requests by the API version that the client speaks";
        r.register("etcd_server_client_requests", help, self.client_requests.clone());
        let help = "Questions for the place of reads in history without an answer";
        r.register("etcd_server_read_indexes_failed", help, self.read_indexes_failed.clone());
        let help = "Such questions that took longer than half a second";
        r.register("etcd_server_slow_read_indexes", help, self.read_indexes_slow.clone());
        r.register("promhttp_metric_handler_requests", "Scrapes answered", self.scrapes.clone());
        // This one.
        let in_flight: Gauge = Gauge::default();
        in_flight.set(1);
        r.register("promhttp_metric_handler_requests_in_flight", "Scrapes being answered", in_flight);
        if extensive {
            let help = "Seconds from a call's head to its answer";
            r.register("grpc_server_handling_seconds", help, self.grpc_handling.clone());
        }
    }

    fn register_storage(&self, r: &mut Registry) {
        let s = &self.at_scrape;
        let help = "Seconds from submission to completion of a log write";
        r.register("etcd_disk_wal_fsync_duration_seconds", help, self.wal_fsync_seconds.clone());
        // A write is complete only when it is durable: there is no time of a write alone.
        let help = "The same: a write is complete when it is durable";
        r.register("etcd_disk_wal_write_duration_seconds", help, self.wal_fsync_seconds.clone());
        let help = "Seconds from submission to completion of a flush of a shard's log";
        r.register("etcd_disk_backend_commit_duration_seconds", help, self.backend_commit_seconds.clone());
        let help = "Seconds that a snapshot for a client took";
        r.register(
            "etcd_disk_backend_snapshot_duration_seconds",
            help,
            self.backend_snapshot_seconds.clone(),
        );
        let help = "Bytes written to the Raft log";
        r.register("etcd_disk_wal_write_bytes", help, self.wal_write_bytes.clone());
        let help = "Bytes of keys and values in the store";
        r.register("etcd_mvcc_db_total_size_in_bytes", help, s.store_bytes.clone());
        r.register("etcd_mvcc_db_total_size_in_use_in_bytes", help, s.store_bytes_in_use.clone());
        r.register("etcd_mvcc_put", "Keys written", s.puts.clone());
        r.register("etcd_mvcc_delete", "Keys deleted", s.deletes.clone());
        let help = "Bytes of keys and values written";
        r.register("etcd_debugging_mvcc_total_put_size_in_bytes", help, s.put_bytes.clone());
        let help = "Versions that compaction removed";
        r.register("etcd_debugging_mvcc_db_compaction_keys", help, s.compacted.clone());
        let help = "Reads in progress";
        r.register("etcd_mvcc_db_open_read_transactions", help, self.open_reads.clone());
        r.register("etcd_debugging_mvcc_keys_total", "Keys that live now", s.live_keys.clone());
        r.register("etcd_debugging_mvcc_current_revision", "Newest revision", s.revision.clone());
        let help = "Revision compacted last";
        r.register("etcd_debugging_mvcc_compact_revision", help, s.compact_revision.clone());
        let help = "Revision of users and roles";
        r.register("etcd_debugging_auth_revision", help, s.auth_revision.clone());
        self.stages.register(r);
        r.register("windlass_batch_commands", "Commands in one Raft entry", self.batch_commands.clone());
        let help = "Log index up to which every shard is durable by itself";
        r.register("windlass_stable_index", help, self.stable_index.clone());
        let help = "Whether writes are refused because the disk has no room";
        r.register("windlass_disk_full", help, s.disk_full.clone());
    }

    /// etcd's own type for all of these but the second is gauge in spite of the names.
    fn register_watch(&self, r: &mut Registry) {
        let name = |what: &str| format!("etcd_debugging_mvcc_{what}");
        r.register(name("watch_stream_total"), "Watch streams that are open", self.watch_streams.clone());
        r.register(name("events"), "Events sent to watches", self.watch_events.clone());
        r.register(name("watcher_total"), "Watches that are open", self.watchers.clone());
        r.register(name("slow_watcher_total"), "Watches that are behind", self.slow_watchers.clone());
        let help = "Events that watches wait for or have not taken";
        r.register(name("pending_events_total"), help, self.pending_events.clone());
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
        s.is_learner.set(flag(published.is_learner()));
        s.committed.set(published.committed().0);
        s.applied.set(published.applied().0);
        s.store_bytes.set(published.store_bytes());
        s.store_bytes_in_use.set(published.store_bytes());
        s.revision.set(published.revision().0);
        s.compact_revision.set(published.compact_revision().0);
        s.auth_revision.set(published.auth_revision());
        s.disk_full.set(flag(published.is_full()));
        s.live_keys.set(published.live_keys());
        let totals = published.totals();
        s.put_bytes.set(totals.put_bytes);
        let counters =
            [(&s.puts, totals.puts), (&s.deletes, totals.deletes), (&s.compacted, totals.compacted)];
        for (counter, total) in counters {
            // Two scrapes at once may each add a part; neither shows more than there was.
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.process.look();
        let mut text = String::with_capacity(16 << 10);
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("strings take any text");
        text
    }
}

/// What is true for as long as the process runs.
fn register_constants(r: &mut Registry, constants: &Constants) {
    let mut one = |name: &str, help: &str, label: (&'static str, String)| {
        let info: Family<Vec<(&'static str, String)>, Gauge> = Family::default();
        info.get_or_create(&vec![label]).set(1);
        r.register(name, help, info);
    };
    let Constants { version, member, sync_mode, .. } = constants;
    let cluster = version.rsplit_once('.').map_or(*version, |(minor, _)| minor).to_owned();
    one("etcd_server_version", "Version that clients are told", ("server_version", (*version).to_owned()));
    one("etcd_cluster_version", "Version of all members together", ("cluster_version", cluster));
    one("etcd_server_id", "This member's id in base 16", ("server_id", format!("{:x}", member.0)));
    one("etcd_server_go_version", "There is no Go in it", ("server_go_version", "none".to_owned()));
    one("windlass_log_sync_mode", "How a log write is made durable", ("mode", sync_mode.to_string()));
    let quota: Gauge<u64, AtomicU64> = Gauge::default();
    quota.set(constants.quota_bytes);
    r.register("etcd_server_quota_backend_bytes", "Configured limit of the store's size", quota);
}

#[cfg(test)]
mod tests {
    use windlass_records::batch::Origin;
    use windlass_records::state::State;
    use windlass_types::{ClusterId, MemberId};

    use super::*;

    fn published() -> Published {
        let origin = Origin { member: MemberId(2), incarnation: 1 };
        Published::new(ClusterId(1), origin, 1, State::EMPTY)
    }

    fn metrics() -> Arc<Metrics> {
        let (version, member, sync_mode) = ("3.6.14", MemberId(0xab), SyncMode::Dsync);
        let metrics =
            Metrics::new(&Constants { version, member, sync_mode, quota_bytes: 7, extensive: true });
        // What has labels is only shown where there is something to show.
        let labels = GrpcLabels { grpc_type: "unary", grpc_service: "s", grpc_method: "m", grpc_code: "" };
        drop(metrics.grpc_started.get_or_create(&labels));
        drop(metrics.grpc_handled.get_or_create(&labels));
        drop(metrics.grpc_received.get_or_create(&labels));
        drop(metrics.grpc_sent.get_or_create(&labels));
        let mut durations = windlass_rpc::Durations::default();
        durations.add(std::time::Duration::from_millis(1));
        let link = windlass_peer::PeerStats {
            connected_since: Some(std::time::Instant::now()),
            round_trip: Some(std::time::Duration::from_micros(100)),
            ..Default::default()
        };
        metrics.peers.tell(member, vec![link]);
        metrics.grpc_handling.get_or_create(&labels).add(&durations);
        let labels = ClientLabels { r#type: "unary", client_api_version: "3.6".to_owned() };
        metrics.client_requests.get_or_create(&labels).inc();
        let answered = windlass_rpc::RouteCounters { handling: durations, ..Default::default() };
        metrics.requests.add("/etcdserverpb.KV/Range", &answered, &windlass_rpc::RouteCounters::default());
        metrics
    }

    /// Names that etcd's own test looks for: `tests/e2e/metrics_test.go` at v3.6.
    const ETCD_NAMES: &str = "cluster_version disk_backend_commit_duration_seconds \
        disk_backend_defrag_duration_seconds disk_backend_snapshot_duration_seconds disk_wal_fsync_duration_seconds \
        disk_wal_write_duration_seconds disk_defrag_inflight disk_wal_write_bytes_total mvcc_delete_total \
        mvcc_put_total mvcc_range_total mvcc_txn_total mvcc_db_open_read_transactions mvcc_hash_duration_seconds \
        mvcc_hash_rev_duration_seconds mvcc_db_total_size_in_bytes mvcc_db_total_size_in_use_in_bytes \
        network_active_peers network_known_peers server_apply_duration_seconds server_range_duration_seconds \
        server_request_duration_seconds server_id server_go_version server_version server_is_leader \
        server_is_learner server_has_leader server_client_requests_total server_health_failures \
        server_health_success server_heartbeat_send_failures_total server_learner_promote_successes \
        server_read_indexes_failed_total server_slow_apply_total server_slow_read_indexes_total \
        server_snapshot_apply_in_progress_total server_quota_backend_bytes snap_db_fsync_duration_seconds \
        snap_db_save_total_duration_seconds snap_fsync_duration_seconds grpc_proxy_cache_hits_total \
        grpc_proxy_cache_keys_total grpc_proxy_cache_misses_total grpc_proxy_events_coalescing_total \
        grpc_proxy_watchers_coalescing_total debugging_disk_backend_commit_rebalance_duration_seconds \
        debugging_disk_backend_commit_spill_duration_seconds debugging_disk_backend_commit_write_duration_seconds \
        debugging_lease_granted_total debugging_lease_renewed_total debugging_lease_revoked_total \
        debugging_lease_ttl_total debugging_mvcc_compact_revision debugging_mvcc_current_revision \
        debugging_mvcc_db_compaction_keys_total debugging_mvcc_db_compaction_last \
        debugging_mvcc_db_compaction_pause_duration_milliseconds \
        debugging_mvcc_db_compaction_total_duration_milliseconds debugging_mvcc_events_total \
        debugging_mvcc_index_compaction_pause_duration_milliseconds debugging_mvcc_keys_total \
        debugging_mvcc_pending_events_total debugging_mvcc_slow_watcher_total \
        debugging_mvcc_total_put_size_in_bytes debugging_mvcc_watch_stream_total debugging_mvcc_watcher_total \
        debugging_server_lease_expired_total debugging_server_watch_send_loop_control_stream_duration_seconds \
        debugging_server_watch_send_loop_progress_duration_seconds \
        debugging_server_watch_send_loop_watch_stream_duration_seconds \
        debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds \
        debugging_snap_save_marshalling_duration_seconds debugging_snap_save_total_duration_seconds \
        debugging_store_expires_total debugging_store_watch_requests_total debugging_store_watchers \
        debugging_auth_revision";

    #[test]
    fn every_name_of_etcds_is_there() {
        let text = metrics().encode_text(&published());
        let has = |name: &str| text.contains(&format!("# TYPE etcd_{name} "));
        let missing: Vec<&str> = ETCD_NAMES.split_whitespace().filter(|name| !has(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// Name and type of each metric of `docs/reference/metrics.md`.
    fn documented() -> Vec<(String, String)> {
        let page = include_str!("../../../docs/reference/metrics.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = rows.filter_map(|row| row.split_once("` | ")).filter_map(|(name, rest)| {
            let kind = rest.split(' ').next()?;
            matches!(kind, "counter" | "gauge" | "histogram").then(|| (name.to_owned(), kind.to_owned()))
        });
        cells.collect()
    }

    #[test]
    fn the_page_on_metrics_lists_all_of_them() {
        let published = published();
        let text = metrics().encode_text(&published);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let mut shown: Vec<_> = types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        let mut listed = documented();
        shown.sort();
        listed.sort();
        assert_eq!(shown, listed, "docs/reference/metrics.md is not what /metrics shows");
    }

    #[test]
    fn durations_are_shown_as_a_histogram() {
        let published = published();
        let text = metrics().encode_text(&published);
        let labels = "grpc_method=\"m\",grpc_service=\"s\",grpc_type=\"unary\"";
        for line in [
            format!("grpc_server_handling_seconds_sum{{{labels}}} 0.001"),
            format!("grpc_server_handling_seconds_count{{{labels}}} 1"),
            format!("grpc_server_handling_seconds_bucket{{le=\"0.000524288\",{labels}}} 0"),
            format!("grpc_server_handling_seconds_bucket{{le=\"0.001048576\",{labels}}} 1"),
            format!("grpc_server_handling_seconds_bucket{{le=\"+Inf\",{labels}}} 1"),
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
    }

    #[test]
    fn a_scrape_shows_state_and_process() {
        let (published, metrics) = (published(), metrics());
        metrics.wal_write_bytes.inc_by(4096);
        let text = metrics.encode(&published);
        for line in [
            "etcd_server_has_leader 0",
            "etcd_disk_wal_write_bytes_total 4096",
            "etcd_server_version{server_version=\"3.6.14\"} 1",
            "etcd_debugging_mvcc_current_revision 1",
            "etcd_server_quota_backend_bytes 7",
            "etcd_server_id{server_id=\"ab\"} 1",
            "etcd_cluster_version{cluster_version=\"3.6\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
        let resident = text.lines().find(|l| l.starts_with("process_resident_memory_bytes ")).unwrap();
        assert_ne!(resident.split(' ').nth(1), Some("0"));
    }
}
