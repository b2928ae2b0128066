//! The command line of the simulator: `run`, `replay`, `canary`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use windlass_gateway::Transcoder;
use windlass_sim::agenda::SECOND_NS;
use windlass_sim::bug::Bug;
use windlass_sim::profile::Kind;
use windlass_sim::report::{Count, Wanted};
use windlass_sim::runner::{Canary, Summary, canary, run_seed_for, run_seeds_for};
use windlass_sim::world::Outcome;

const USAGE: &str = "usage:
  windlass-sim run --seeds N [--from S] [--profile NAME] [--trace-dir DIR]    run N seeds from S (0) on
  windlass-sim replay SEED [BUG] [--profile NAME] [--trace-dir DIR]           tell the story of one run
  windlass-sim history SEED --out FILE [--profile NAME]    write what clients did in one run, a line of JSON each
  windlass-sim canary --all | BUG [--seeds N]              show in how many seeds the checks catch a known bug

profiles: full (the default), full-cluster: clients that do everything;
          single, cluster: clients that read and write keys and leases, and do not watch;
          tla: runs that the TLA+ trace specification of etcd-io/raft can follow
--trace-dir: what the Raft cores did in each run, as that specification reads it, in DIR/SEED.ndjson";

/// Seeds in which a canary is to be caught, unless told otherwise.
const CANARY_SEEDS: u64 = 500;

