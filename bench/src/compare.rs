//! `windlass-bench compare`: the same suite of loads against Windlass and etcd, started here, in turn.
//!
//! It must never favour one of them: both get the same flags, fresh folders, the same loads with the same seeds, and
//! go first equally often. A load in which anything failed is shown and makes the comparison fail, and the others are run.

mod page;
mod suite;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::Serialize;
use windlass_report::units::{bytes, ns, thousands};
use windlass_report::{Machine, Table};

use crate::flags::{CompareFlags, Flags};
use crate::launch::{Cluster, Launch};
use crate::scratch::Scratch;
use crate::throttle::Throttle;
use crate::{Report, run, undo};
use suite::{Entry, SEED, SUITE};

/// The systems, in the order of the table's columns.
const LABELS: [&str; 2] = ["windlass", "etcd"];

/// What a comparison has shown.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Members of each system.
    pub nodes: u64,
    /// How often a second each system could write to the disk, if that was limited.
    pub write_iops: Option<u64>,
    /// Runs of each load against each system; figures are their medians.
    pub runs: u64,
    /// Where it ran.
    pub machine: Machine,
    /// By load.
    pub rows: Vec<Row>,
    /// What failed, by load and system.
    pub failures: Vec<String>,
}

/// One class of requests of one load.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The load, and the class where it has several.
    pub name: String,
    /// What it is, with the flags of the load.
    pub what: String,
    /// Windlass, then etcd.
    pub systems: [Figures; 2],
}

/// Medians.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// Answers, or events, per second.
    pub per_s: f64,
    /// CPU time of all members for each, in microseconds.
    pub cpu_us: f64,
    /// Latencies in nanoseconds.
    pub p50_ns: f64,
    /// See `p50_ns`.
    pub p99_ns: f64,
    /// Bytes that all members sent to the disk for each.
    pub written_bytes: f64,
    /// Resident memory of all members after it, in bytes.
    pub resident_bytes: f64,
    /// The most of it meanwhile.
    pub peak_bytes: f64,
    /// CPU time of the generator for each, in microseconds.
    pub own_cpu_us: f64,
    /// Share of its time in which the generator was busy: near 1, the rate is the generator's.
    pub own_busy: f64,
}

/// Starts both systems and runs the suite.
///
/// # Errors
/// A system cannot be started or reached, or the flags name no load.
pub fn compare(flags: &CompareFlags) -> Result<Comparison> {
    let entries = chosen(flags)?;
    let parent = flags.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = Scratch::new(&parent, "windlass-bench")?;
    let throttle = flags.write_iops.map(|iops| Throttle::new(folder.path(), iops)).transpose()?;
    let machine = Machine::here(folder.path());
    let programs = [windlass_program(flags)?, flags.etcd.clone()];
    let own_flags = [&flags.windlass_flags, &flags.etcd_flags].map(|text| words(text));
    let mut clusters = Vec::new();
    for ((label, program), own) in LABELS.iter().zip(&programs).zip(&own_flags) {
        let (nodes, throttle) = (flags.nodes as usize, throttle.as_ref());
        let launch = Launch { label, program, nodes, flags: own, folder: folder.path(), throttle };
        clusters.push(Cluster::start(&launch)?);
    }
    let mut comparison = Comparison {
        nodes: flags.nodes,
        write_iops: flags.write_iops,
        runs: flags.runs,
        machine,
        rows: Vec::new(),
        failures: Vec::new(),
    };
    let outcome = comparison.fill(&mut clusters, &entries, flags);
    for cluster in clusters {
        cluster.stop()?;
    }
    outcome.map(|()| comparison)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn chosen(flags: &CompareFlags) -> Result<Vec<&'static Entry>> {
    for part in &flags.only {
        if !SUITE.iter().any(|entry| entry.name.contains(part)) {
            let names: Vec<_> = SUITE.iter().map(|entry| entry.name).collect();
            bail!("--only {part} names no load; there are {}", names.join(", "));
        }
    }
    let wanted =
        |entry: &&Entry| flags.only.is_empty() || flags.only.iter().any(|name| entry.name.contains(name));
    Ok(SUITE.iter().filter(wanted).collect())
}

/// As the flag says, or beside this program.
fn windlass_program(flags: &CompareFlags) -> Result<PathBuf> {
    if let Some(program) = &flags.windlass {
        return Ok(program.clone());
    }
    let own = std::env::current_exe().context("this program has no path")?;
    let beside = own.with_file_name("windlass");
    if !beside.is_file() {
        bail!("there is no {}: say where Windlass is with --windlass", beside.display());
    }
    Ok(beside)
}

