//! What shards do: apply and compact.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use windlass_rpc::Durations;

use super::Handling;

/// etcd's labels; an entry is applied whole, whatever it holds, and cannot fail.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApplyLabels {
    op: &'static str,
    success: &'static str,
    version: &'static str,
}

const APPLIED: ApplyLabels = ApplyLabels { version: "v3", op: "Batch", success: "true" };

/// Figures of the shards.
pub struct Storage {
    applies: Family<ApplyLabels, Handling>,
    /// The only one of them.
    apply: Handling,
    slow_applies: Counter,
    compaction_pause_ms: Histogram,
    compaction_total_ms: Histogram,
    compacted_at: Gauge,
}

impl Default for Storage {
    fn default() -> Self {
        let applies: Family<ApplyLabels, Handling> = Family::default();
        let apply = applies.get_or_create(&APPLIED).clone();
        Self {
            applies,
            apply,
            slow_applies: Counter::default(),
            // From 1/64 ms: slices are short.
            compaction_pause_ms: Histogram::new(exponential_buckets(1.0 / 64.0, 2.0, 20)),
            compaction_total_ms: Histogram::new(exponential_buckets(1.0, 2.0, 20)),
            compacted_at: Gauge::default(),
        }
    }
}

impl Storage {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "Seconds in which a shard applied what it was handed at once";
        r.register("etcd_server_apply_duration_seconds", help, self.applies.clone());
        let help = "Such times above --warning-apply-duration";
        r.register("etcd_server_slow_apply", help, self.slow_applies.clone());
        let name = |what: &str| format!("etcd_debugging_mvcc_{what}");
        let help = "Milliseconds of a slice of compaction, for which a shard does nothing else";
        let pause = self.compaction_pause_ms.clone();
        r.register(name("db_compaction_pause_duration_milliseconds"), help, pause.clone());
        // The index is compacted in the same slices.
        r.register(name("index_compaction_pause_duration_milliseconds"), help, pause);
        let help = "Milliseconds from a shard's first slice of a compaction to its last";
        r.register(name("db_compaction_total_duration_milliseconds"), help, self.compaction_total_ms.clone());
        let help = "When a shard last ended a compaction, in seconds since 1970";
        r.register(name("db_compaction_last"), help, self.compacted_at.clone());
    }

    /// Adds what a shard's thread noted of its applies.
    pub fn applied(&self, applies: &Durations) {
        self.apply.add(applies);
    }

    /// A shard took longer than it should.
    pub fn applied_slowly(&self) {
        self.slow_applies.inc();
    }

    /// A shard compacted for a while.
    pub fn compacted(&self, pause: Duration, whole: Option<Duration>) {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        self.compaction_pause_ms.observe(ms(pause));
        if let Some(whole) = whole {
            self.compaction_total_ms.observe(ms(whole));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.compacted_at.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        }
    }
}