/// What was typed.
#[derive(Default)]
struct Arguments {
    /// Words that belong to no option.
    words: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Arguments {
    /// `--all` is a word, every other option has a value.
    fn parse(mut typed: impl Iterator<Item = String>) -> Option<Self> {
        let mut this = Self::default();
        while let Some(word) = typed.next() {
            match word.strip_prefix("--") {
                Some(name) if name != "all" => drop(this.options.insert(name.to_owned(), typed.next()?)),
                _ => this.words.push(word),
            }
        }
        Some(this)
    }

    fn option(&mut self, name: &str) -> Option<String> {
        self.options.remove(name)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    // Whoever closed the pipe has seen enough.
    arguments.and_then(carry_out).unwrap_or_else(usage).unwrap_or(ExitCode::FAILURE)
}

/// Nothing if that is no command.
fn carry_out(mut arguments: Arguments) -> Option<io::Result<ExitCode>> {
    let kind = match arguments.option("profile") {
        Some(name) => Kind::ALL.into_iter().find(|kind| kind.name() == name)?,
        None => Kind::default(),
    };
    let words = std::mem::take(&mut arguments.words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: String| text.parse::<u64>().ok();
    let mut option = |name: &str| arguments.option(name);
    let command: Box<dyn FnOnce() -> io::Result<ExitCode>> = match words[..] {
        ["run"] => {
            let count = number(option("seeds")?)?;
            let from = option("from").map_or(Some(0), number)?;
            let traces = option("trace-dir").map(PathBuf::from);
            Box::new(move || run(kind, count, from, traces.as_deref()))
        }
        ["replay", seed, ref bug @ ..] if bug.len() <= 1 => {
            let seed = seed.parse().ok()?;
            let bug = bug.first().map(|name| bug_named(name).ok_or(())).transpose().ok()?;
            let traces = option("trace-dir").map(PathBuf::from);
            Box::new(move || replay(bug.map_or(kind, Bug::kind), seed, bug, traces.as_deref()))
        }
        ["history", seed] => {
            let (seed, out) = (seed.parse().ok()?, option("out")?);
            Box::new(move || history(kind, seed, &out))
        }
        ["canary", which] => {
            let seeds = option("seeds").map_or(Some(CANARY_SEEDS), number)?;
            let bugs = if which == "--all" { Bug::ALL.to_vec() } else { vec![bug_named(which)?] };
            Box::new(move || canaries(&bugs, seeds))
        }
        _ => return None,
    };
    // What belongs to another command is a mistake.
    arguments.options.is_empty().then(command)
}

fn usage() -> io::Result<ExitCode> {
    writeln!(io::stderr(), "{USAGE}")?;
    Ok(ExitCode::from(2))
}

fn bug_named(name: &str) -> Option<Bug> {
    Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
}

fn run(kind: Kind, count: u64, from: u64, traces: Option<&Path>) -> io::Result<ExitCode> {
    let begun = Instant::now();
    let wanted = Wanted { trace: traces.is_some(), ..Wanted::default() };
    let written = Mutex::new(Ok(()));
    let keep = |outcome: &Outcome| {
        let result = write_trace(outcome, traces);
        let mut written = written.lock().expect("nobody panics while holding it");
        *written = std::mem::replace(&mut *written, Ok(())).and(result);
    };
    let summary = run_seeds_for(from..from.saturating_add(count), kind, None, threads(), wanted, &keep);
    written.into_inner().expect("nobody panics while holding it")?;
    let seconds = begun.elapsed().as_secs_f64();
    let Summary { runs, totals, failure } = summary;
    let out = &mut io::stdout().lock();
    for what in Count::ALL {
        writeln!(out, "{:>12} {}", totals.of(what), words_of(what))?;
    }
    let hours = totals.simulated_ns as f64 / SECOND_NS as f64 / 3600.0;
    let cpu = cpu_seconds().unwrap_or(f64::NAN);
    writeln!(
        out,
        "{runs} seeds of {} from {from}: {hours:.2} h simulated in {cpu:.1} s of CPU ({seconds:.1} s); for each second \
         of CPU {:.1} seeds and {:.3} h",
        kind.name(),
        runs as f64 / cpu,
        hours / cpu
    )?;
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(Outcome { seed, violation, .. }) => {
            writeln!(out, "seed {seed}: {}", violation.expect("it failed"))?;
            writeln!(
                out,
                "replay with: cargo run --release -p windlass-sim -- replay --profile {} {seed}",
                kind.name()
            )?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn replay(kind: Kind, seed: u64, bug: Option<Bug>, traces: Option<&Path>) -> io::Result<ExitCode> {
    let wanted = Wanted { story: true, trace: traces.is_some(), ..Wanted::default() };
    let outcome = run_seed_for(seed, kind, bug, wanted);
    write_trace(&outcome, traces)?;
    let out = &mut io::stdout();
    for line in &outcome.lines {
        writeln!(out, "{line}")?;
    }
    verdict(&outcome)
}

/// Writes what the Raft cores did, if somebody wants that.
fn write_trace(outcome: &Outcome, dir: Option<&Path>) -> io::Result<()> {
    let Some(dir) = dir else { return Ok(()) };
    std::fs::create_dir_all(dir)?;
    let file = &mut io::BufWriter::new(File::create(dir.join(format!("{}.ndjson", outcome.seed)))?);
    for line in &outcome.trace {
        writeln!(file, "{line}")?;
    }
    file.flush()
}

/// Writes what clients asked and were told.
fn history(kind: Kind, seed: u64, out: &str) -> io::Result<ExitCode> {
    let outcome = run_seed_for(seed, kind, None, Wanted { record: true, ..Wanted::default() });
    let (file, transcoder) = (&mut io::BufWriter::new(File::create(out)?), Transcoder::new());
    for operation in &outcome.operations {
        writeln!(file, "{}", operation.json(&transcoder))?;
    }
    file.flush()?;
    writeln!(io::stdout(), "{} lines in {out}", outcome.operations.len())?;
    verdict(&outcome)
}

fn verdict(outcome: &Outcome) -> io::Result<ExitCode> {
    let seed = outcome.seed;
    match &outcome.violation {
        None => {
            writeln!(io::stdout(), "seed {seed}: every promise was kept")?;
            Ok(ExitCode::SUCCESS)
        }
        Some(violation) => {
            writeln!(io::stdout(), "seed {seed}: {violation}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn canaries(bugs: &[Bug], seeds: u64) -> io::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let out = &mut io::stdout().lock();
    for &bug in bugs {
        let found = canary(bug, 0..seeds, threads());
        let Canary { runs, caught, .. } = &found;
        let (name, checks) = (format!("{bug:?}"), bug.caught_by());
        match found.median_seeds() {
            Some(median) => writeln!(
                out,
                "{name:22} caught in {:4} of {runs} seeds of {:12}, median {median:3} seeds, first {:3}, by {checks:?}",
                caught.len(),
                bug.kind().name(),
                caught[0],
            )?,
            None => {
                writeln!(out, "{name:22} NOT CAUGHT in {runs} seeds of {}", bug.kind().name())?;
                code = ExitCode::FAILURE;
            }
        }
        out.flush()?;
    }
    Ok(code)
}

/// CPU time of this process so far, as Linux tells it: in hundredths of a second, the 14th and 15th field.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11..13)?.iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    Some(ticks / 100.0)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `LogRecycled` as `log recycled`.
fn words_of(what: Count) -> String {
    let mut words = String::new();
    for letter in format!("{what:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
