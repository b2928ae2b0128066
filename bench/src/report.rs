//! What a run has shown: figures for programs (JSON), for a terminal ([`mod@text`]) and for a browser ([`page`]).

mod page;
mod text;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde::Serialize;
use windlass_report::Machine;

use crate::process::Usage;
use crate::run::Outcome;
use crate::seconds::Seconds;
use crate::timeline::Timeline;

pub use page::plots_of;
pub use text::Figures;

/// The percentiles of etcd's benchmark, and one further.
const PERCENTILES: [f64; 9] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];
/// Bars of the histogram: etcd's benchmark's.
const BARS: usize = 10;
/// A generator whose threads are busy for more of the time than this is what limits the load.
const BUSY_MAX: f64 = 0.9;

/// The outcome of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The load's name.
    pub load: String,
    /// When it began, in seconds since 1970.
    pub began_unix_s: u64,
    /// From the first request to the last answer, in seconds.
    pub total_s: f64,
    /// Requests that were answered well, by class.
    pub sections: Vec<Section>,
    /// Failed requests by error.
    pub errors: BTreeMap<String, u64>,
    /// What else happened.
    pub notes: Vec<String>,
    /// The processes that were watched, in the order of the flags.
    pub processes: Vec<Process>,
    /// CPU time that the load generator itself took per request, in microseconds.
    pub own_cpu_us_per_request: f64,
    /// Share of its threads' time in which it was busy. Near 1 it, and not the server, is what limits the load.
    pub own_busy: f64,
    /// All runs, if there were several: this report is of the one with the median rate.
    pub repeats: Vec<Repeat>,
    /// Where it ran.
    pub machine: Machine,
}

/// Requests of one class.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// What they are.
    pub name: String,
    /// Those that were answered well.
    pub requests: u64,
    /// The same per second.
    pub requests_per_s: f64,
    /// Their latencies.
    pub latency_ns: Latency,
    /// The same over time.
    #[serde(serialize_with = "page::moments")]
    pub timeline: Timeline,
    /// The same by the second in which they began.
    pub seconds: Seconds,
}

/// Latencies in nanoseconds, to three digits.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)] // the names say it
pub struct Latency {
    pub slowest: u64,
    pub fastest: u64,
    pub average: f64,
    pub stddev: f64,
    /// Percent and latency.
    pub percentiles: Vec<(f64, u64)>,
    /// Upper end of each bar of etcd's histogram, and how many are in it.
    pub histogram: Vec<(u64, u64)>,
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

/// What a watched process used during the run.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// `None` if it could not be read after the run: it has ended.
    pub usage: Option<Used>,
}

/// What a process used, per request that was answered well.
#[derive(Clone, Debug, Serialize)]
pub struct Used {
    /// The program's name.
    pub name: String,
    /// CPU time of all its threads in microseconds.
    pub cpu_us_per_request: f64,
    /// Bytes it sent to the disk.
    pub written_bytes_per_request: f64,
    /// Resident memory after the run.
    pub resident_bytes: u64,
    /// The most of it during the run.
    pub peak_bytes: u64,
}

/// One of several runs.
#[derive(Clone, Debug, Serialize)]
pub struct Repeat {
    /// Requests per second.
    pub requests_per_s: f64,
    /// Latencies in nanoseconds.
    pub p50_ns: u64,
    /// See `p50_ns`.
    pub p99_ns: u64,
    /// CPU time per request of the watched processes together, in microseconds.
    pub cpu_us_per_request: f64,
}

impl Report {
    /// Of a run. `own_cpu_us` is the generator's CPU time in microseconds, on `threads` threads.
    pub(crate) fn new(load: &str, outcome: Outcome, own_cpu_us: u64, threads: usize) -> Self {
        let Outcome { tally, classes, took } = outcome;
        let total_s = took.as_secs_f64();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let sections = classes.iter().zip(tally.classes).map(|(name, class)| Section {
            name: (*name).to_owned(),
            requests: class.latencies.len(),
            requests_per_s: class.latencies.len() as f64 / total_s,
            latency_ns: Latency::of(&class.latencies),
            timeline: class.timeline,
            seconds: class.seconds,
        });
        let sections: Vec<_> = sections.collect();
        let requests = sections.iter().map(|section| section.requests).sum();
        Self {
            load: load.to_owned(),
            began_unix_s: now.saturating_sub(took).as_secs(),
            total_s,
            sections,
            errors: tally.errors,
            notes: tally.notes.iter().map(|(what, count)| format!("{count} {what}")).collect(),
            processes: Vec::new(),
            own_cpu_us_per_request: per(own_cpu_us, requests),
            own_busy: own_cpu_us as f64 / (total_s * 1e6 * threads as f64),
            repeats: Vec::new(),
            machine: Machine::here(Path::new(".")),
        }
    }

