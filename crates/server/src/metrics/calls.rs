//! Metrics of calls that are counted elsewhere and added in bulk.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use windlass_rpc::{BUCKETS, Durations};

/// Labels of a client's requests, as etcd names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClientLabels {
    /// What the client says that it speaks; `unknown` where it says nothing.
    pub client_api_version: String,
    /// `unary` or `stream`
    pub r#type: &'static str,
}

/// How long calls took: a histogram to which whole histograms are added.
#[derive(Clone, Debug, Default)]
pub struct Handling(Arc<Mutex<Durations>>);

impl Handling {
    /// Adds what an arbiter counted.
    pub fn add(&self, durations: &Durations) {
        let mut sum = self.0.lock();
        sum.counts.iter_mut().zip(&durations.counts).for_each(|(sum, count)| *sum += count);
        sum.sum += durations.sum;
    }
}

impl TypedMetric for Handling {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Handling {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let durations = self.0.lock().clone();
        let bound = |i| Durations::bound(i).map_or(f64::INFINITY, |bound| bound.as_secs_f64());
        let buckets: [(f64, u64); BUCKETS] = std::array::from_fn(|i| (bound(i), durations.counts[i]));
        let count = durations.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(durations.sum.as_secs_f64(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
