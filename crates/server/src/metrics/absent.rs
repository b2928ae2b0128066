//! Figures of etcd's whose subject is not here, shown as what they are: nothing ever happened. Dashboards and tests that
//! look for every name of etcd's find it.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const NO_PROXY: &str = "There is no gRPC proxy in this process";
const NO_V2: &str = "There is no v2 store";
const NO_BBOLT: &str = "A step of bbolt, which is not here";
const NO_SNAP_FILE: &str = "Snapshots have no file of their own beside the data";
const RESTARTS: &str = "A process that has saved a snapshot ends for the start that installs it";

/// Names without `_total`, which the format adds.
const COUNTERS: [(&str, &str); 3] = [
    ("etcd_grpc_proxy_cache_hits", NO_PROXY),
    ("etcd_grpc_proxy_cache_misses", NO_PROXY),
    ("etcd_debugging_store_watch_requests", NO_V2),
];

const GAUGES: [(&str, &str); 6] = [
    ("etcd_grpc_proxy_cache_keys_total", NO_PROXY),
    ("etcd_grpc_proxy_events_coalescing_total", NO_PROXY),
    ("etcd_grpc_proxy_watchers_coalescing_total", NO_PROXY),
    ("etcd_debugging_store_expires_total", NO_V2),
    ("etcd_debugging_store_watchers", NO_V2),
    (
        "etcd_server_snapshot_apply_in_progress_total",
        "A snapshot is installed by a start, before anybody is answered",
    ),
];

const HISTOGRAMS: [(&str, &str); 8] = [
    ("etcd_snap_db_fsync_duration_seconds", RESTARTS),
    ("etcd_snap_db_save_total_duration_seconds", RESTARTS),
    ("etcd_snap_fsync_duration_seconds", RESTARTS),
    ("etcd_debugging_disk_backend_commit_rebalance_duration_seconds", NO_BBOLT),
    ("etcd_debugging_disk_backend_commit_spill_duration_seconds", NO_BBOLT),
    ("etcd_debugging_disk_backend_commit_write_duration_seconds", NO_BBOLT),
    ("etcd_debugging_snap_save_marshalling_duration_seconds", NO_SNAP_FILE),
    ("etcd_debugging_snap_save_total_duration_seconds", NO_SNAP_FILE),
];

/// Registers all of them.
pub(super) fn register(r: &mut Registry) {
    COUNTERS.iter().for_each(|&(name, why)| r.register(name, why, Counter::<u64>::default()));
    GAUGES.iter().for_each(|&(name, why)| r.register(name, why, Gauge::<i64>::default()));
    HISTOGRAMS.iter().for_each(|&(name, why)| r.register(name, why, Histogram::new([1.0])));
}
