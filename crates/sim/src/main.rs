//! The command line of the simulator: `run`, `replay`, `canary`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use windlass_sim::agenda::SECOND_NS;
use windlass_sim::bug::Bug;
use windlass_sim::profile::Kind;
use windlass_sim::report::Count;
use windlass_sim::runner::{Canary, Summary, canary, run_seed, run_seeds};
use windlass_sim::world::Outcome;

const USAGE: &str = "usage:
  windlass-sim run [--profile NAME] --seeds N [--from S]   run N seeds from S (0) on
  windlass-sim replay [--profile NAME] SEED [BUG]          tell the story of one run
  windlass-sim canary --all | BUG [--seeds N]              show in how many seeds the checks catch a known bug

profiles: full (the default), full-cluster: clients that do everything;
          single, cluster: clients that read and write keys and leases, and do not watch";

/// Seeds in which a canary is to be caught, unless told otherwise.
const CANARY_SEEDS: &str = "200";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut kind = Kind::default();
    if let ["run" | "replay", "--profile", name, ..] = words[..] {
        let Some(named) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            return usage().unwrap_or(ExitCode::FAILURE);
        };
        kind = named;
        words.drain(1..3);
    }
    let ended = match words[..] {
        ["run", "--seeds", count] => with_numbers([count, "0"], |numbers| run(kind, numbers)),
        ["run", "--seeds", count, "--from", from] => {
            with_numbers([count, from], |numbers| run(kind, numbers))
        }
        ["replay", seed] => with_numbers([seed, "0"], |[seed, _]| replay(kind, seed, None)),
        ["replay", seed, bug] => match bug_named(bug) {
            Some(bug) => with_numbers([seed, "0"], |[seed, _]| replay(bug.kind(), seed, Some(bug))),
            None => usage(),
        },
        ["canary", which] => canaries_named(which, CANARY_SEEDS),
        ["canary", which, "--seeds", seeds] => canaries_named(which, seeds),
        _ => usage(),
    };
    // Whoever closed the pipe has seen enough.
    ended.unwrap_or(ExitCode::FAILURE)
}

fn usage() -> io::Result<ExitCode> {
    writeln!(io::stderr(), "{USAGE}")?;
    Ok(ExitCode::from(2))
}

fn bug_named(name: &str) -> Option<Bug> {
    Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
}

fn with_numbers(
    words: [&str; 2],
    command: impl FnOnce([u64; 2]) -> io::Result<ExitCode>,
) -> io::Result<ExitCode> {
    match words.map(str::parse) {
        [Ok(first), Ok(second)] => command([first, second]),
        _ => usage(),
    }
}

fn run(kind: Kind, [count, from]: [u64; 2]) -> io::Result<ExitCode> {
    let begun = Instant::now();
    let summary = run_seeds(from..from.saturating_add(count), kind, None, threads());
    let seconds = begun.elapsed().as_secs_f64();
    let Summary { runs, totals, failure } = summary;
    let out = &mut io::stdout().lock();
    for what in Count::ALL {
        writeln!(out, "{:>12} {}", totals.of(what), words_of(what))?;
    }
    let simulated = totals.simulated_ns / SECOND_NS;
    let rate = runs as f64 / seconds;
    writeln!(out, "{runs} seeds from {from}, {simulated} s simulated in {seconds:.1} s, {rate:.1} seeds/s")?;
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

fn replay(kind: Kind, seed: u64, bug: Option<Bug>) -> io::Result<ExitCode> {
    let outcome = run_seed(seed, kind, bug, true);
    let out = &mut io::stdout().lock();
    for line in &outcome.lines {
        writeln!(out, "{line}")?;
    }
    match outcome.violation {
        None => {
            writeln!(out, "seed {seed}: every promise was kept")?;
            Ok(ExitCode::SUCCESS)
        }
        Some(violation) => {
            writeln!(out, "seed {seed}: {violation}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn canaries_named(which: &str, seeds: &str) -> io::Result<ExitCode> {
    let bugs = if which == "--all" { Bug::ALL.to_vec() } else { bug_named(which).into_iter().collect() };
    match seeds.parse() {
        Ok(seeds) if seeds > 0 && !bugs.is_empty() => canaries(&bugs, seeds),
        _ => usage(),
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
