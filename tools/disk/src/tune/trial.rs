//! One server with one set of settings under one load.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;
use windlass_bench::access::Access;
use windlass_bench::keys::{Keys, Spread};
use windlass_bench::launch::{Cluster, Launch};
use windlass_bench::plan::{After, Job, Plan, Reach};
use windlass_bench::throttle::Throttle;
use windlass_bench::undo;
use windlass_bench::workload::{Shape, Workload};
use windlass_bench::{Report as LoadReport, run};
use windlass_client::Endpoint;

use super::live::Live;
use crate::flags::{Goal, TuneFlags};

const KEY_SPACE: u64 = 100_000;
const KEY_BYTES: usize = 32;
/// Puts by which the first trial finds out how many fill the wanted time.
const CALIBRATION_PUTS: u64 = 2_000;
/// Puts of a trial at the least and at the most, whatever the time.
const PUTS_MIN: u64 = 200;
const PUTS_MAX: u64 = 50_000_000;
/// One part in this many goes before a trial is timed: on a slow disk the server tries ways of flushing for about a second.
const WARM_UP: u64 = 4;

/// Settings and what they gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trial {
    /// Names and values; those that are missing are the server's defaults.
    pub settings: Vec<(String, String)>,
    /// Puts per second.
    pub puts_per_s: f64,
    /// Latencies in nanoseconds.
    pub p50_ns: f64,
    /// See `p50_ns`.
    pub p99_ns: f64,
    /// CPU time of the server for each put, in microseconds.
    pub cpu_us: f64,
}

impl Trial {
    /// The value of a setting; empty for the server's default.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.settings.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The settings in one line; `none` where there are none.
    #[must_use]
    pub fn words(&self, none: &str) -> String {
        if self.settings.is_empty() {
            return none.to_owned();
        }
        let words: Vec<_> = self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        words.join(", ")
    }
}

/// Where a load goes.
pub struct Target<'a> {
    /// Its members.
    pub endpoints: Vec<Endpoint>,
    /// Whom to trust and as whom to ask.
    pub access: Access,
    /// Of the keys.
    pub prefix: &'a str,
    /// How many different ones.
    pub key_space: u64,
    /// Processes whose CPU time is counted.
    pub pids: Vec<u32>,
}

/// What trials are run on.
pub enum Subject<'a> {
    /// A server for each, started in a folder.
    Own {
        /// Windlass.
        program: PathBuf,
        /// Where.
        folder: PathBuf,
        /// A slow disk.
        throttle: Option<&'a Throttle>,
    },
    /// A member that runs.
    Live(&'a Live),
}

/// Settings whose first value to try is the server's default.
const WITH_DEFAULT: &[&str] = &["flush-depth", "batch-linger", "batch-bytes"];

impl Subject<'_> {
    /// What there is where no settings are tried.
    pub fn base_words(&self) -> &'static str {
        match self {
            Self::Own { .. } => "defaults",
            Self::Live(_) => "as it is",
        }
    }
}

/// Runs trials and remembers them.
pub struct Trials<'a> {
    flags: &'a TuneFlags,
    subject: Subject<'a>,
    /// Puts of one trial.
    puts: u64,
    all: Vec<Trial>,
}

impl<'a> Trials<'a> {
    /// None yet.
    pub fn new(flags: &'a TuneFlags, subject: Subject<'a>) -> Self {
        Self { flags, subject, puts: CALIBRATION_PUTS, all: Vec::new() }
    }

    /// The value that a setting has where it is not tried; empty if that is not known.
    pub fn default_of(&self, name: &str, values: &[&str]) -> String {
        match &self.subject {
            Subject::Live(live) => live.value(name).to_owned(),
            Subject::Own { .. } if WITH_DEFAULT.contains(&name) => {
                values.first().copied().unwrap_or_default().to_owned()
            }
            Subject::Own { .. } => String::new(),
        }
    }

    /// The server's defaults, after a first run that finds out how many puts fill the wanted time.
    pub fn calibrated(&mut self) -> Result<Trial> {
        let rate = match self.flags.goal() {
            Goal::Latency => self.flags.rate() as f64,
            Goal::Throughput => self.perform(&[])?.puts_per_s,
        };
        self.puts = ((rate * self.flags.seconds as f64) as u64).clamp(PUTS_MIN, PUTS_MAX);
        self.run(&[])
    }

