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
/// Who falls behind all the time is, at half of it, half as late as at the end. Whose last answers alone were late is not: of
/// that share of the end's lateness the median has less.
const LATE_AT_HALF: f64 = 0.25;
const LINGER: &str = "batch-linger";
const ADAPTIVE: &str = "adaptive";
const NO_LINGER: &str = "0s";
const LINGERS: [&str; 3] = ["linger adaptive", "linger off", "linger fixed"];

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
    /// With a bound of the p99 as a part of the goal, that.
    p99_ns_max: Option<f64>,
    /// How long a trial was to take.
    seconds: u64,
}

/// What a tuning was done with.
pub(super) struct Around {
    pub machine: Machine,
    pub device: Device,
    pub clients: u64,
    pub rate: u64,
    pub seconds: u64,
    pub write_iops: Option<u64>,
    pub member: Option<String>,
}

/// One setting, varied.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The setting.
    pub name: String,
    /// The value that it had before; empty where the server chooses one by itself.
    pub current: String,
    /// The best before, with that value.
    pub before: Trial,
    /// With other values.
    pub tried: Vec<Trial>,
    /// Values with which the server did not start or the load failed, and why.
    pub refused: Vec<String>,
    /// The best of them and the one before once more, where it was better.
    pub again: Option<(Trial, Trial)>,
    /// The best after.
    pub kept: Trial,
}

impl Step {
    /// Why it ended as it did, in a sentence; `unset` says whose value it had where none was chosen here.
    #[must_use]
    pub fn words(&self, unset: &str) -> String {
        let with = |value: &str, trial: &Trial| format!("{value} {}", figures(trial));
        let tried: Vec<_> =
            self.tried.iter().map(|one| with(&self.said(one.value(&self.name)), one)).collect();
        let tried = format!("tried {}", tried.join("; "));
        let before = self.value_before(unset);
        let Some((winner, again)) = &self.again else {
            return format!("{}: {before} stays ({}); {tried}.", self.name, figures(&self.before));
        };
        let value = self.said(winner.value(&self.name));
        let both = format!("once more {value} {}, {before} {}", figures(winner), figures(again));
        match self.kept.value(&self.name) == winner.value(&self.name) {
            true => format!(
                "{}: {value} instead of {before} ({}); {tried}; {both}.",
                self.name,
                figures(&self.before)
            ),
            false => {
                format!(
                    "{}: {before} stays ({}), as {value} did not win twice; {tried}; {both}.",
                    self.name,
                    figures(&self.before)
                )
            }
        }
    }

    /// The value before, and whose it was.
    fn value_before(&self, unset: &str) -> String {
        match (self.before.value(&self.name), self.current.as_str()) {
            ("", "") => unset.to_owned(),
            ("", current) => format!("{} ({unset})", self.said(current)),
            (value, _) => self.said(value),
        }
    }

    /// A value, and what it means where that is not plain.
    fn said(&self, value: &str) -> String {
        if self.name == LINGER && value == NO_LINGER { format!("{value} (off)") } else { value.to_owned() }
    }

    /// Its trials for the plot. Lingers are of three kinds, which are not shades of one setting.
    fn series(&self) -> Vec<Series> {
        let before = (self.current.as_str(), &self.before);
        let values = std::iter::once(before).chain(self.tried.iter().map(|one| (one.value(&self.name), one)));
        let point = |trial: &Trial| (trial.puts_per_s, trial.p99_ns);
        if self.name != LINGER {
            return vec![Series::new(self.name.clone(), values.map(|(_, trial)| point(trial)).collect())];
        }
        let of =
            |kind| values.clone().filter(move |(value, _)| kind_of(value) == kind).map(|(_, one)| point(one));
        LINGERS.iter().map(|&kind| Series::new(kind, of(kind).collect())).collect()
    }
}

fn kind_of(linger: &str) -> &'static str {
    match linger {
        ADAPTIVE => LINGERS[0],
        NO_LINGER => LINGERS[1],
        _ => LINGERS[2],
    }
}

fn figures(trial: &Trial) -> String {
    format!("{} puts/s, p99 {}", thousands(trial.puts_per_s), ns(trial.p99_ns as u64))
}

