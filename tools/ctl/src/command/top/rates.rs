//! What an endpoint did between two looks.

use serde_json::{Value, json};

use super::look::{Histogram, Look};

/// Stages that come after the answer of a put are not part of what clients wait for.
const AFTER_ANSWER: &str = "shard_install";

/// An endpoint as it is shown.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// As the user wrote it.
    pub endpoint: String,
    /// What it does, or why that is not known.
    pub state: Result<State, String>,
}

/// What an endpoint does.
#[derive(Clone, Debug)]
pub struct State {
    /// The newest look.
    pub now: Look,
    /// Since the look before; none after the first, or if it was started anew meanwhile.
    pub rates: Option<Rates>,
}

/// Figures of an interval.
#[derive(Clone, Debug)]
pub struct Rates {
    pub seconds: f64,
    pub puts_per_s: f64,
    pub flushes_per_s: f64,
    pub log_bytes_per_s: f64,
    /// Processors' worth of time.
    pub cpu: f64,
    pub commands_per_flush: Option<f64>,
    pub commits: Option<Histogram>,
    pub writes: Histogram,
    pub stages: Vec<Stage>,
}

/// One stage of commits.
#[derive(Clone, Debug)]
pub struct Stage {
    pub name: String,
    /// Of what clients wait for; none of what comes after their answers.
    pub share: Option<f64>,
    pub times: Histogram,
}

impl Endpoint {
    /// One that does not answer.
    pub fn silent(endpoint: &str, why: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), state: Err(why.to_owned()) }
    }

    /// One that was looked at twice.
    pub fn between(endpoint: &str, before: Option<&Look>, now: &Look) -> Self {
        let before = before.filter(|before| before.started_s == now.started_s && before.kind == now.kind);
        let rates = before.map(|before| Rates::between(before, now));
        Self { endpoint: endpoint.to_owned(), state: Ok(State { now: now.clone(), rates }) }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        match &self.state {
            Err(error) => json!({ "endpoint": self.endpoint, "error": error }),
            Ok(state) => {
                let mut told = state.now.to_json();
                told["endpoint"] = json!(self.endpoint);
                if let (Some(rates), Some(told)) = (&state.rates, told.as_object_mut()) {
                    told.extend(rates.to_json().as_object().cloned().unwrap_or_default());
                }
                told
            }
        }
    }
}

impl Look {
    fn to_json(&self) -> Value {
        json!({
            "kind": self.kind,
            "cluster": self.cluster,
            "member": self.member,
            "name": self.name,
            "role": self.role,
            "trouble": self.trouble,
            "term": self.term,
            "revision": self.revision,
            "behind": self.behind,
            "keys": self.keys,
            "db_bytes": self.bytes,
            "quota_bytes": self.quota_bytes,
            "watchers": self.watchers,
            "slow_watchers": self.slow_watchers,
            "leases": self.leases,
            "memory_bytes": self.memory_bytes,
        })
    }
}

impl Rates {
    fn between(before: &Look, now: &Look) -> Self {
        let seconds = (now.at - before.at).as_secs_f64().max(1e-3);
        let rate = |of: fn(&Look) -> f64| (of(now) - of(before)) / seconds;
        let flushes_per_s = rate(|look| look.flushes);
        let commands = now.flushed_commands.zip(before.flushed_commands).map(|(now, before)| now - before);
        let flushed = flushes_per_s * seconds;
        let commits =
            now.commits.as_ref().zip(before.commits.as_ref()).map(|(now, before)| now.since(before));
        Self {
            seconds,
            puts_per_s: rate(|look| look.puts),
            flushes_per_s,
            log_bytes_per_s: rate(|look| look.flushed_bytes),
            cpu: rate(|look| look.cpu_s),
            commands_per_flush: commands.filter(|_| flushed > 0.0).map(|commands| commands / flushed),
            commits,
            writes: now.writes.since(&before.writes),
            stages: stages(before, now),
        }
    }

    fn to_json(&self) -> Value {
        let stages = self.stages.iter().map(|stage| {
            let mut told = percentiles(&stage.times);
            told["stage"] = json!(stage.name);
            told["share"] = json!(stage.share);
            told
        });
        json!({
            "seconds": self.seconds,
            "puts_per_s": self.puts_per_s,
            "flushes_per_s": self.flushes_per_s,
            "log_bytes_per_s": self.log_bytes_per_s,
            "cpu": self.cpu,
            "commands_per_flush": self.commands_per_flush,
            "commits": self.commits.as_ref().map(percentiles),
            "flushes": percentiles(&self.writes),
            "stages": stages.collect::<Vec<_>>(),
        })
    }
}

fn percentiles(times: &Histogram) -> Value {
    let at = |share| times.percentile_ns(share).map(|ns| ns.round() as u64);
    json!({ "count": times.count(), "p50_ns": at(0.5), "p99_ns": at(0.99), "max_ns": at(1.0) })
}

fn stages(before: &Look, now: &Look) -> Vec<Stage> {
    let times = |(i, (name, now)): (usize, &(String, Histogram))| {
        let times = before.stages.get(i).map_or_else(|| now.clone(), |(_, before)| now.since(before));
        Stage { name: name.clone(), share: None, times }
    };
    let mut stages: Vec<Stage> = now.stages.iter().enumerate().map(times).collect();
    let is_waited_for = |stage: &Stage| stage.name != AFTER_ANSWER;
    let waited: f64 =
        stages.iter().filter(|stage| is_waited_for(stage)).map(|stage| stage.times.sum_ns).sum();
    for stage in &mut stages {
        stage.share = (waited > 0.0 && is_waited_for(stage)).then(|| stage.times.sum_ns / waited);
    }
    stages
}
