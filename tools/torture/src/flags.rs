//! The command line.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};

use crate::faults::Kind;

/// Tortures a cluster of real processes and judges what its clients were told.
#[derive(Debug, Parser)]
#[command(name = "windlass-torture", args_conflicts_with_subcommands = true)]
pub struct Flags {
    /// Something else than a run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Of a run.
    #[command(flatten)]
    pub run: RunFlags,
}

/// What there is beside a run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Changes single bytes of stopped members' files, and looks what a start makes of each.
    Corrupt(CorruptFlags),
    /// Gives changed inputs to everything that reads bytes from outside.
    Fuzz(FuzzFlags),
}

/// Flags of `fuzz`.
#[derive(Debug, Args)]
pub struct FuzzFlags {
    /// Only this target.
    #[arg(long)]
    pub target: Option<String>,
    /// How long each target is tried.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Decides the changes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where inputs that break something are left.
    #[arg(long, default_value = "windlass-torture")]
    pub folder: PathBuf,
    /// Leave inputs that came to something new in this corpus, a folder for each target.
    #[arg(long)]
    pub keep: Option<PathBuf>,
}

/// Flags of `corrupt`.
#[derive(Debug, Args)]
pub struct CorruptFlags {
    /// Bytes to change, one after the other.
    #[arg(long, default_value_t = 1000)]
    pub count: u64,
    /// Decides which ones; else the clock does.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where the members' logs and the story are kept. On a disk, not in memory.
    #[arg(long, default_value = "windlass-torture")]
    pub folder: PathBuf,
}

impl CorruptFlags {
    /// The seed that was given, or one from the clock.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(clock)
    }
}

/// Flags of a run.
#[derive(Debug, Args)]
pub struct RunFlags {
    /// How long faults go on, such as 90s, 10m or 1h.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub duration: Duration,
    /// Decides which faults come, and what clients ask; else the clock does. Threads and processes are not decided by it.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only these faults.
    #[arg(long, value_delimiter = ',')]
    pub faults: Vec<Kind>,
    /// Where the members' logs, the story and the history are kept. On a disk, not in memory.
    #[arg(long, default_value = "windlass-torture")]
    pub folder: PathBuf,
}

impl RunFlags {
    /// The seed that was given, or one from the clock.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(clock)
    }
}

fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs())
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("say for example 90s, 10m or 1h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "say for example 90s, 10m or 1h".to_owned())?;
    Ok(Duration::from_secs(number * seconds))
}
