//! What a tuning found and why, for a terminal, as JSON, as a page with the frontier, and as settings.

use std::fmt;

use serde::Serialize;
use windlass_report::chart::{self, Frame, Series};
use windlass_report::units::{Unit, ns, thousands};
use windlass_report::{Axis, Machine, Page, Table};

use super::{Trial, Wish};
use crate::device::Device;
use crate::flags::Goal;
use crate::settings::Settings;

/// A rate of which less than this share is answered was not reached.
const REACHED: f64 = 0.95;

/// What a tuning found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// The disk.
    pub device: Device,
    /// What was to be reached, in a sentence.
    pub goal: String,
    /// The running member that was tuned; without one, a server was started for each trial.
    pub member: Option<String>,
    /// The defaults, or the running member as it was.
    pub base: Trial,
    /// What was varied, in order.
    pub steps: Vec<Step>,
    /// The winner and the defaults, measured once more at the end.
    pub confirmed: (Trial, Trial),
    /// Every trial.
    pub trials: Vec<Trial>,
    /// Whether the winner was better than the defaults that second time too.
    pub holds: bool,
    /// With a rate as a part of the goal, that; puts a second.
    rate: Option<u64>,
}

/// What a tuning was done with.
pub(super) struct Around {
    pub machine: Machine,
    pub device: Device,
    pub clients: u64,
    pub rate: u64,
    pub write_iops: Option<u64>,
    pub member: Option<String>,
}

/// One setting, varied.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The setting.
    pub name: String,
    /// The best before.
    pub before: Trial,
    /// With other values.
    pub tried: Vec<Trial>,
    /// Values with which the server did not start or the load failed, and why.
    pub refused: Vec<String>,
    /// The best after.
    pub kept: Trial,
}

impl Step {
    /// Why it ended as it did, in a sentence; `unset` is the value that it has where none is tried.
    #[must_use]
    pub fn words(&self, unset: &str) -> String {
        let figures = |trial: &Trial| {
            format!("{} puts/s, p99 {}", thousands(trial.puts_per_s), ns(trial.p99_ns as u64))
        };
        let others: Vec<_> =
            self.tried.iter().map(|one| format!("{} {}", one.value(&self.name), figures(one))).collect();
        let others = others.join("; ");
        let before = match self.before.value(&self.name) {
            "" => unset.to_owned(),
            value => value.to_owned(),
        };
        match self.kept == self.before {
            true => format!("{}: {before} stays ({}); tried {others}.", self.name, figures(&self.before)),
            false => format!(
                "{}: {} instead of {before} ({}); tried {others}.",
                self.name,
                self.kept.value(&self.name),
                figures(&self.before)
            ),
        }
    }
}

impl Report {
    pub(super) fn new(
        around: Around,
        wish: Wish,
        (base, steps, confirmed): (Trial, Vec<Step>, (Trial, Trial)),
        trials: Vec<Trial>,
    ) -> Self {
        let Around { machine, device, clients, rate, write_iops, member } = around;
        let disk = match (&member, write_iops) {
            (Some(member), _) => format!(", on the running member {member}"),
            (None, Some(iops)) => format!(", on a disk limited to {iops} writes a second"),
            (None, None) => String::new(),
        };
        let goal = match (wish.goal, wish.p99_ns_max) {
            (Goal::Latency, _) => format!("The least p99 at {} puts a second{disk}.", thousands(rate as f64)),
            (Goal::Throughput, None) => format!("The most puts a second from {clients} clients{disk}."),
            (Goal::Throughput, Some(max)) => {
                format!(
                    "The most puts a second from {clients} clients with a p99 of at most {}{disk}.",
                    ns(max as u64)
                )
            }
        };
        let holds = wish.score(&confirmed.0) > wish.score(&confirmed.1);
        let rate = (wish.goal == Goal::Latency).then_some(rate);
        Self { machine, device, goal, member, base, steps, confirmed, trials, holds, rate }
    }

    /// That the wanted rate was too much, if it was.
    fn rate_words(&self) -> Option<String> {
        let (rate, reached) = (self.rate? as f64, self.confirmed.0.puts_per_s);
        (reached < rate * REACHED).then(|| {
            format!(
                "At the end only {} of {} puts a second were answered: that rate is too much here, and latencies tell how far \
                 behind the server fell rather than what suits it. Try a lower --rate.",
                thousands(reached),
                thousands(rate)
            )
        })
    }

