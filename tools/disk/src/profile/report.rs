//! What a profile found, for a terminal and as JSON.

use std::fmt;

use serde::Serialize;
use windlass_report::units::{bytes, ns, thousands};
use windlass_report::{Machine, Table};

use super::analysis::{Analysis, analyse};
use super::block::{self, Blocks};
use super::commits::{BEFORE_ANSWER, Flush, STAGES, Timeline};
use super::world::Moment;
use crate::device::Device;

/// What a profile found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// The disk of the member's log.
    pub device: Device,
    /// Stages with their latencies.
    pub stages: Vec<StageSummary>,
    /// What was found out.
    pub analysis: Analysis,
    /// What the disk did beneath the filesystem, by kind of request.
    pub disk: Vec<block::Summary>,
    /// What follows from it, or why it is not known.
    pub disk_words: String,
    /// What the machine did meanwhile.
    pub moments: Vec<Moment>,
    /// Flushes that could not be read.
    pub missed: u64,
    /// That the member was lost before the time was over; the report is of the time until then.
    pub lost: Option<Lost>,
    #[serde(skip)]
    pub(super) blocks: Blocks,
    #[serde(skip)]
    pub(super) timeline: Timeline,
}

/// A member that answered no more.
#[derive(Clone, Debug, Serialize)]
pub struct Lost {
    /// How long it was watched, in seconds.
    pub after_s: f64,
    /// What became of the question.
    pub why: String,
}

impl Lost {
    /// In a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { after_s, why } = self;
        format!("The member was lost after {after_s:.1} s: {why}. All this is of the time before.")
    }
}

/// One stage, over all flushes.
#[derive(Clone, Debug, Serialize)]
pub struct StageSummary {
    /// Its name.
    pub name: String,
    /// In nanoseconds.
    pub mean_ns: f64,
    /// In nanoseconds.
    pub p50_ns: u64,
    /// In nanoseconds.
    pub p99_ns: u64,
    /// In nanoseconds.
    pub max_ns: u64,
    /// Of the time before the answer; none for what comes after it.
    pub share: Option<f64>,
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        device: Device,
        timeline: Timeline,
        moments: Vec<Moment>,
        blocks: Blocks,
    ) -> Self {
        let stages = summaries(&timeline.flushes);
        let holder = blocks.holder(stages[block::STAGE].p99_ns);
        let analysis = analyse(&timeline, &moments, holder);
        let disk = blocks.summaries();
        let disk_words = match &blocks {
            Blocks::Absent(why) => format!("The disk beneath the filesystem was not looked at: {why}."),
            Blocks::Seen(_) => block::words(&disk, stages[block::STAGE].p99_ns),
        };
        let missed = timeline.missed;
        Self {
            machine,
            device,
            stages,
            analysis,
            disk,
            disk_words,
            moments,
            missed,
            lost: None,
            blocks,
            timeline,
        }
    }

    /// One JSON object on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has only plain fields")
    }

    /// Stage by stage.
    #[must_use]
    pub fn stage_table(&self) -> Table {
        let mut table = Table::new(&["stage", "share", "mean", "p50", "p99", "slowest"]);
        for stage in &self.stages {
            let share = stage.share.map_or("beside".to_owned(), |share| format!("{:.1}%", share * 100.0));
            let mean = ns(stage.mean_ns as u64);
            table.row([
                stage.name.clone(),
                share,
                mean,
                ns(stage.p50_ns),
                ns(stage.p99_ns),
                ns(stage.max_ns),
            ]);
        }
        table
    }

    /// The slowest flushes.
    #[must_use]
    pub fn slowest_table(&self, count: usize) -> Table {
        let mut flushes: Vec<&Flush> = self.timeline.flushes.iter().collect();
        flushes.sort_by_key(|flush| std::cmp::Reverse(flush.answered_ns()));
        let first_ns = self.first_ns();
        let mut table = Table::new(&[
            "slowest flushes",
            "at",
            "commands",
            "bytes",
            "slowest stage",
            "of it",
            "beside it",
        ]);
        for flush in flushes.into_iter().take(count) {
            let stage = (0..BEFORE_ANSWER).max_by_key(|&stage| flush.stages_ns[stage]).unwrap_or(0);
            table.row([
                ns(flush.answered_ns()),
                format!("{:.2} s", flush.began_ns.saturating_sub(first_ns) as f64 / 1e9),
                thousands(flush.commands as f64),
                bytes(flush.bytes),
                STAGES[stage].to_owned(),
                ns(flush.stages_ns[stage]),
                self.beside(flush),
            ]);
        }
        table
    }

    pub(super) fn first_ns(&self) -> u64 {
        self.timeline.flushes.iter().map(|flush| flush.began_ns).min().unwrap_or(0)
    }

    /// What went on while a flush was under way.
    fn beside(&self, flush: &Flush) -> String {
        let end_ns = flush.began_ns + flush.answered_ns();
        let within = |began_ns: u64, ended_ns: u64| began_ns < end_ns && ended_ns > flush.began_ns;
        let own = self
            .timeline
            .activities
            .iter()
            .filter(|one| within(one.began_ns, one.ended_ns.unwrap_or(u64::MAX)));
        let mut words: Vec<String> = own.map(|one| format!("{} of shard {}", one.work, one.shard)).collect();
        for moment in self.moments.iter().filter(|moment| within(moment.began_ns, moment.ended_ns)).take(1) {
            let writers = moment.others.iter().take(1);
            words.extend(writers.map(|(name, wrote)| format!("{name} wrote {}", bytes(*wrote))));
            let most = |some: &[(String, u64)]| some.first().map_or(0, |(_, bytes)| *bytes);
            // Of a reader only where it is the one that moved most.
            let readers = moment.readers.iter().take(1).filter(|(_, read)| *read > most(&moment.others));
            words.extend(readers.map(|(name, read)| format!("{name} read {}", bytes(*read))));
        }
        if words.is_empty() { "nothing seen".to_owned() } else { words.join(", ") }
    }
}

