//! What a run has shown, as text in the shape of etcd's benchmark and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::process::Usage;
use crate::tally::Tally;

/// The percentiles of etcd's benchmark.
const PERCENTILES: [f64; 8] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9];
const NS_PER_S: f64 = 1e9;
const BYTES_PER_MIB: f64 = 1_048_576.0;

/// The outcome of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// From the first request to the last answer, in seconds.
    pub total_s: f64,
    /// Requests that were answered well.
    pub requests: u64,
    /// The same per second.
    pub requests_per_s: f64,
    /// Latencies of those requests.
    pub latency_ns: Latency,
    /// Failed requests by error.
    pub errors: BTreeMap<String, u64>,
    /// The processes that were watched, in the order of the flags.
    pub processes: Vec<Process>,
    /// CPU time that the load generator itself took per request, in microseconds.
    pub own_cpu_us_per_request: f64,
}

/// Latencies in nanoseconds, to three digits.
#[derive(Debug, Serialize)]
#[allow(missing_docs)] // the names say it
pub struct Latency {
    pub slowest: u64,
    pub fastest: u64,
    pub average: f64,
    pub stddev: f64,
    /// Percent and latency.
    pub percentiles: Vec<(f64, u64)>,
}

/// What a watched process used during the run.
#[derive(Debug, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// `None` if it could not be read after the run: it has ended.
    pub usage: Option<Used>,
}

/// What a process used, per request that was answered well.
#[derive(Debug, Serialize)]
pub struct Used {
    /// The program's name.
    pub name: String,
    /// CPU time of all its threads in microseconds.
    pub cpu_us_per_request: f64,
    /// Bytes it sent to the disk.
    pub written_bytes_per_request: f64,
    /// Resident memory after the run.
    pub resident_bytes: u64,
}

impl Report {
    /// From what was counted in `took`. `own` is the generator's CPU time in microseconds.
    pub(crate) fn new(tally: Tally, took: Duration, own_cpu_us: u64) -> Self {
        let (requests, total_s) = (tally.latencies.len(), took.as_secs_f64());
        Self {
            total_s,
            requests,
            requests_per_s: requests as f64 / total_s,
            latency_ns: Latency::of(&tally),
            errors: tally.errors,
            processes: Vec::new(),
            own_cpu_us_per_request: per(own_cpu_us, requests),
        }
    }

    /// Adds a process as it was before and is after the run.
    pub(crate) fn add_process(&mut self, pid: u32, before: &Usage, after: Option<Usage>) {
        let usage = after.map(|after| Used {
            cpu_us_per_request: per(after.cpu_us.saturating_sub(before.cpu_us), self.requests),
            written_bytes_per_request: per(
                after.written_bytes.saturating_sub(before.written_bytes),
                self.requests,
            ),
            resident_bytes: after.resident_bytes,
            name: after.name,
        });
        self.processes.push(Process { pid, usage });
    }

    /// Whether every request was answered well and every watched process is still there.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.processes.iter().all(|process| process.usage.is_some())
    }

    /// One JSON object on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has only plain fields")
    }
}

impl Latency {
    fn of(tally: &Tally) -> Self {
        let latencies = &tally.latencies;
        Self {
            slowest: latencies.max(),
            fastest: latencies.min(),
            average: latencies.mean(),
            stddev: latencies.stdev(),
            percentiles: PERCENTILES.map(|p| (p, latencies.value_at_percentile(p))).to_vec(),
        }
    }
}

/// `sum` for each of `count`; 0 if there are none, because JSON has no infinity.
fn per(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = &self.latency_ns;
        writeln!(f, "\nSummary:")?;
        writeln!(f, "  Total:\t{:.4} secs.", self.total_s)?;
        writeln!(f, "  Slowest:\t{:.6} secs.", latency.slowest as f64 / NS_PER_S)?;
        writeln!(f, "  Fastest:\t{:.6} secs.", latency.fastest as f64 / NS_PER_S)?;
        writeln!(f, "  Average:\t{:.6} secs.", latency.average / NS_PER_S)?;
        writeln!(f, "  Stddev:\t{:.6} secs.", latency.stddev / NS_PER_S)?;
        writeln!(f, "  Requests/sec:\t{:.4}", self.requests_per_s)?;
        writeln!(f, "\nLatency distribution:")?;
        for (percent, ns) in &latency.percentiles {
            writeln!(f, "  {percent}% in {:.6} secs.", *ns as f64 / NS_PER_S)?;
        }
        self.write_usage(f)?;
        if !self.errors.is_empty() {
            writeln!(f, "\nError distribution:")?;
            self.errors.iter().try_for_each(|(why, count)| writeln!(f, "  [{count}]\t{why}"))?;
        }
        Ok(())
    }
}

