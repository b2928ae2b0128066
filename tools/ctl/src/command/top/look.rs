//! One look at an endpoint: sums since its start, as it tells them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use windlass_client::{Security, fetch};

/// How many of something lie where, by nanoseconds: start of a bucket to its end and its count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    buckets: BTreeMap<u64, (u64, u64)>,
    /// Sum of all in nanoseconds.
    pub sum_ns: f64,
}

impl Histogram {
    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let known = |start: &u64| before.buckets.get(start).map_or(0, |&(_, count)| count);
        let buckets = self.buckets.iter().filter_map(|(start, &(end, count))| {
            let more = count.saturating_sub(known(start));
            (more > 0).then_some((*start, (end, more)))
        });
        Self { buckets: buckets.collect(), sum_ns: self.sum_ns - before.sum_ns }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.values().map(|&(_, count)| count).sum()
    }

    /// Below which a share of them lies, in nanoseconds.
    pub fn percentile_ns(&self, share: f64) -> Option<f64> {
        let mut left = self.count() as f64 * share;
        for (&start, &(end, count)) in &self.buckets {
            if left <= count as f64 {
                return Some(start as f64 + (end - start) as f64 * left / count as f64);
            }
            left -= count as f64;
        }
        self.buckets.values().last().map(|&(end, _)| end as f64)
    }

    /// From pairs of bucket and count, and where each bucket begins.
    fn of_windlass(told: &Value, starts: &[u64]) -> Self {
        let pairs = told["counts"].as_array().into_iter().flatten();
        let buckets = pairs.filter_map(|pair| {
            let (bucket, count) = (pair[0].as_u64()? as usize, pair[1].as_u64()?);
            let start = *starts.get(bucket)?;
            Some((start, (starts.get(bucket + 1).copied().unwrap_or(start + start / 4), count)))
        });
        Self { buckets: buckets.collect(), sum_ns: told["sum_ns"].as_f64().unwrap_or(0.0) }
    }

    /// From the buckets of a metric in seconds, which count all below their ends.
    fn of_metric(metrics: &Metrics<'_>, name: &str) -> Self {
        let (mut buckets, mut start, mut below) = (BTreeMap::new(), 0, 0);
        let bucket = format!("{name}_bucket{{le=\"");
        for (end, count) in metrics.0.iter().filter_map(|(key, value)| {
            let end: f64 = key.strip_prefix(&*bucket)?.strip_suffix("\"}")?.parse().ok()?;
            Some((end, *value as u64))
        }) {
            let end_ns = if end.is_finite() { (end * 1e9) as u64 } else { start * 2 };
            if count > below {
                buckets.insert(start, (end_ns, count - below));
            }
            (start, below) = (end_ns, count.max(below));
        }
        Self { buckets, sum_ns: metrics.get(&format!("{name}_sum")).unwrap_or(0.0) * 1e9 }
    }
}

/// What an endpoint told.
#[derive(Clone, Debug)]
pub struct Look {
    /// When.
    pub at: Instant,
    /// `windlass` or `etcd`.
    pub kind: &'static str,
    /// Its cluster's id, where it is told.
    pub cluster: String,
    /// Id and name of the member; the name may be kept from who is no user.
    pub member: String,
    pub name: String,
    /// `leader`, `follower` or `learner`.
    pub role: &'static str,
    /// What is wrong with it, in its own words.
    pub trouble: Option<String>,
    pub term: Option<u64>,
    pub revision: u64,
    /// Entries that are committed and not applied.
    pub behind: u64,
    pub keys: u64,
    pub bytes: u64,
    pub quota_bytes: u64,
    pub watchers: u64,
    pub slow_watchers: u64,
    pub leases: Option<u64>,
    pub memory_bytes: u64,
    pub cpu_s: f64,
    pub started_s: f64,
    pub puts: f64,
    pub flushes: f64,
    pub flushed_commands: Option<f64>,
    pub flushed_bytes: f64,
    /// From a command's arrival until its answer; none of an etcd, which does not tell.
    pub commits: Option<Histogram>,
    /// Device writes of the log.
    pub writes: Histogram,
    /// Each stage of commits.
    pub stages: Vec<(String, Histogram)>,
}

