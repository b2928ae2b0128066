//! `/console/state`: what the console and `windlassctl top` show of this member, as JSON. Sums since the process began, from
//! which a reader that looks again makes rates and percentiles of what came between; its size does not depend on the load.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use windlass_api::etcdserverpb::Member;
use windlass_peer::PeerStats;
use windlass_replica::alarm::kind_name;

use super::super::super::info::ETCD_VERSION;
use crate::metrics::{Metrics, Process};
use crate::published::Published;
use crate::stages::{BUCKETS, Flush, Stage, bucket_starts_ns, clock_ns};

/// Background work that ended longer ago than this is not told.
const LOOK_BACK_NS: u64 = 120_000_000_000;

/// How many of the slowest flushes since the last look are told.
const SLOWEST: usize = 5;

/// What the text is made of.
pub struct View<'a> {
    pub published: &'a Published,
    pub metrics: &'a Metrics,
    pub quota_bytes: Option<u64>,
    /// Whether the address that was asked serves the JSON gateway.
    pub gateway: bool,
    /// Whether the caller may know names and addresses of members.
    pub shows_members: bool,
    /// An alarm.
    pub trouble: Option<String>,
    /// The number of the first flush that is new to the reader.
    pub since: u64,
}

impl View<'_> {
    /// All of it.
    pub fn to_json(&self) -> Value {
        let (published, metrics) = (self.published, self.metrics);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let trouble =
            self.trouble.clone().or_else(|| (published.leader().0 == 0).then(|| "no leader".to_owned()));
        json!({
            "clock_ns": clock_ns(),
            "unix_ms": u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            "windlass": env!("CARGO_PKG_VERSION"),
            "etcd": ETCD_VERSION,
            "gateway": self.gateway,
            "auth": { "enabled": published.is_auth_enabled(), "shows_members": self.shows_members },
            "trouble": trouble,
            "serving": published.is_serving(),
            "raft": self.raft(),
            "members": self.members(),
            "alarms": self.alarms(),
            "store": self.store(),
            "shards": self.shards(),
            "watches": {
                "streams": metrics.watch_streams.get(),
                "watchers": metrics.watchers.get(),
                "slow": metrics.slow_watchers.get(),
                "events": metrics.watch_events.get(),
                "pending": metrics.pending_events.get(),
            },
            "leases": self.leases(),
            "commands": {
                "pending": metrics.proposals_pending.get(),
                "failed": metrics.proposals_failed.get(),
                "leader_changes": metrics.leader_changes.get(),
            },
            "process": process(),
            "commits": self.commits(),
            "work": self.work(),
        })
    }

    fn raft(&self) -> Value {
        let published = self.published;
        json!({
            "cluster": hex(published.cluster.0),
            "member": hex(published.member.0),
            "leader": hex(published.leader().0),
            "term": published.term().0,
            "last_index": published.last_index().0,
            "committed": published.committed().0,
            "applied": published.applied().0,
            "stable": self.metrics.stable_index.get(),
            "revision": published.revision().0,
            "compacted": published.compact_revision().0,
        })
    }

    fn members(&self) -> Value {
        let links = self.metrics.peers.links();
        let members = self.published.members();
        let told = members.iter().map(|member| {
            let us = member.id == self.published.member.0;
            let link = links.get(&windlass_types::MemberId(member.id));
            self.member(member, us, link)
        });
        Value::Array(told.collect())
    }

    fn member(&self, member: &Member, us: bool, link: Option<&PeerStats>) -> Value {
        let now = Instant::now();
        let mut told = json!({
            "id": hex(member.id),
            "us": us,
            "learner": member.is_learner,
            "connected": us || link.is_some_and(|link| link.connected_since.is_some() && link.heard),
            "connected_s": link.and_then(|link| link.connected_since).map(|since| (now - since).as_secs()),
            "round_trip_us": link.and_then(|link| link.round_trip).map(|time| time.as_micros() as u64),
            "queued_bytes": link.map(|link| link.queued_bytes),
        });
        if self.shows_members {
            told["name"] = json!(member.name);
            told["client_urls"] = json!(member.client_ur_ls);
            told["peer_urls"] = json!(member.peer_ur_ls);
        }
        told
    }

    fn alarms(&self) -> Value {
        let alarms = self.published.alarms();
        let told = alarms
            .iter()
            .map(|alarm| json!({ "member": hex(alarm.member_id), "kind": kind_name(alarm.alarm) }));
        Value::Array(told.collect())
    }

    fn store(&self) -> Value {
        let (published, totals) = (self.published, self.published.totals());
        json!({
            "bytes": published.store_bytes(),
            "quota_bytes": self.quota_bytes,
            "disk_full": published.is_full(),
            "keys": published.live_keys(),
            "puts": totals.puts,
            "put_bytes": totals.put_bytes,
            "deletes": totals.deletes,
            "compacted": totals.compacted,
            "log_bytes": self.metrics.wal_write_bytes.get(),
        })
    }

    fn shards(&self) -> Value {
        let applied = self.published.applied().0;
        let shards = self.published.shards().into_iter().map(|shard| {
            json!({
                "bytes": shard.bytes,
                "keys": shard.keys,
                "puts": shard.puts,
                "deletes": shard.deletes,
                "behind": applied.saturating_sub(shard.complete.0),
            })
        });
        Value::Array(shards.collect())
    }

    fn leases(&self) -> Value {
        let [granted, revoked, renewed] = self.metrics.requests.leases();
        json!({
            "count": self.metrics.leases.get(),
            "granted": granted,
            "revoked": revoked,
            "renewed": renewed,
            "expired": self.metrics.leases_expired.get(),
        })
    }

    fn commits(&self) -> Value {
        let stages = &self.metrics.stages;
        let sums = stages.recent.sums();
        let (next, slowest) = stages.recent.slowest(self.since, SLOWEST);
        let each = Stage::ALL.into_iter().map(|stage| {
            let (counts, sum_ns) = stages.histograms.read(stage as usize);
            json!({ "stage": stage.name(), "sum_ns": sum_ns, "counts": sparse(&counts) })
        });
        json!({
            "bucket_starts_ns": bucket_starts_ns().to_vec(),
            "stages": each.collect::<Vec<_>>(),
            "answered": { "sum_ns": sums.answered_ns, "counts": sparse(&sums.answered) },
            "flushes": sums.flushes,
            "commands": sums.commands,
            "bytes": sums.bytes,
            "by_commands": sums.by_commands.to_vec(),
            "by_bytes": sums.by_bytes.to_vec(),
            "next": next,
            "slowest": slowest.iter().map(slow_flush).collect::<Vec<_>>(),
        })
    }

    fn work(&self) -> Value {
        let work = self.metrics.stages.recent.activities(clock_ns().saturating_sub(LOOK_BACK_NS));
        let told = work.into_iter().map(|one| {
            json!({ "work": one.work.name(), "shard": one.shard, "began_ns": one.began_ns, "ended_ns": one.ended_ns })
        });
        Value::Array(told.collect())
    }
}

/// Ids do not fit into a JSON number of JavaScript's.
fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// Bucket and count of the buckets that hold something.
fn sparse(counts: &[u64; BUCKETS]) -> Vec<[u64; 2]> {
    let counts = (0..).zip(counts);
    counts.filter(|&(_, &count)| count > 0).map(|(bucket, &count)| [bucket, count]).collect()
}

fn slow_flush(flush: &Flush) -> Value {
    let (stage, stage_ns) = flush.slowest();
    json!({
        "began_ns": flush.began_ns,
        "took_ns": flush.answered_ns(),
        "stage": stage.name(),
        "stage_ns": stage_ns,
        "commands": flush.commands,
        "bytes": flush.bytes,
    })
}

fn process() -> Value {
    let process = Process::read();
    json!({
        "pid": std::process::id(),
        "resident_bytes": process.as_ref().map(|process| process.resident_bytes),
        "cpu_s": process.as_ref().map(|process| process.cpu_seconds),
        "started_s": process.as_ref().map(|process| process.started_at),
        "threads": process.as_ref().map(|process| process.threads),
        "open_fds": process.as_ref().map(|process| process.open_fds),
    })
}