impl Report {
    fn write_usage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nProcesses:")?;
        for Process { pid, usage } in &self.processes {
            let Some(used) = usage else {
                writeln!(f, "  {pid}\tended during the run")?;
                continue;
            };
            writeln!(
                f,
                "  {pid} ({})\t{:.2} us CPU and {:.0} bytes written per request, {:.1} MiB resident",
                used.name,
                used.cpu_us_per_request,
                used.written_bytes_per_request,
                used.resident_bytes as f64 / BYTES_PER_MIB,
            )?;
        }
        writeln!(f, "  load generator\t{:.2} us CPU per request", self.own_cpu_us_per_request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu_us: u64, resident_bytes: u64, written_bytes: u64) -> Usage {
        Usage { name: "server".to_owned(), cpu_us, resident_bytes, written_bytes }
    }

    fn report() -> Report {
        let mut tally = Tally::new();
        // 1 to 1000 us: the percentiles are the numbers themselves, up to rounding.
        (1..=1_000).for_each(|us| tally.answered(us * 1_000));
        tally.failed("etcdserver: too many requests", 2);
        let mut report = Report::new(tally, Duration::from_millis(500), 3_000);
        report.add_process(7, &usage(1_000, 0, 500_000), Some(usage(21_000, 3 << 20, 1_012_000)));
        report
    }

    #[test]
    fn text_has_the_shape_of_etcds_benchmark() {
        let text = report().to_string();
        let lines: Vec<_> = text.lines().collect();
        let want = "
Summary:
  Total:\t0.5000 secs.
  Slowest:\t0.001000 secs.
  Fastest:\t0.000001 secs.
  Average:\t0.000501 secs.
  Stddev:\t0.000289 secs.
  Requests/sec:\t2000.0000

Latency distribution:
  10% in 0.000100 secs.
  25% in 0.000250 secs.
  50% in 0.000500 secs.
  75% in 0.000750 secs.
  90% in 0.000900 secs.
  95% in 0.000950 secs.
  99% in 0.000990 secs.
  99.9% in 0.001000 secs.

Processes:
  7 (server)\t20.00 us CPU and 512 bytes written per request, 3.0 MiB resident
  load generator\t3.00 us CPU per request

Error distribution:
  [2]\tetcdserver: too many requests";
        assert_eq!(lines, want.lines().collect::<Vec<_>>());
    }

    #[test]
    fn json_has_the_same() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()).expect("is JSON");
        assert_eq!(json["requests"], 1_000);
        assert_eq!(json["requests_per_s"], 2_000.0);
        assert_eq!(json["errors"]["etcdserver: too many requests"], 2);
        assert_eq!(json["processes"][0]["usage"]["cpu_us_per_request"], 20.0);
        assert_eq!(json["latency_ns"]["percentiles"][7][0], 99.9);
    }

    #[test]
    fn errors_and_ended_processes_are_not_clean() {
        let clean = || Report::new(Tally::new(), Duration::from_secs(1), 0);
        assert!(clean().is_clean() && !report().is_clean());
        let mut ended = clean();
        ended.add_process(7, &usage(0, 0, 0), None);
        assert!(!ended.is_clean());
        assert!(ended.to_string().contains("7\tended during the run"), "{ended}");
    }

    #[test]
    fn a_run_without_answers_is_still_json() {
        let report = Report::new(Tally::new(), Duration::from_secs(1), 5);
        assert!(report.to_json().contains("\"own_cpu_us_per_request\": 0.0"), "{}", report.to_json());
    }
}
