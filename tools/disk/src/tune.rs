//! `windlass-disk tune`: tries settings on a throw-away server, or on one that runs, and finds those that reach a goal on this
//! machine.
//!
//! One setting after the other is varied while the others stay at the best known, and what is best so far goes on. It is
//! not a search of everything, but each step is a comparison that can be explained.

mod live;
mod report;
mod trial;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use windlass_bench::scratch::Scratch;
use windlass_bench::throttle::Throttle;
use windlass_report::Machine;

use crate::device::Device;
use crate::flags::{Goal, TuneFlags};
use live::Live;
use report::Around;
use trial::{Subject, Trials};

pub use report::{Report, Step};
pub use trial::Trial;

/// The settings that are tuned.
const ALL: [&str; 6] = ["sync-mode", "flush-depth", "batch-linger", "batch-bytes", "net-threads", "shards"];
/// What is tried for each of them.
pub const VARIED: &[(&str, &[&str])] = &[
    ("sync-mode", &["dsync", "fdatasync"]),
    ("flush-depth", &["2", "1", "4", "8"]),
    ("batch-linger", &["adaptive", "0s", "50us", "200us", "1ms", "5ms"]),
    ("batch-bytes", &["1048576", "262144", "4194304"]),
    ("net-threads", &["1", "2", "4"]),
    ("shards", &["1", "2", "4"]),
];
/// A setting replaces the default only if it is so much better: less is noise.
const WORTH: f64 = 1.03;

/// What a tuning is to reach.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// See there.
    pub goal: Goal,
    /// With throughput: the p99 that must be kept, in nanoseconds; `None` for any.
    pub p99_ns_max: Option<f64>,
}

impl Wish {
    /// How good a trial is; more is better.
    #[must_use]
    pub fn score(&self, trial: &Trial) -> f64 {
        match (self.goal, self.p99_ns_max) {
            // One that breaks the bound is worse than any that keeps it, and the worse the further it is beyond.
            (Goal::Throughput, Some(max)) if trial.p99_ns > max => -trial.p99_ns / max,
            (Goal::Throughput, _) => trial.puts_per_s,
            (Goal::Latency, _) => 1e12 / trial.p99_ns.max(1.0),
        }
    }

    /// Whether `one` is enough better than `other` to be worth a setting.
    fn is_worth(&self, one: &Trial, other: &Trial) -> bool {
        let (one, other) = (self.score(one), self.score(other));
        if other <= 0.0 { one > other } else { one > other * WORTH }
    }
}

/// Tunes.
///
/// # Errors
/// The server cannot be started or reached, or a load fails.
pub fn run(flags: &TuneFlags) -> Result<Report> {
    match &flags.endpoint {
        Some(endpoint) => {
            let varied = chosen(flags, live::CHANGEABLE)?;
            // Of each setting the best value, and what it is to replace, may run once more.
            let trials = varied.iter().map(|(_, values)| values.len() + 2).sum();
            let live = Live::visit(endpoint, flags, trials)?;
            let mount = live.log_mount();
            let machine = Machine::with(mount.as_ref());
            let device = mount.map(Device::of).unwrap_or_default();
            sweep(flags, varied, Subject::Live(&live), (machine, device))
        }
        None => {
            let varied = chosen(flags, &ALL)?;
            let parent = flags.folder.clone().unwrap_or_else(std::env::temp_dir);
            let (machine, device) = (Machine::here(&parent), Device::under(&parent));
            let program = program(flags)?;
            let scratch = Scratch::new(&parent, "windlass-disk-tune")?;
            let throttle = flags.write_iops.map(|iops| Throttle::new(scratch.path(), iops)).transpose()?;
            let folder = scratch.path().to_path_buf();
            let subject = Subject::Own { program, folder, throttle: throttle.as_ref() };
            sweep(flags, varied, subject, (machine, device))
        }
    }
}

/// Varies one setting after the other.
fn sweep(
    flags: &TuneFlags,
    varied: Vec<(&'static str, Vec<&'static str>)>,
    subject: Subject<'_>,
    (machine, device): (Machine, Device),
) -> Result<Report> {
    let p99_ns_max = flags.p99.filter(|ms| *ms > 0.0).map(|ms| ms * 1e6);
    let wish = Wish { goal: flags.goal(), p99_ns_max };
    let around = Around {
        machine,
        device,
        clients: flags.clients,
        rate: flags.rate(),
        seconds: flags.seconds,
        write_iops: flags.write_iops,
        member: flags.endpoint.clone(),
    };
    let mut trials = Trials::new(flags, subject);
    let (mut best, mut steps) = (trials.calibrated()?, Vec::new());
    let base = best.clone();
    for (name, values) in varied {
        let step = vary(&mut trials, &wish, &best, name, &values)?;
        best = step.kept.clone();
        steps.push(step);
    }
    // The winner and the defaults once more, side by side: what was won may have been a quiet moment.
    let confirmed = (trials.again(&best)?, trials.again(&base)?);
    Ok(Report::new(around, wish, (base, steps, confirmed), trials.into_all()))
}