    /// The report with the median rate, with the figures of all and the errors of all.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn median(mut reports: Vec<Self>) -> Self {
        if reports.len() == 1 {
            return reports.remove(0);
        }
        let repeats = reports.iter().map(Self::repeat).collect();
        let mut errors: BTreeMap<String, u64> = BTreeMap::new();
        for (why, count) in reports.iter().flat_map(|report| &report.errors) {
            *errors.entry(why.clone()).or_default() += count;
        }
        reports.sort_by(|one, two| one.requests_per_s().total_cmp(&two.requests_per_s()));
        let median = reports.swap_remove(reports.len() / 2);
        Self { repeats, errors, ..median }
    }

    fn repeat(&self) -> Repeat {
        let latency = |percent| self.sections.first().map_or(0, |section| section.latency_ns.at(percent));
        Repeat {
            requests_per_s: self.requests_per_s(),
            p50_ns: latency(50.0),
            p99_ns: latency(99.0),
            cpu_us_per_request: self.server_cpu_us(),
        }
    }

    /// Adds a process as it was before and is after the run.
    pub(crate) fn add_process(&mut self, pid: u32, before: &Usage, after: Option<Usage>) {
        let requests = self.requests();
        let usage = after.map(|after| Used {
            cpu_us_per_request: per(after.cpu_us.saturating_sub(before.cpu_us), requests),
            written_bytes_per_request: per(
                after.written_bytes.saturating_sub(before.written_bytes),
                requests,
            ),
            resident_bytes: after.resident_bytes,
            peak_bytes: after.peak_bytes,
            name: after.name,
        });
        self.processes.push(Process { pid, usage });
    }

    /// Adds a note.
    pub(crate) fn say(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Requests that were answered well, of all classes.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.sections.iter().map(|section| section.requests).sum()
    }

    /// The same per second.
    #[must_use]
    pub fn requests_per_s(&self) -> f64 {
        self.requests() as f64 / self.total_s
    }

    /// CPU time of the watched processes per request, in microseconds.
    #[must_use]
    pub fn server_cpu_us(&self) -> f64 {
        self.used().map(|used| used.cpu_us_per_request).sum()
    }

    /// What the watched processes used.
    pub fn used(&self) -> impl Iterator<Item = &Used> {
        self.processes.iter().filter_map(|process| process.usage.as_ref())
    }

    /// The requests of a class.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Whether the generator had no time left: then the figures are its own and not the server's.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.own_busy > BUSY_MAX
    }

    /// Whether every request was answered well and every watched process is still there.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.processes.iter().all(|process| process.usage.is_some())
    }

    /// For a terminal, with such figures.
    #[must_use]
    pub fn with(&self, figures: Figures) -> impl std::fmt::Display {
        text::Text { report: self, figures }
    }

    /// One JSON object on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has only plain fields")
    }
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let curve = latencies.iter_quantiles(4).map(|step| {
            let rest = (1.0 - step.quantile_iterated_to()).max(1e-6);
            // The slowest of a thousand says nothing of one in a million.
            ((1.0 / rest).min(latencies.len() as f64), step.value_iterated_to() as f64)
        });
        Self {
            slowest: latencies.max(),
            fastest: if latencies.is_empty() { 0 } else { latencies.min() },
            average: latencies.mean(),
            stddev: latencies.stdev(),
            percentiles: PERCENTILES.map(|p| (p, latencies.value_at_percentile(p))).to_vec(),
            histogram: bars(latencies),
            curve: if latencies.is_empty() { Vec::new() } else { curve.collect() },
        }
    }

    /// The latency at a percentile that the report has.
    #[must_use]
    pub fn at(&self, percent: f64) -> u64 {
        self.percentiles.iter().find(|(p, _)| *p >= percent).map_or(self.slowest, |(_, ns)| *ns)
    }
}