impl Report {
    pub(super) fn new(
        around: Around,
        wish: Wish,
        (base, steps, confirmed): (Trial, Vec<Step>, (Trial, Trial)),
        trials: Vec<Trial>,
    ) -> Self {
        let Around { machine, device, clients, rate, seconds, write_iops, member } = around;
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
        let p99_ns_max = wish.p99_ns_max.filter(|_| wish.goal == Goal::Throughput);
        Self {
            machine,
            device,
            goal,
            member,
            base,
            steps,
            confirmed,
            trials,
            holds,
            rate,
            p99_ns_max,
            seconds,
        }
    }

    /// That no trial kept the bound, if none did.
    fn bound_words(&self) -> Option<String> {
        let max_ns = self.p99_ns_max?;
        let nearest = self.trials.iter().min_by(|one, two| one.p99_ns.total_cmp(&two.p99_ns))?;
        (nearest.p99_ns > max_ns).then(|| {
            format!(
                "No trial kept the p99 of at most {}; the nearest had {}, with {}. Try fewer --clients, or a higher --p99.",
                ns(max_ns as u64),
                ns(nearest.p99_ns as u64),
                nearest.words(self.base_words()),
            )
        })
    }

    /// That the wanted rate was too much, if it was.
    fn rate_words(&self) -> Option<String> {
        let (rate, reached) = (self.rate? as f64, self.confirmed.0.puts_per_s);
        let late_ns = self.seconds as f64 * (rate / reached.max(1.0) - 1.0) * 1e9;
        let fell_behind = self.confirmed.0.p50_ns >= late_ns * LATE_AT_HALF;
        (reached < rate * REACHED && fell_behind).then(|| {
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
        words.extend(self.bound_words());
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
        series.extend(self.steps.iter().flat_map(Step::series));
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
            current: "2".into(),
            before: base.clone(),
            tried: vec![better.clone()],
            refused: Vec::new(),
            again: Some((better.clone(), base.clone())),
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
            seconds: 1,
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
        let late = |p50_ns| {
            let mut report = report(1_900.0);
            report.confirmed.0.p50_ns = p50_ns;
            report
        };
        let words = |rate| Report { rate, ..late(150e6) }.words().join("\n");
        assert!(words(Some(2_500)).contains("only 1,900 of 2,500 puts a second"), "{}", words(Some(2_500)));
        assert!(!words(Some(1_910)).contains("too much") && !words(None).contains("too much"));
        // Only its last answers were late.
        let words = Report { rate: Some(2_500), ..late(1e6) }.words().join("\n");
        assert!(!words.contains("too much"), "{words}");
    }

    #[test]
    fn a_bound_that_no_trial_kept_is_said() {
        let words = |ms| Report { p99_ns_max: Some(ms * 1e6), ..report(900.0) }.words().join("\n");
        assert!(
            words(0.001).contains("No trial kept the p99 of at most 1 us; the nearest had 2 ms"),
            "{}",
            words(0.001)
        );
        assert!(!words(2.0).contains("No trial kept"), "{}", words(2.0));
    }

    #[test]
    fn the_choice_is_explained_in_every_form() {
        let report = report(1_900.0);
        let html = report.to_page().to_html(&report.machine);
        for text in [report.to_string(), html, report.settings().to_text()] {
            assert!(text.contains("4 instead of 2 (the default)") && text.contains("500 writes"), "{text}");
        }
        assert!(report.to_json().contains("\"holds\": true"));
    }

    #[test]
    fn lingers_are_told_by_their_kind() {
        let (adaptive, off, fixed) =
            (trial(&[], 1_000.0), trial(&[(LINGER, "0s")], 800.0), trial(&[(LINGER, "1ms")], 1_100.0));
        let step = Step {
            name: LINGER.into(),
            current: ADAPTIVE.into(),
            before: adaptive.clone(),
            tried: vec![off, fixed.clone()],
            refused: Vec::new(),
            again: Some((Trial { puts_per_s: 900.0, ..fixed }, adaptive.clone())),
            kept: adaptive,
        };
        let words = step.words("the default");
        assert!(words.starts_with("batch-linger: adaptive (the default) stays"), "{words}");
        assert!(words.contains("as 1ms did not win twice; tried 0s (off) 800"), "{words}");
        let series = step.series();
        let names: Vec<_> = series.iter().map(|one| (one.name.as_str(), one.points.len())).collect();
        assert_eq!(names, [("linger adaptive", 1), ("linger off", 1), ("linger fixed", 1)]);
        let changed = Report { steps: vec![step], ..report(1_900.0) };
        let html = changed.to_page().to_html(&changed.machine);
        assert!(names.iter().all(|(name, _)| html.contains(name)));
    }
}