/// Varies one setting and keeps the best value. What is to replace the one in force must win a second time, when both run
/// once more: of several values the best is often just the one that had a quiet moment.
fn vary(trials: &mut Trials<'_>, wish: &Wish, best: &Trial, name: &str, values: &[&str]) -> Result<Step> {
    let (mut tried, mut refused) = (Vec::new(), Vec::new());
    let current = match best.value(name) {
        "" => trials.default_of(name, values),
        value => value.to_owned(),
    };
    for value in values.iter().filter(|value| **value != current) {
        let mut settings = best.settings.clone();
        settings.retain(|(known, _)| known != name);
        settings.push((name.to_owned(), (*value).to_owned()));
        match trials.run(&settings) {
            Ok(trial) => tried.push(trial),
            Err(error) if trials.is_lost() => return Err(error.context("the member is lost")),
            // Such as more locked memory than the limit allows: the others are tried all the same.
            Err(error) => refused.push(format!("{name} {value} cannot be tried: {error:#}")),
        }
    }
    let better = tried.iter().filter(|trial| wish.is_worth(trial, best));
    let winner = better.max_by(|one, two| wish.score(one).total_cmp(&wish.score(two)));
    let again = winner.and_then(|winner| {
        let both = trials.again(winner).and_then(|won| Ok((won, trials.again(best)?)));
        both.map_err(|error| refused.push(format!("{name} cannot be compared once more: {error:#}"))).ok()
    });
    let kept = match &again {
        Some((winner, before)) if wish.is_worth(winner, before) => winner,
        Some((_, before)) => before,
        None => best,
    };
    Ok(Step {
        name: name.to_owned(),
        current,
        before: best.clone(),
        kept: kept.clone(),
        tried,
        refused,
        again,
    })
}

/// The settings to vary, of those that can be, and the values to try.
fn chosen(flags: &TuneFlags, can_be: &[&str]) -> Result<Vec<(&'static str, Vec<&'static str>)>> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    for name in &flags.only {
        if !ALL.contains(&name.as_str()) {
            bail!("--only {name} is no setting that is tuned; there are {}", ALL.join(", "));
        }
        if !can_be.contains(&name.as_str()) {
            bail!(
                "--only {name} cannot be changed while a member runs, as {} can: tune it on a server of its own, without \
                 --endpoint",
                can_be.join(", ")
            );
        }
    }
    let is_wanted = |name: &str| {
        can_be.contains(&name) && (flags.only.is_empty() || flags.only.iter().any(|only| only == name))
    };
    let wanted = VARIED.iter().filter(|(name, _)| is_wanted(name));
    // More threads than CPUs only take turns.
    let fits = |name: &str, value: &str| {
        !matches!(name, "net-threads" | "shards")
            || value.parse::<usize>().is_ok_and(|threads| threads <= cpus)
    };
    Ok(wanted
        .map(|(name, values)| (*name, values.iter().copied().filter(|value| fits(name, value)).collect()))
        .collect())
}

/// As the flag says, or beside this program.
fn program(flags: &TuneFlags) -> Result<PathBuf> {
    if let Some(program) = &flags.windlass {
        return Ok(program.clone());
    }
    let beside = std::env::current_exe().context("this program has no path")?.with_file_name("windlass");
    if !beside.is_file() {
        bail!("there is no {}: say where Windlass is with --windlass", beside.display());
    }
    Ok(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(puts_per_s: f64, p99_ms: f64) -> Trial {
        Trial { puts_per_s, p99_ns: p99_ms * 1e6, ..Trial::default() }
    }

    #[test]
    fn throughput_counts_only_under_its_bound() {
        let wish = Wish { goal: Goal::Throughput, p99_ns_max: Some(10e6) };
        assert!(wish.is_worth(&trial(100.0, 5.0), &trial(900.0, 11.0)));
        assert!(!wish.is_worth(&trial(900.0, 11.0), &trial(100.0, 5.0)));
        assert!(wish.is_worth(&trial(900.0, 11.0), &trial(900.0, 12.0)), "both break it: the nearer one");
        assert!(!wish.is_worth(&trial(102.0, 5.0), &trial(100.0, 5.0)), "that is noise");
    }

    #[test]
    fn every_setting_has_values() {
        assert!(ALL.iter().eq(VARIED.iter().map(|(name, _)| name)));
    }

    #[test]
    fn latency_is_the_least() {
        let wish = Wish { goal: Goal::Latency, p99_ns_max: None };
        assert!(wish.is_worth(&trial(1.0, 4.0), &trial(9.0, 5.0)));
    }
}