impl Look {
    /// Asks.
    ///
    /// # Errors
    /// Why there is no answer, for people.
    pub fn at(endpoint: &str, security: &Security, patience: Duration) -> Result<Self, String> {
        let ask = |path: &str| fetch(endpoint, security, path, patience);
        match ask("/console/state") {
            Ok(text) => {
                let state = serde_json::from_str(&text).map_err(|error| format!("its state: {error}"))?;
                Ok(Self::of_windlass(&state))
            }
            // An etcd, or an older member.
            Err(windlass_client::Error::Malformed(_)) => {
                let text = ask("/metrics").map_err(|error| error.to_string())?;
                Ok(Self::of_etcd(&Metrics::parse(&text)))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn of_windlass(state: &Value) -> Self {
        let number = |path: &str| state.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let float = |path: &str| state.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
        let text = |path: &str| state.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let members = state["members"].as_array().into_iter().flatten();
        let us = members.clone().find(|member| member["us"] == true).cloned().unwrap_or_default();
        let (member, leader) = (text("/raft/member"), text("/raft/leader"));
        let starts: Vec<u64> = state["commits"]["bucket_starts_ns"]
            .as_array()
            .map(|starts| starts.iter().filter_map(Value::as_u64).collect())
            .unwrap_or_default();
        let stages = state["commits"]["stages"].as_array().into_iter().flatten();
        let stages: Vec<_> = stages
            .map(|stage| {
                let name = stage["stage"].as_str().unwrap_or_default().to_owned();
                (name, Histogram::of_windlass(stage, &starts))
            })
            .collect();
        let writes = stages.iter().find(|(name, _)| name == "device_write");
        Self {
            at: Instant::now(),
            kind: "windlass",
            cluster: text("/raft/cluster"),
            role: role(member == leader, us["learner"] == true),
            member,
            name: us["name"].as_str().unwrap_or_default().to_owned(),
            trouble: state["trouble"].as_str().map(str::to_owned),
            term: Some(number("/raft/term")),
            revision: number("/raft/revision"),
            behind: number("/raft/committed").saturating_sub(number("/raft/applied")),
            keys: number("/store/keys"),
            bytes: number("/store/bytes"),
            quota_bytes: number("/store/quota_bytes"),
            watchers: number("/watches/watchers"),
            slow_watchers: number("/watches/slow"),
            leases: Some(number("/leases/count")),
            memory_bytes: number("/process/resident_bytes"),
            cpu_s: float("/process/cpu_s"),
            started_s: float("/process/started_s"),
            puts: float("/store/puts"),
            flushes: float("/commits/flushes"),
            flushed_commands: Some(float("/commits/commands")),
            flushed_bytes: float("/commits/bytes"),
            commits: Some(Histogram::of_windlass(&state["commits"]["answered"], &starts)),
            writes: writes.map(|(_, writes)| writes.clone()).unwrap_or_default(),
            stages,
        }
    }

    fn of_etcd(metrics: &Metrics<'_>) -> Self {
        let float = |name: &str| metrics.get(name).unwrap_or(0.0);
        let number = |name: &str| float(name) as u64;
        let writes = Histogram::of_metric(metrics, "etcd_disk_wal_fsync_duration_seconds");
        let is = |name: &str| float(name) > 0.0;
        Self {
            at: Instant::now(),
            kind: "etcd",
            cluster: String::new(),
            role: role(is("etcd_server_is_leader"), is("etcd_server_is_learner")),
            member: metrics.label("etcd_server_id{server_id=\""),
            name: String::new(),
            trouble: (!is("etcd_server_has_leader")).then(|| "no leader".to_owned()),
            term: None,
            revision: number("etcd_debugging_mvcc_current_revision"),
            behind: number("etcd_server_proposals_committed_total")
                .saturating_sub(number("etcd_server_proposals_applied_total")),
            keys: number("etcd_debugging_mvcc_keys_total"),
            bytes: number("etcd_mvcc_db_total_size_in_bytes"),
            quota_bytes: number("etcd_server_quota_backend_bytes"),
            watchers: number("etcd_debugging_mvcc_watcher_total"),
            slow_watchers: number("etcd_debugging_mvcc_slow_watcher_total"),
            leases: None,
            memory_bytes: number("process_resident_memory_bytes"),
            cpu_s: float("process_cpu_seconds_total"),
            started_s: float("process_start_time_seconds"),
            puts: float("etcd_mvcc_put_total"),
            flushes: writes.count() as f64,
            flushed_commands: None,
            flushed_bytes: float("etcd_disk_wal_write_bytes_total"),
            commits: None,
            writes,
            stages: Vec::new(),
        }
    }
}

fn role(leads: bool, learns: bool) -> &'static str {
    match (leads, learns) {
        (true, _) => "leader",
        (_, true) => "learner",
        _ => "follower",
    }
}

/// The samples of a page in Prometheus's text format, in its order.
struct Metrics<'a>(Vec<(&'a str, f64)>);

impl<'a> Metrics<'a> {
    fn parse(text: &'a str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            samples
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(k, v)| Some((k, v.parse().ok()?)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(key, _)| *key == name).map(|&(_, value)| value)
    }

    /// The value of the only label of a metric, which begins so.
    fn label(&self, prefix: &str) -> String {
        let found = self.0.iter().find_map(|(key, _)| key.strip_prefix(prefix)?.strip_suffix("\"}"));
        found.unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_within_their_buckets() {
        let told = serde_json::json!({ "sum_ns": 900, "counts": [[0, 2], [2, 8]] });
        let histogram = Histogram::of_windlass(&told, &[100, 200, 300, 400]);
        assert_eq!((histogram.count(), histogram.percentile_ns(0.1)), (10, Some(150.0)));
        assert_eq!(histogram.percentile_ns(1.0), Some(400.0));
        let before =
            Histogram::of_windlass(&serde_json::json!({ "counts": [[2, 7]] }), &[100, 200, 300, 400]);
        assert_eq!((histogram.since(&before).count(), Histogram::default().percentile_ns(0.5)), (3, None));
    }

    #[test]
    fn an_etcd_tells_what_it_has() {
        let page = "# HELP etcd_mvcc_put_total x\netcd_mvcc_put_total 7\netcd_server_id{server_id=\"8e9e\"} 1\n\
                    etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 3\n\
                    etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 5\n\
                    etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 5\n\
                    etcd_server_has_leader 1\netcd_server_is_leader 1\n";
        let look = Look::of_etcd(&Metrics::parse(page));
        assert_eq!((look.puts, look.member.as_str(), look.role, look.trouble), (7.0, "8e9e", "leader", None));
        assert_eq!((look.flushes, look.writes.percentile_ns(1.0)), (5.0, Some(2e6)));
    }
}
