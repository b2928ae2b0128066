//! One server with one set of settings under one load.

use std::num::NonZeroU64;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;
use windlass_bench::keys::{Keys, Spread};
use windlass_bench::launch::{Cluster, Launch};
use windlass_bench::plan::{After, Job, Plan, Reach};
use windlass_bench::throttle::Throttle;
use windlass_bench::workload::{Shape, Workload};
use windlass_bench::{Report as LoadReport, run};

use crate::flags::{Goal, TuneFlags};

const KEY_SPACE: u64 = 100_000;
const KEY_BYTES: usize = 32;
/// Puts by which the first trial finds out how many fill the wanted time.
const CALIBRATION_PUTS: u64 = 2_000;
/// Puts of a trial at the least and at the most, whatever the time.
const PUTS_MIN: u64 = 200;
const PUTS_MAX: u64 = 50_000_000;

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

    /// The settings in one line.
    #[must_use]
    pub fn words(&self) -> String {
        if self.settings.is_empty() {
            return "defaults".to_owned();
        }
        let words: Vec<_> = self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        words.join(", ")
    }
}

/// Runs trials and remembers them.
pub struct Trials<'a> {
    flags: &'a TuneFlags,
    program: PathBuf,
    folder: PathBuf,
    throttle: Option<&'a Throttle>,
    /// Puts of one trial.
    puts: u64,
    all: Vec<Trial>,
}

impl<'a> Trials<'a> {
    /// None yet.
    pub fn new(
        flags: &'a TuneFlags,
        program: PathBuf,
        folder: PathBuf,
        throttle: Option<&'a Throttle>,
    ) -> Self {
        Self { flags, program, folder, throttle, puts: CALIBRATION_PUTS, all: Vec::new() }
    }

    /// The server's defaults, after a first run that finds out how many puts fill the wanted time.
    pub fn calibrated(&mut self) -> Result<Trial> {
        let rate = match self.flags.goal {
            Goal::Latency => self.flags.rate as f64,
            Goal::Throughput => self.perform(&[])?.puts_per_s,
        };
        self.puts = ((rate * self.flags.seconds as f64) as u64).clamp(PUTS_MIN, PUTS_MAX);
        self.run(&[])
    }

    /// Tries settings.
    pub fn run(&mut self, settings: &[(String, String)]) -> Result<Trial> {
        let trial = self.perform(settings)?;
        eprintln!("{}: {:.0} puts/s, p99 {:.3} ms", trial.words(), trial.puts_per_s, trial.p99_ns / 1e6);
        self.all.push(trial.clone());
        Ok(trial)
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
        let flags: Vec<_> = settings.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        let place = self.folder.join("trial");
        std::fs::create_dir_all(&place)?;
        let launch = Launch {
            label: "windlass",
            program: &self.program,
            nodes: 1,
            flags: &flags,
            folder: &place,
            throttle: self.throttle,
        };
        let cluster = Cluster::start(&launch)?;
        let report = self.load(&cluster);
        cluster.stop()?;
        std::fs::remove_dir_all(&place)?;
        let report = report?;
        if !report.is_clean() {
            bail!("the load failed with {flags:?}: {:?}", report.errors);
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

    fn load(&self, cluster: &Cluster) -> Result<LoadReport> {
        let conns = self.flags.conns.min(self.flags.clients);
        let reach = Reach {
            conns: conns as usize,
            clients: self.flags.clients as usize,
            ..Reach::narrow(cluster.endpoints())
        };
        let keys = Keys::new(KEY_SPACE, Spread::Uniform, 1);
        let value_bytes = self.flags.val_size as usize;
        let workload = Workload::put(Shape { keys, key_bytes: KEY_BYTES, value_bytes, seed: 1 });
        let rate = match self.flags.goal {
            Goal::Latency => NonZeroU64::new(self.flags.rate),
            Goal::Throughput => None,
        };
        run(&Plan {
            name: "tune",
            job: Job::Load(Box::new(reach.load(self.puts, rate, workload))),
            reach,
            after: After::default(),
            warm_up: self.puts / 10,
            repeats: 1,
            pids: cluster.pids(),
        })
    }
}