/// Evenly spaced from the fastest to the slowest, as etcd's benchmark has them.
fn bars(latencies: &Histogram<u64>) -> Vec<(u64, u64)> {
    if latencies.is_empty() {
        return Vec::new();
    }
    let (low, high) = (latencies.min(), latencies.max());
    let step = (high - low) as f64 / BARS as f64;
    let edge = |bar: usize| if bar == BARS { high } else { low + (step * bar as f64) as u64 };
    let mut bars: Vec<_> = (0..=BARS).map(|bar| (edge(bar), 0)).collect();
    for step in latencies.iter_recorded() {
        let value = step.value_iterated_to();
        let bar = bars.iter().position(|(edge, _)| value <= *edge).unwrap_or(BARS);
        bars[bar].1 += step.count_at_value();
    }
    bars
}

/// `sum` for each of `count`; 0 if there are none, because JSON has no infinity.
fn per(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tally::Tally;

    fn usage(cpu_us: u64, resident_bytes: u64, written_bytes: u64) -> Usage {
        let peak_bytes = resident_bytes + (1 << 20);
        Usage { name: "server".to_owned(), cpu_us, resident_bytes, peak_bytes, written_bytes }
    }

    fn of(tally: Tally, took: Duration, own_cpu_us: u64) -> Report {
        let names = ["put", "other"];
        let classes = names[..tally.classes.len()].to_vec();
        Report::new("put", Outcome { tally, classes, took }, own_cpu_us, 1)
    }

    pub fn report() -> Report {
        let mut tally = Tally::new(1);
        // 1 to 1000 us: the percentiles are the numbers themselves, up to rounding.
        (1..=1_000).for_each(|us| tally.answered(0, us * 500_000, us * 1_000));
        tally.failed("etcdserver: too many requests", 2);
        let mut report = of(tally, Duration::from_millis(500), 3_000);
        report.add_process(7, &usage(1_000, 0, 500_000), Some(usage(21_000, 3 << 20, 1_012_000)));
        report
    }

    #[test]
    fn json_has_the_same() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json()).expect("is JSON");
        let section = &json["sections"][0];
        assert_eq!((&section["requests"], &section["requests_per_s"]), (&1_000.into(), &2_000.0.into()));
        assert_eq!(json["errors"]["etcdserver: too many requests"], 2);
        assert_eq!(json["processes"][0]["usage"]["cpu_us_per_request"], 20.0);
        assert_eq!(section["latency_ns"]["percentiles"][7][0], 99.9);
        assert!(section["timeline"].as_array().is_some_and(|moments| moments.len() > 10));
        assert!(json["machine"]["cpus"].as_u64() > Some(0));
    }

    #[test]
    fn errors_and_ended_processes_are_not_clean() {
        let clean = || of(Tally::new(1), Duration::from_secs(1), 0);
        assert!(clean().is_clean() && !report().is_clean());
        let mut ended = clean();
        ended.add_process(7, &usage(0, 0, 0), None);
        assert!(!ended.is_clean());
        assert!(ended.to_string().contains("7\tended during the run"), "{ended}");
    }

    #[test]
    fn a_run_without_answers_is_still_json() {
        let report = of(Tally::new(1), Duration::from_secs(1), 5);
        assert!(report.to_json().contains("\"own_cpu_us_per_request\": 0.0"), "{}", report.to_json());
        assert!(report.to_page().to_html(&report.machine).contains("</html>"));
    }

    #[test]
    fn of_several_runs_the_median_is_reported_with_all_errors() {
        let run = |ms| {
            let mut tally = Tally::new(1);
            (0..100).for_each(|_| tally.answered(0, 0, 1_000));
            tally.failed("lost", 1);
            of(tally, Duration::from_millis(ms), 0)
        };
        let report = Report::median(vec![run(100), run(400), run(200)]);
        assert_eq!((report.requests_per_s(), report.repeats.len(), report.errors["lost"]), (500.0, 3, 3));
        assert!(report.to_string().contains("median 500"), "{report}");
    }

    #[test]
    fn a_busy_generator_is_named() {
        let busy = of(Tally::new(1), Duration::from_secs(1), 950_000);
        assert!(busy.is_saturated() && busy.to_string().contains("not the server"), "{busy}");
        assert!(!of(Tally::new(1), Duration::from_secs(1), 500_000).is_saturated());
    }
}
