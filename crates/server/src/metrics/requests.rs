//! Figures of requests by what they ask for, made of what the network counts of each method.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use windlass_api::method;
use windlass_rpc::{Code, Durations, RouteCounters};

use super::Handling;

/// Labels of a request's duration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    success: &'static str,
    r#type: &'static str,
}

/// Whether it ended well.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Success {
    success: &'static str,
}

/// Figures of the requests of this member's clients.
pub struct Requests {
    durations: Family<RequestLabels, Handling>,
    ranges: Family<Success, Handling>,
    hash: Handling,
    hash_rev: Handling,
    defrag: Handling,
    defrag_inflight: Gauge,
    range_total: Counter,
    txn_total: Counter,
    /// etcd's counter has no `_total`, which this library's would get.
    promotions: Gauge,
    leases_granted: Counter,
    leases_revoked: Counter,
    leases_renewed: Counter,
    lease_ttl_seconds: Histogram,
}

impl Requests {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "Seconds from a request's head to its answer, by method";
        r.register("etcd_server_request_duration_seconds", help, self.durations.clone());
        let help = "Seconds from a range's head to its answer";
        r.register("etcd_server_range_duration_seconds", help, self.ranges.clone());
        let help = "Seconds of Maintenance.Hash";
        r.register("etcd_mvcc_hash_duration_seconds", help, self.hash.clone());
        let help = "Seconds of Maintenance.HashKV";
        r.register("etcd_mvcc_hash_rev_duration_seconds", help, self.hash_rev.clone());
        let help = "Seconds of Maintenance.Defragment";
        r.register("etcd_disk_backend_defrag_duration_seconds", help, self.defrag.clone());
        let help = "Defragmentations under way";
        r.register("etcd_disk_defrag_inflight", help, self.defrag_inflight.clone());
        r.register("etcd_mvcc_range", "Ranges answered", self.range_total.clone());
        r.register("etcd_mvcc_txn", "Transactions answered", self.txn_total.clone());
        let help = "Learners that were promoted";
        r.register("etcd_server_learner_promote_successes", help, self.promotions.clone());
        let help = "Seconds for which leases were granted";
        r.register("etcd_debugging_lease_ttl_total", help, self.lease_ttl_seconds.clone());
        r.register("etcd_debugging_lease_granted", "Leases granted", self.leases_granted.clone());
        r.register("etcd_debugging_lease_revoked", "Leases revoked", self.leases_revoked.clone());
        r.register("etcd_debugging_lease_renewed", "Renewals answered", self.leases_renewed.clone());
    }

    /// Adds what was counted of the method at `path` since `told`.
    pub fn add(&self, path: &'static str, now: &RouteCounters, told: &RouteCounters) {
        let (all, failing) = (now.handling.since(&told.handling), now.failing.since(&told.failing));
        let well = all.since(&failing);
        let answered = now.handled[Code::Ok as usize] - told.handled[Code::Ok as usize];
        let r#type = path.rsplit('/').next().unwrap_or_default();
        for (success, durations) in [("true", &well), ("false", &failing)] {
            if durations.counts.iter().any(|&count| count > 0) {
                self.durations.get_or_create(&RequestLabels { r#type, success }).add(durations);
                if path == method::kv::RANGE {
                    self.ranges.get_or_create(&Success { success }).add(durations);
                }
            }
        }
        self.add_durations(path, &all, now);
        let counter = match path {
            method::kv::RANGE => &self.range_total,
            method::kv::TXN => &self.txn_total,
            method::cluster::MEMBER_PROMOTE => {
                self.promotions.inc_by(i64::try_from(answered).unwrap_or(i64::MAX));
                return;
            }
            method::lease::LEASE_GRANT => &self.leases_granted,
            method::lease::LEASE_REVOKE => &self.leases_revoked,
            method::lease::LEASE_KEEP_ALIVE => {
                self.leases_renewed.inc_by(now.sent - told.sent);
                return;
            }
            _ => return,
        };
        counter.inc_by(answered);
    }

    fn add_durations(&self, path: &str, all: &Durations, now: &RouteCounters) {
        match path {
            method::maintenance::HASH => self.hash.add(all),
            method::maintenance::HASH_KV => self.hash_rev.add(all),
            method::maintenance::DEFRAGMENT => {
                self.defrag.add(all);
                let open = now.started - now.handled.iter().sum::<u64>();
                self.defrag_inflight.set(i64::try_from(open).unwrap_or(i64::MAX));
            }
            _ => {}
        }
    }

    /// How many leases were granted, revoked and renewed by this member's clients.
    #[must_use]
    pub fn leases(&self) -> [u64; 3] {
        [&self.leases_granted, &self.leases_revoked, &self.leases_renewed].map(|counter| counter.get())
    }

    /// A lease was granted.
    pub fn granted(&self, ttl_s: i64) {
        self.lease_ttl_seconds.observe(ttl_s as f64);
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            durations: Family::default(),
            ranges: Family::default(),
            hash: Handling::default(),
            hash_rev: Handling::default(),
            defrag: Handling::default(),
            defrag_inflight: Gauge::default(),
            range_total: Counter::default(),
            txn_total: Counter::default(),
            promotions: Gauge::default(),
            leases_granted: Counter::default(),
            leases_revoked: Counter::default(),
            leases_renewed: Counter::default(),
            // etcd's buckets: a second to half a year.
            lease_ttl_seconds: Histogram::new(exponential_buckets(1.0, 2.0, 24)),
        }
    }
}