    /// Tries settings.
    pub fn run(&mut self, settings: &[(String, String)]) -> Result<Trial> {
        let trial = self.perform(settings)?;
        let words = trial.words(self.subject.base_words());
        eprintln!("{words}: {:.0} puts/s, p99 {:.3} ms", trial.puts_per_s, trial.p99_ns / 1e6);
        self.all.push(trial.clone());
        Ok(trial)
    }

    /// Whether there is nothing left to try settings on.
    pub fn is_lost(&self) -> bool {
        matches!(&self.subject, Subject::Live(live) if !live.answers())
    }

    /// The same settings once more.
    pub fn again(&mut self, trial: &Trial) -> Result<Trial> {
        self.run(&trial.settings.clone())
    }

    /// All of them.
    pub fn into_all(self) -> Vec<Trial> {
        self.all
    }

    fn perform(&self, settings: &[(String, String)]) -> Result<Trial> {
        let report = match &self.subject {
            Subject::Own { program, folder, throttle } => {
                self.on_a_server(program, folder, *throttle, settings)
            }
            Subject::Live(live) => live.with_settings(settings, |target| self.load(target)),
        }?;
        if !report.is_clean() {
            bail!("the load failed: {}", failure(&report));
        }
        let latency =
            |percent| report.sections.first().map_or(0.0, |section| section.latency_ns.at(percent) as f64);
        Ok(Trial {
            settings: settings.to_vec(),
            puts_per_s: report.requests_per_s(),
            p50_ns: latency(50.0),
            p99_ns: latency(99.0),
            cpu_us: report.server_cpu_us(),
        })
    }

    /// Starts one, loads it, and removes what it leaves.
    fn on_a_server(
        &self,
        program: &Path,
        folder: &Path,
        throttle: Option<&Throttle>,
        settings: &[(String, String)],
    ) -> Result<LoadReport> {
        let flags: Vec<_> = settings.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        let place = folder.join("trial");
        // Not its parents too: a signal may have removed those.
        undo::make(|| fs::create_dir(&place))?;
        let launch = Launch { label: "windlass", program, nodes: 1, flags: &flags, folder: &place, throttle };
        let report = Cluster::start(&launch).and_then(|cluster| self.load_and_stop(cluster));
        // Also what one leaves that did not start: the next one begins with nothing.
        fs::remove_dir_all(&place)?;
        report
    }

    fn load_and_stop(&self, mut cluster: Cluster) -> Result<LoadReport> {
        let endpoints = cluster.endpoints();
        let access = Access::default();
        let report =
            self.load(Target { endpoints, access, prefix: "", key_space: KEY_SPACE, pids: cluster.pids() });
        if let Some(why) = cluster.ended()? {
            bail!(why);
        }
        cluster.stop()?;
        report
    }

    fn load(&self, target: Target<'_>) -> Result<LoadReport> {
        let conns = self.flags.conns.min(self.flags.clients);
        let reach = Reach {
            conns: conns as usize,
            clients: self.flags.clients as usize,
            access: target.access,
            ..Reach::narrow(target.endpoints)
        };
        let keys = Keys::new(target.key_space, Spread::Uniform, 1);
        let value_bytes = self.flags.val_size as usize;
        let shape = Shape { keys, key_bytes: KEY_BYTES, value_bytes, seed: 1 };
        let workload = Workload::put_below(target.prefix, shape);
        let rate = match self.flags.goal() {
            Goal::Latency => NonZeroU64::new(self.flags.rate()),
            Goal::Throughput => None,
        };
        run(&Plan {
            name: "tune",
            job: Job::Load(Box::new(reach.load(self.puts, rate, workload))),
            reach,
            after: After::default(),
            warm_up: self.puts / WARM_UP,
            repeats: 1,
            pids: target.pids,
        })
    }
}

/// What became of a load that was not clean.
fn failure(report: &LoadReport) -> String {
    if report.errors.is_empty() {
        return "the member's process is not there any more".to_owned();
    }
    let errors: Vec<_> = report.errors.iter().map(|(why, count)| format!("{count} times {why}")).collect();
    errors.join(", ")
}
