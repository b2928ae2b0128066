//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Probes disks, profiles commits, tunes settings.
#[derive(Debug, Parser)]
#[command(name = "windlass-disk", version)]
pub struct Flags {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where the report goes.
    #[command(flatten)]
    pub output: Output,
}

/// Where the report goes.
#[derive(Clone, Debug, Args)]
pub struct Output {
    /// Print the report as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Also write it as one HTML page with plots.
    #[arg(long, global = true, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// The tools.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What this disk and filesystem do for a log.
    Probe(ProbeFlags),
    /// Where a running member's commits spend their time.
    Profile(ProfileFlags),
    /// Which settings reach a goal on this machine.
    Tune(TuneFlags),
}

/// Of `probe`.
#[derive(Clone, Debug, Args)]
pub struct ProbeFlags {
    /// A folder on the filesystem that the log is to be on.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// Seconds that it may take, at most.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Bytes that it may write, at most, in MiB.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u64).range(64..=1 << 20), value_name = "MIB")]
    pub write_max: u64,
    /// Write the settings that follow from it to this file, or as windlass.settings into this folder.
    #[arg(long, value_name = "PATH")]
    pub write_settings: Option<PathBuf>,
}

/// Of `profile`.
#[derive(Clone, Debug, Args)]
pub struct ProfileFlags {
    /// The member's address for metrics, or for clients.
    #[arg(long, default_value = "127.0.0.1:2379", value_name = "HOST:PORT")]
    pub endpoint: String,
    /// Seconds to watch it.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
}

/// Of `tune`.
#[derive(Clone, Debug, Args)]
pub struct TuneFlags {
    /// What to reach.
    #[arg(long, value_enum, default_value_t = Goal::Throughput)]
    pub goal: Goal,
    /// With `throughput`: the p99 latency that must be kept, in milliseconds; 0: any.
    #[arg(long, default_value_t = 0.0, value_name = "MS")]
    pub p99: f64,
    /// With `latency`: puts per second.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// Connections of the load.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub conns: u64,
    /// Puts in flight.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub clients: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    pub val_size: u64,
    /// Seconds that each setting is tried, about.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Settings to try besides the defaults: names of windlass.settings; without it all.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub only: Vec<String>,
    /// Windlass's program; without it, `windlass` beside this one.
    #[arg(long, value_name = "PATH")]
    pub windlass: Option<PathBuf>,
    /// A folder on the filesystem that the log is to be on.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Let the server write to the disk this often a second at most (root and control groups needed).
    #[arg(long, value_name = "N")]
    pub write_iops: Option<u64>,
    /// Write the settings to this file, or as windlass.settings into this folder.
    #[arg(long, value_name = "PATH")]
    pub write_settings: Option<PathBuf>,
}

/// What a tuning is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    /// The most puts per second, under a p99 if one is given.
    Throughput,
    /// The least p99 at a rate.
    Latency,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Flags::command().debug_assert();
    }
}