    /// What winners are compared with.
    fn base_words(&self) -> &'static str {
        if self.member.is_some() { "its own settings" } else { "the defaults" }
    }

    /// What follows, in sentences.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![self.goal.clone()];
        for step in &self.steps {
            words.push(step.words(if self.member.is_some() { "its own value" } else { "the default" }));
            words.extend(step.refused.iter().map(|why| why.trim_end().replace('\n', " ")));
        }
        let (winner, base) = &self.confirmed;
        let figures = |trial: &Trial| {
            format!(
                "{} puts/s, p50 {}, p99 {}",
                thousands(trial.puts_per_s),
                ns(trial.p50_ns as u64),
                ns(trial.p99_ns as u64)
            )
        };
        let (won, lost, known) = (figures(winner), figures(base), self.base_words());
        words.push(match (winner.settings.is_empty(), self.holds) {
            (true, _) => format!("Nothing was clearly better than {known} ({lost}): keep them."),
            (false, true) => {
                format!("Once more, side by side: {won} with these settings, {lost} with {known}.")
            }
            (false, false) => format!(
                "Once more, side by side, the settings did not win ({won}) over {known} ({lost}): keep {known}."
            ),
        });
        words.extend(self.rate_words());
        words
    }

    /// The winner's, if it won both times.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let mut reasons = vec!["Written by windlass-disk tune.".to_owned()];
        reasons.extend(self.words());
        let values = if self.holds { self.confirmed.0.settings.clone() } else { Vec::new() };
        Settings { reasons, values }
    }

    /// One JSON object on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has only plain fields")
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["settings", "puts/s", "p50", "p99", "CPU us"]);
        for trial in &self.trials {
            table.row([
                trial.words(if self.member.is_some() { "as it is" } else { "defaults" }),
                thousands(trial.puts_per_s),
                ns(trial.p50_ns as u64),
                ns(trial.p99_ns as u64),
                format!("{:.2}", trial.cpu_us),
            ]);
        }
        table
    }

    fn frontier(&self) -> String {
        let all = self.trials.iter().map(|trial| (trial.puts_per_s, trial.p99_ns)).collect();
        let mut series = vec![Series::new("all trials, and their frontier", all)];
        for step in &self.steps {
            let points = step.tried.iter().map(|trial| (trial.puts_per_s, trial.p99_ns));
            series.push(Series::new(step.name.clone(), points.collect()));
        }
        let chosen = &self.confirmed.0;
        series.push(Series::new("chosen", vec![(chosen.puts_per_s, chosen.p99_ns)]));
        // Where the rate is fixed all points stand at it.
        let title = if self.rate.is_some() { "Trials" } else { "Trials: further right and lower is better" };
        let x = Axis::linear("puts per second", Unit::Count);
        chart::frontier(&Frame { title, x, y: Axis::log("p99 latency", Unit::Ns) }, &series)
    }

    /// As a page.
    #[must_use]
    pub fn to_page(&self) -> Page {
        let mut page = Page::new("windlass-disk tune");
        self.words().iter().for_each(|sentence| page.paragraph(sentence));
        page.plot(&self.frontier());
        page.table(&self.table());
        page.heading("Settings");
        page.text(&self.settings().to_text());
        let mut facts = Table::new(&["device", ""]);
        self.device.facts().into_iter().for_each(|(name, value)| facts.row([name.to_owned(), value]));
        page.table(&facts);
        page
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.table().to_text())?;
        self.words().iter().try_for_each(|sentence| writeln!(f, "  {sentence}"))?;
        let values = self.settings().values;
        if !values.is_empty() {
            let words: Vec<_> = values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            writeln!(f, "  Settings: {}", words.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(settings: &[(&str, &str)], puts_per_s: f64) -> Trial {
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Trial { settings, puts_per_s, p50_ns: 1e6, p99_ns: 2e6, cpu_us: 3.0 }
    }

    fn report(second: f64) -> Report {
        let (base, better) = (trial(&[], 1_000.0), trial(&[("flush-depth", "4")], 2_000.0));
        let step = Step {
            name: "flush-depth".into(),
            before: base.clone(),
            tried: vec![better.clone()],
            refused: Vec::new(),
            kept: better.clone(),
        };
        let confirmed = (Trial { puts_per_s: second, ..better.clone() }, base.clone());
        let wish = Wish { goal: Goal::Throughput, p99_ns_max: None };
        let trials = vec![base.clone(), better];
        let around = Around {
            machine: Machine::default(),
            device: Device::default(),
            clients: 9,
            rate: 0,
            write_iops: Some(500),
            member: None,
        };
        Report::new(around, wish, (base, vec![step], confirmed), trials)
    }

    #[test]
    fn a_winner_must_win_twice() {
        assert_eq!(report(1_900.0).settings().values, [("flush-depth".to_owned(), "4".to_owned())]);
        let lost = report(900.0);
        assert!(
            lost.settings().values.is_empty() && lost.to_string().contains("keep the defaults"),
            "{lost}"
        );
    }

    #[test]
    fn a_rate_that_is_too_much_is_said() {
        let words = |rate| Report { rate, ..report(1_900.0) }.words().join("\n");
        assert!(words(Some(2_500)).contains("only 1,900 of 2,500 puts a second"), "{}", words(Some(2_500)));
        assert!(!words(Some(1_910)).contains("too much") && !words(None).contains("too much"));
    }

    #[test]
    fn the_choice_is_explained_in_every_form() {
        let report = report(1_900.0);
        let html = report.to_page().to_html(&report.machine);
        for text in [report.to_string(), html, report.settings().to_text()] {
            assert!(text.contains("4 instead of the default") && text.contains("500 writes"), "{text}");
        }
        assert!(report.to_json().contains("\"holds\": true"));
    }
}