fn summaries(flushes: &[Flush]) -> Vec<StageSummary> {
    let sum = |stage: usize| flushes.iter().map(|flush| flush.stages_ns[stage] as f64).sum::<f64>();
    let total: f64 = (0..BEFORE_ANSWER).map(sum).sum();
    let summary = |(stage, name): (usize, &&str)| {
        let mut times: Vec<u64> = flushes.iter().map(|flush| flush.stages_ns[stage]).collect();
        times.sort_unstable();
        let at = |share: f64| {
            times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)))
        };
        let at = |share: f64| at(share).copied().unwrap_or(0);
        StageSummary {
            name: (*name).to_owned(),
            mean_ns: sum(stage) / times.len().max(1) as f64,
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            max_ns: at(1.0),
            share: (stage < BEFORE_ANSWER).then(|| sum(stage) / total.max(1.0)),
        }
    };
    STAGES.iter().enumerate().map(summary).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.device.facts() {
            writeln!(f, "  {name:12} {value}")?;
        }
        writeln!(f, "\n{}", self.stage_table().to_text())?;
        writeln!(f, "{}", self.slowest_table(8).to_text())?;
        if let Some(table) = block::table(&self.disk) {
            writeln!(f, "{}", table.to_text())?;
        }
        self.analysis.words.iter().try_for_each(|sentence| writeln!(f, "  {sentence}"))?;
        writeln!(f, "  {}", self.disk_words)?;
        if self.missed > 0 {
            writeln!(
                f,
                "  {} flushes came too fast to be read; they are in none of these figures.",
                self.missed
            )?;
        }
        if let Some(lost) = &self.lost {
            writeln!(f, "  {}", lost.words())?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn report() -> Report {
        let flush = |n: u64| Flush {
            began_ns: n * 1_000_000,
            commands: n % 7 + 1,
            bytes: 4096 * (n % 5 + 1),
            stages_ns: [5_000, 1_000, 2_000, 20_000 + n * 100, 0, 1_000, 500, 90_000],
        };
        let timeline = Timeline { flushes: (0..3_000).map(flush).collect(), ..Timeline::default() };
        let moments = vec![Moment {
            began_ns: 0,
            ended_ns: 3_000_000_000,
            others: vec![("dd (process 5)".into(), 9_000)],
            ..Moment::default()
        }];
        let blocks = Blocks::Absent("permission denied".to_owned());
        Report::new(Machine::default(), Device::default(), timeline, moments, blocks)
    }

    #[test]
    fn shares_are_of_the_time_before_the_answer() {
        let report = report();
        let shares: f64 = report.stages.iter().filter_map(|stage| stage.share).sum();
        assert!((shares - 1.0).abs() < 1e-9 && report.stages[7].share.is_none());
        assert_eq!(report.stages[3].name, "device_write");
        assert!(report.stages[3].p50_ns < report.stages[3].p99_ns);
    }

    #[test]
    fn the_advice_follows_what_the_disk_showed() {
        let said = |took_ns| {
            let flush = |n: u64| Flush {
                began_ns: n * 1_000_000,
                commands: 1,
                bytes: 4096,
                stages_ns: [0, 0, 0, if n.is_multiple_of(40) { 8_000_000 } else { 30_000 }, 0, 0, 0, 0],
            };
            let timeline = Timeline { flushes: (0..3_000).map(flush).collect(), ..Timeline::default() };
            let request = block::Request { kind: block::Kind::Write, issued_ns: 0, took_ns, bytes: 4096 };
            let blocks = Blocks::Seen(vec![request]);
            Report::new(Machine::default(), Device::default(), timeline, Vec::new(), blocks).to_string()
        };
        let (above, disk) = (said(700_000), said(7_000_000));
        assert!(above.contains("what holds writes back is above it"), "{above}");
        assert!(!above.contains("pauses") && above.contains("and the disk does not either"), "{above}");
        assert!(
            disk.contains("The disk itself takes the time") && disk.contains("the device itself pauses"),
            "{disk}"
        );
    }

    #[test]
    fn every_form_has_the_stages() {
        let report = report();
        let (text, json) = (report.to_string(), report.to_json());
        for part in ["device_write", "shard_install"] {
            assert!(text.contains(part) && json.contains(part), "{part}");
        }
        assert!(text.contains("dd (process 5) wrote"), "{text}");
        assert!(text.contains("was not looked at: permission denied."), "{text}");
    }
}
