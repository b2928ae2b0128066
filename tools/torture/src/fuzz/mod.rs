//! Fuzzing on stable Rust: inputs that were kept or made are changed at random and given to everything that reads bytes from
//! outside. A decoder may refuse, in words; it may not panic, and may not hang.
//!
//! There is no instrumentation. What an input comes to (its words, without the numbers in them) stands for the path that it took:
//! an input with a new outcome is changed further. `tests` runs the kept corpus and some thousand changes of each target.

mod mutate;
mod seeds;
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use windlass_replica::oracle::generate::Random;

use crate::flags::FuzzFlags;
use crate::story::Story;
pub use targets::{TARGETS, Target};

/// Inputs that a target keeps for further changes; beyond it new ones take the place of random old ones.
const POOL_MAX: usize = 4096;

/// An input may take so long in an optimised build.
const SLOW: Duration = Duration::from_secs(2);

/// Largest input that is kept in a corpus, and most of one target: a corpus is read by every test run.
const KEPT_BYTES_MAX: usize = 2 << 10;
const KEPT_MAX: usize = 12;

/// Where the corpus is kept: a folder for each target.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// What happened to one target.
#[derive(Debug)]
pub struct Fuzzed {
    /// Inputs that were tried.
    pub inputs: u64,
    /// Different outcomes.
    pub outcomes: usize,
    /// Those that came to something that none before did, as they were found: first what is easy to come by.
    pub found: Vec<Vec<u8>>,
    /// Inputs with which it panicked or took too long, and what it said.
    pub crashes: Vec<(Vec<u8>, String)>,
}

/// Fuzzes, and says whether nothing broke. Inputs that broke something are left in the folder.
///
/// # Errors
/// If there is no such target, or the folder cannot be written.
pub fn run(flags: &FuzzFlags) -> Result<bool> {
    fs::create_dir_all(&flags.folder).context("cannot make the folder")?;
    let mut story = Story::begin(&flags.folder)?;
    let wanted = |target: &&Target| flags.target.as_ref().is_none_or(|name| name == target.name);
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    if targets.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no such target; there are {}", names.join(", "));
    }
    let mut sound = true;
    for target in targets {
        let until = Instant::now() + Duration::from_secs(flags.seconds);
        let fuzzed = fuzz(target, flags.seed, || Instant::now() < until)?;
        let Fuzzed { inputs, outcomes, found, crashes } = &fuzzed;
        story.tell(&format!(
            "{}: {inputs} inputs, {outcomes} outcomes, {} crashes",
            target.name,
            crashes.len()
        ));
        for (number, (input, why)) in crashes.iter().enumerate() {
            let path = flags.folder.join(format!("crash-{}-{number}", target.name));
            fs::write(&path, input)?;
            story.say(&format!("BROKEN: {}: {why}", path.display()));
        }
        if let Some(corpus) = &flags.keep {
            keep(&corpus.join(target.name), found)?;
        }
        sound &= crashes.is_empty();
    }
    Ok(sound)
}

/// Tries what was kept and made, then changes of it, while `goes_on`. Ends at a few crashes.
///
/// # Errors
/// If the corpus cannot be read.
pub fn fuzz(target: &Target, seed: u64, mut goes_on: impl FnMut() -> bool) -> Result<Fuzzed> {
    let mut random = Random::new(seed);
    let mut pool = seeds::of(target.name);
    pool.extend(kept(target)?);
    let mut outcomes = BTreeSet::new();
    let mut fuzzed = Fuzzed { inputs: 0, outcomes: 0, found: Vec::new(), crashes: Vec::new() };
    let mut trying = pool.clone();
    while fuzzed.crashes.len() < 4 {
        let is_made = trying.is_empty();
        let input = match trying.pop() {
            Some(input) => input,
            None if goes_on() => mutate::mutated(&pool, &mut random),
            None => break,
        };
        fuzzed.inputs += 1;
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.body)(&input)));
        match outcome {
            Err(panic) => fuzzed.crashes.push((input, crate::corrupt::text_of(&*panic))),
            Ok(_) if begun.elapsed() > SLOW => {
                fuzzed.crashes.push((input, format!("it takes {:?}", begun.elapsed())));
            }
            Ok(outcome) => {
                let is_new = outcomes.insert(outcome.replace(|c: char| c.is_ascii_digit(), ""));
                if is_new && is_made {
                    fuzzed.found.push(input.clone());
                    if pool.len() < POOL_MAX {
                        pool.push(input);
                    } else {
                        let at = random.below(POOL_MAX as u64) as usize;
                        pool[at] = input;
                    }
                }
            }
        }
    }
    fuzzed.outcomes = outcomes.len();
    Ok(fuzzed)
}

/// Writes the inputs that were hardest to come by, each under a name made of what it holds.
fn keep(folder: &Path, found: &[Vec<u8>]) -> Result<()> {
    fs::create_dir_all(folder).context("cannot make the corpus")?;
    for input in found.iter().rev().filter(|input| input.len() <= KEPT_BYTES_MAX).take(KEPT_MAX) {
        fs::write(folder.join(format!("{:08x}", crc32fast::hash(input))), input)?;
    }
    Ok(())
}

/// Inputs that were kept because they once found something, or lead somewhere.
fn kept(target: &Target) -> Result<Vec<Vec<u8>>> {
    let folder = corpus().join(target.name);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes of each target.
    const INPUTS: u64 = 2000;

    #[test]
    fn nothing_that_reads_bytes_from_outside_breaks() {
        let mut dull = Vec::new();
        for target in TARGETS {
            let mut left = INPUTS;
            let fuzzed = fuzz(target, 1, || {
                left = left.saturating_sub(1);
                left > 0
            });
            let fuzzed = fuzzed.expect("the corpus is there");
            assert!(fuzzed.crashes.is_empty(), "{}: {:?}", target.name, fuzzed.crashes);
            if fuzzed.outcomes < 2 {
                dull.push(target.name);
            }
        }
        assert!(dull.is_empty(), "whatever these are given, it comes to the same: {dull:?}");
    }

    #[test]
    fn a_panic_is_found() {
        let body = |bytes: &[u8]| {
            assert!(!bytes.contains(&0x7f), "found");
            String::new()
        };
        let fuzzed = fuzz(&Target { name: "none", body }, 1, || true).expect("no corpus");
        assert!(fuzzed.crashes.iter().all(|(input, why)| input.contains(&0x7f) && why.contains("found")));
    }
}