impl Comparison {
    fn fill(&mut self, clusters: &mut [Cluster], entries: &[&Entry], flags: &CompareFlags) -> Result<()> {
        for (cluster, label) in clusters.iter_mut().zip(LABELS) {
            let seed = run_line(cluster, SEED.flags, SEED.amount)?;
            self.note_errors(&SEED, label, &seed);
        }
        for entry in entries {
            let amount = ((entry.amount as f64 * flags.scale).ceil() as u64).max(1);
            let mut reports: [Vec<Report>; 2] = [Vec::new(), Vec::new()];
            for turn in 0..flags.runs as usize {
                // A B B A: what drifts on the machine hits both alike.
                let order = if turn.is_multiple_of(2) { [0, 1] } else { [1, 0] };
                for place in order {
                    eprintln!("{}: {}, run {} of {}", entry.name, LABELS[place], turn + 1, flags.runs);
                    match run_line(&mut clusters[place], entry.flags, amount) {
                        Ok(report) => reports[place].push(report),
                        // It is told, and so is everything else that was measured and will be.
                        Err(error) => self.failed(entry, LABELS[place], &format!("{error:#}")),
                    }
                }
            }
            self.add(entry, &reports);
        }
        Ok(())
    }

    fn failed(&mut self, entry: &Entry, label: &str, why: &str) {
        if undo::is_ending() {
            // The servers were ended on purpose.
            return;
        }
        eprintln!("{}: {label} FAILED: {why}", entry.name);
        self.failures.push(format!("{}, {label}: {why}", entry.name));
    }

    fn note_errors(&mut self, entry: &Entry, label: &str, report: &Report) {
        for (why, count) in &report.errors {
            self.failed(entry, label, &format!("[{count}] {why}"));
        }
    }

    fn add(&mut self, entry: &Entry, reports: &[Vec<Report>; 2]) {
        for (label, report) in
            LABELS.iter().zip(reports).flat_map(|(label, all)| all.iter().map(move |r| (label, r)))
        {
            self.note_errors(entry, label, report);
        }
        let classes = entry.classes.iter();
        self.rows.extend(classes.map(|&class| Row {
            name: match entry.classes.len() {
                1 => entry.name.to_owned(),
                _ => format!("{}: {class}", entry.name),
            },
            what: format!("{} ({})", entry.what, entry.flags),
            systems: [0, 1].map(|place| Figures::of(&reports[place], class)),
        }));
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// All figures side by side, and how many times better Windlass is in each; below 1 it is worse.
    #[must_use]
    pub fn table(&self) -> Table {
        let head = [
            "load",
            "per second",
            "etcd",
            "ratio",
            "CPU us",
            "etcd",
            "ratio",
            "p50",
            "etcd",
            "ratio",
            "p99",
            "etcd",
            "ratio",
        ];
        let mut table = Table::new(&head);
        for Row { name, systems: [ours, theirs], .. } in &self.rows {
            let mut cells = vec![name.clone()];
            let mut add = |ours: String, theirs: String, ratio: f64| {
                cells.extend([
                    ours,
                    theirs,
                    if ratio > 0.0 { format!("{ratio:.2}") } else { "-".to_owned() },
                ]);
            };
            let text = |ns_value: f64| ns(ns_value as u64);
            add(thousands(ours.per_s), thousands(theirs.per_s), over(ours.per_s, theirs.per_s));
            add(
                format!("{:.2}", ours.cpu_us),
                format!("{:.2}", theirs.cpu_us),
                over(theirs.cpu_us, ours.cpu_us),
            );
            add(text(ours.p50_ns), text(theirs.p50_ns), over(theirs.p50_ns, ours.p50_ns));
            add(text(ours.p99_ns), text(theirs.p99_ns), over(theirs.p99_ns, ours.p99_ns));
            table.row(cells);
        }
        table
    }

    /// What the loads wrote and what the members held.
    #[must_use]
    pub fn resources(&self) -> Table {
        let mut table = Table::new(&[
            "load",
            "written each",
            "etcd",
            "resident",
            "etcd",
            "at most",
            "etcd",
            "generator us",
            "etcd",
            "busy",
            "etcd",
        ]);
        for Row { name, systems: [ours, theirs], .. } in &self.rows {
            let mut cells = vec![name.clone()];
            let mut add = |value: &dyn Fn(&Figures) -> String| cells.extend([value(ours), value(theirs)]);
            add(&|figures| bytes(figures.written_bytes as u64));
            add(&|figures| bytes(figures.resident_bytes as u64));
            add(&|figures| bytes(figures.peak_bytes as u64));
            add(&|figures| format!("{:.2}", figures.own_cpu_us));
            add(&|figures| format!("{:.0}%", figures.own_busy * 100.0));
            table.row(cells);
        }
        table
    }

    /// One JSON object on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a comparison has only plain fields")
    }

