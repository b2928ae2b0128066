//! The command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use windlass_bench::access::{Access, Files};
use windlass_client::{Security, User};

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
    Tune(Box<TuneFlags>),
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

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct TrustFlags {
    /// File of the authorities that servers' certificates are to be of; with it connections are protected.
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// File of the client's own certificate.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// File of its key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Protect connections and take any certificate.
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
}

impl TrustFlags {
    /// Of connections that speak HTTP/1.1.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn http(&self) -> Result<Security> {
        Ok(Security { tls: self.files().tls(Vec::new())?, ..Security::default() })
    }

    /// Of connections that speak gRPC, as this user.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn grpc(&self, user: Option<User>) -> Result<Access> {
        Access::new(&self.files(), user)
    }

    fn files(&self) -> Files {
        let Self { cacert, cert, key, insecure_skip_tls_verify: skip_verify } = self.clone();
        Files { cacert, cert, key, skip_verify }
    }
}

/// Of `profile`.
#[derive(Clone, Debug, Args)]
pub struct ProfileFlags {
    /// The member's address for metrics, or for clients.
    #[arg(long, default_value = "127.0.0.1:2379", value_name = "HOST:PORT")]
    pub endpoint: String,
    /// Whom to trust. What it asks for is told to anybody.
    #[command(flatten)]
    pub trust: TrustFlags,
    /// Seconds to watch it.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
}

/// Of `tune`.
#[derive(Clone, Debug, Args)]
pub struct TuneFlags {
    /// What to reach. Without it throughput, and with --endpoint latency, as others use that member too.
    #[arg(long, value_enum)]
    pub goal: Option<Goal>,
    /// With `throughput`: the p99 latency that must be kept, in milliseconds; 0 and without it: any.
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub p99: Option<f64>,
    /// With `latency`: puts per second; without it 5000.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=RATE_MAX))]
    pub rate: Option<u64>,
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
    /// Tune this running member, which leads and has --enable-live-settings, instead of a server of its own.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["windlass", "folder", "write_iops"])]
    pub endpoint: Option<String>,
    /// Its address for metrics, if --endpoint serves gRPC alone or is not where settings may be changed.
    #[arg(long, value_name = "HOST:PORT", requires = "endpoint")]
    pub settings_endpoint: Option<String>,
    /// Whom to trust, with --endpoint.
    #[command(flatten)]
    pub trust: TrustFlags,
    /// User and password, as NAME:PASSWORD, where --endpoint has users.
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = windlass_bench::flags::user, requires = "endpoint")]
    pub user: Option<User>,
    /// Windlass's program; without it, `windlass` beside this one.
    #[arg(long, value_name = "PATH")]
    pub windlass: Option<PathBuf>,
    /// A folder on the filesystem that the log is to be on.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Let the server write to the disk this often a second at most (root and control groups needed).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub write_iops: Option<u64>,
    /// Write the settings to this file, or as windlass.settings into this folder.
    #[arg(long, value_name = "PATH")]
    pub write_settings: Option<PathBuf>,
}

/// Puts per second unless told otherwise.
const RATE: u64 = 5_000;
/// Nobody answers more: they would be due less than a nanosecond apart.
const RATE_MAX: u64 = 1_000_000_000;

impl TuneFlags {
    /// Puts per second of a load at a rate.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate.unwrap_or(RATE)
    }

    /// Checks that each goal has its own bounds alone, and that connections are protected to a running member alone.
    ///
    /// # Errors
    /// One of them would have no effect; says which.
    pub fn check(&self) -> Result<(), String> {
        if self.endpoint.is_none() && self.trust != TrustFlags::default() {
            return Err(
                "--cacert, --cert and --insecure-skip-tls-verify are of connections to an --endpoint; \
                        a server of its own is on loopback"
                    .to_owned(),
            );
        }
        match (self.goal(), self.p99, self.rate) {
            (Goal::Latency, Some(_), _) => {
                Err("--p99 bounds --goal throughput; the least p99 is what --goal latency looks for"
                    .to_owned())
            }
            (Goal::Throughput, _, Some(_)) => {
                Err("--rate is of --goal latency; --goal throughput puts as much as is answered".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What to reach.
    #[must_use]
    pub fn goal(&self) -> Goal {
        self.goal.unwrap_or(if self.endpoint.is_some() { Goal::Latency } else { Goal::Throughput })
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1e9).contains(&number) => Ok(number),
        _ => Err("it is no number of milliseconds".to_owned()),
    }
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
    fn a_goal_has_its_own_bounds_alone() {
        let check = |line: &str| {
            let words = ["windlass-disk", "tune"].into_iter().chain(line.split_whitespace());
            match Flags::try_parse_from(words).expect("is understood").command {
                Command::Tune(flags) => flags.check(),
                _ => unreachable!("it is a tuning"),
            }
        };
        for line in [
            "",
            "--p99 10",
            "--goal latency",
            "--goal latency --rate 5",
            "--endpoint a:1 --rate 5",
            "--endpoint a:1 --cacert f --user a:b",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
        for (line, word) in [
            ("--rate 5", "--rate"),
            ("--goal latency --p99 5", "--p99"),
            ("--endpoint a:1 --p99 5", "--p99"),
            ("--cacert f", "--cacert"),
            ("--insecure-skip-tls-verify", "--endpoint"),
        ] {
            assert!(check(line).expect_err(line).contains(word), "{line}");
        }
    }

    #[test]
    fn a_user_is_of_a_running_member_that_is_tuned() {
        let understood = |line: &str| {
            Flags::try_parse_from(["windlass-disk"].into_iter().chain(line.split_whitespace())).is_ok()
        };
        assert!(understood("tune --endpoint a:1 --user a:b"));
        assert!(!understood("tune --user a:b"), "its own server has no users");
        assert!(!understood("profile --user a:b"), "what it reads needs none");
    }

    #[test]
    fn the_definition_is_sound() {
        Flags::command().debug_assert();
    }
}