    /// As Markdown: what ran where, both tables, what the loads are, what failed.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let facts: Vec<_> =
            self.machine.facts().into_iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
        let loads: String = self.rows.iter().map(|row| format!("- {}: {}\n", row.name, row.what)).collect();
        let failures: String = self.failures.iter().map(|failure| format!("- FAILED: {failure}\n")).collect();
        format!(
            "{}\n\n{}\n{}\n{failures}{loads}\n{}",
            self.headline(),
            self.table().to_markdown(),
            self.resources().to_markdown(),
            facts.concat(),
        )
    }

    fn headline(&self) -> String {
        let disk =
            self.write_iops.map_or(String::new(), |iops| format!(", disk limited to {iops} writes a second"));
        format!(
            "{} member(s) each, medians of {} runs in turn{disk}. A ratio above 1 is in Windlass's favour.",
            self.nodes, self.runs
        )
    }
}

impl Figures {
    fn of(reports: &[Report], class: &str) -> Self {
        let median = |figure: &dyn Fn(&Report) -> f64| {
            let mut all: Vec<_> = reports.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(0.0)
        };
        let latency = |report: &Report, percent: f64| {
            report.section(class).map_or(0.0, |section| section.latency_ns.at(percent) as f64)
        };
        // Watches' creations and puts beside their events are the same work seen from elsewhere.
        let share = |report: &Report| {
            let of_class = report.section(class).map_or(0, |section| section.requests);
            if class == "watch event" { report.requests() as f64 / of_class.max(1) as f64 } else { 1.0 }
        };
        Self {
            per_s: median(&|report| report.section(class).map_or(0.0, |section| section.requests_per_s)),
            cpu_us: median(&|report| report.server_cpu_us() * share(report)),
            p50_ns: median(&|report| latency(report, 50.0)),
            p99_ns: median(&|report| latency(report, 99.0)),
            written_bytes: median(&|r| {
                r.used().map(|used| used.written_bytes_per_request).sum::<f64>() * share(r)
            }),
            resident_bytes: median(&|report| report.used().map(|used| used.resident_bytes as f64).sum()),
            peak_bytes: median(&|report| report.used().map(|used| used.peak_bytes as f64).sum()),
            own_cpu_us: median(&|report| report.own_cpu_us_per_request * share(report)),
            own_busy: median(&|report| report.own_busy),
        }
    }
}

fn over(one: f64, other: f64) -> f64 {
    if other > 0.0 { one / other } else { 0.0 }
}

/// Runs a line of the suite against the member that leads.
fn run_line(cluster: &mut Cluster, flags: &str, amount: u64) -> Result<Report> {
    let leader = cluster.leader()?;
    let pids: Vec<_> = cluster.pids().iter().map(u32::to_string).collect();
    let flags = flags.replace("{amount}", &amount.to_string());
    let line =
        format!("windlass-bench --endpoints {} --server-pid {} {flags}", leader.authority(), pids.join(","));
    let flags = Flags::try_parse_from(line.split_whitespace()).context("the suite's lines are valid")?;
    let plan = flags.plan().map_err(anyhow::Error::msg)?;
    run(&plan).with_context(|| format!("{}: {line}", cluster.label()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        let figures =
            |per_s: f64| Figures { per_s, cpu_us: 1e6 / per_s, p50_ns: 1e9 / per_s, ..Default::default() };
        let row = Row {
            name: "put-1x1".into(),
            what: "puts".into(),
            systems: [figures(3_000.0), figures(1_500.0)],
        };
        let failures = vec!["put-1x1, etcd: [3] lost".to_owned()];
        Comparison {
            nodes: 1,
            write_iops: Some(500),
            runs: 3,
            machine: Machine::default(),
            rows: vec![row],
            failures,
        }
    }

    #[test]
    fn ratios_say_how_much_better_windlass_is() {
        let table = comparison().table();
        assert_eq!(table.rows[0][..7], ["put-1x1", "3,000", "1,500", "2.00", "333.33", "666.67", "2.00"]);
        assert_eq!(table.rows[0][12], "-", "there is no ratio of nothing");
    }

    #[test]
    fn a_load_that_gave_no_report_has_its_row() {
        let mut comparison = comparison();
        comparison.add(&SUITE[0], &[Vec::new(), Vec::new()]);
        let row = comparison.table().rows.pop().expect("has rows");
        assert_eq!((row[0].as_str(), row[1].as_str(), row[3].as_str()), ("put-1x1", "0", "-"));
    }

    #[test]
    fn failures_are_shown_everywhere() {
        let comparison = comparison();
        assert!(!comparison.is_clean());
        let html = comparison.to_page().to_html(&comparison.machine);
        for text in [comparison.to_markdown(), comparison.to_json(), html] {
            assert!(text.contains("[3] lost") && text.contains("500"), "{text}");
        }
    }

    #[test]
    fn a_figure_of_nothing_leaves_the_others_their_bars() {
        let mut comparison = comparison();
        let nothing = Row { systems: [Figures::default(); 2], ..comparison.rows[0].clone() };
        comparison.rows.push(nothing);
        let plots = comparison.plots();
        let (name, rates) = &plots[0];
        assert!(name == "compare-rate-1" && rates.contains("2 k") && rates.contains("1 k"), "{rates}");
        assert!(plots[1].1.contains("500 us"), "{}", plots[1].1);
    }
}
