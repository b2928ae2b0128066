//! The command line, and the plan it asks for. What is accepted here works; anything else is refused with its reason.

use std::num::NonZeroU64;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use windlass_client::Endpoint;

use crate::keys::{self, Keys, Spread};
use crate::workload::Workload;

/// Connections of a run; more would need more descriptors than a process commonly has.
const CONNS_MAX: u64 = 60_000;
/// Requests in flight of a run.
const CLIENTS_MAX: u64 = 10_000_000;
const THREADS_MAX: u64 = 1_024;
const KEY_BYTES_MAX: u64 = 64 << 10;
const VALUE_BYTES_MAX: u64 = 64 << 20;

/// Load generator for etcd and Windlass.
#[derive(Debug, Parser)]
#[command(name = "windlass-bench", version)]
pub struct Flags {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// What every load has.
#[derive(Debug, Args)]
struct Shared {
    /// gRPC endpoints, separated by commas; connections are dealt to them in turn.
    #[arg(long, global = true, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<Endpoint>,
    /// Number of connections.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=CONNS_MAX))]
    conns: u64,
    /// Requests in flight, over all connections.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=CLIENTS_MAX))]
    clients: u64,
    /// Threads of the load generator.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    threads: u64,
    /// Seed of the keys and of the value.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Report CPU time, memory and written bytes of this process; may be repeated.
    #[arg(long = "pid", global = true, value_name = "PID")]
    pids: Vec<u32>,
    /// Print the report as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Puts.
    Put {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        keys: KeyFlags,
        /// Size of the value in bytes.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(..=VALUE_BYTES_MAX))]
        val_size: u64,
    },
    /// Ranges: KEY alone, KEY to END, or without KEY single keys as `put` writes them.
    Range {
        /// Key, or first key of the range.
        #[arg(conflicts_with_all = ["keys", "sequential_keys", "key_size", "key_space_size"])]
        key: Option<String>,
        /// First key after the range.
        end: Option<String>,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        keys: KeyFlags,
        /// Linearizable or serializable.
        #[arg(long, value_enum, default_value_t = Consistency::L)]
        consistency: Consistency,
    },
}

#[derive(Debug, Args)]
struct Load {
    /// Number of requests.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    total: u64,
    /// Requests per second, begun at their times whatever the server does; 0: as many as it answers.
    #[arg(long, default_value_t = 0)]
    rate: u64,
}

#[derive(Debug, Args)]
struct KeyFlags {
    /// Size of a key in bytes.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=KEY_BYTES_MAX))]
    key_size: u64,
    /// Number of different keys.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    key_space_size: u64,
    /// How requests spread over the keys.
    #[arg(long, value_enum, default_value_t = Spread::Uniform)]
    keys: Spread,
    /// The same as --keys sequential.
    #[arg(long, conflicts_with = "keys")]
    sequential_keys: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Consistency {
    /// Linearizable.
    L,
    /// Serializable.
    S,
}

/// A run: what to send, where to and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) conns: usize,
    pub(crate) clients: usize,
    pub(crate) threads: usize,
    pub(crate) total: u64,
    pub(crate) rate: Option<NonZeroU64>,
    pub(crate) workload: Workload,
    pub(crate) pids: Vec<u32>,
}

impl Flags {
    /// Whether the report is to be JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.shared.json
    }

    /// What was asked for.
    ///
    /// # Errors
    /// The flags contradict each other; says how.
    pub fn plan(self) -> Result<Plan, String> {
        let Self { shared, command } = self;
        let Shared { endpoints, conns, clients, threads, seed, pids, .. } = shared;
        if clients < conns {
            return Err(format!("--clients {clients} leaves some of --conns {conns} without requests"));
        }
        if conns < threads {
            return Err(format!("--conns {conns} leaves some of --threads {threads} without connections"));
        }
        let (load, workload) = command.workload(seed)?;
        Ok(Plan {
            endpoints,
            conns: conns as usize,
            clients: clients as usize,
            threads: threads as usize,
            total: load.total,
            rate: NonZeroU64::new(load.rate),
            workload,
            pids,
        })
    }

    /// The parser's own form of a complaint.
    #[must_use]
    pub fn refuse(kind: ErrorKind, why: &str) -> clap::Error {
        Self::command().error(kind, why)
    }
}

impl Command {
    fn workload(self, seed: u64) -> Result<(Load, Workload), String> {
        Ok(match self {
            Self::Put { load, keys, val_size } => {
                let (chosen, key_size) = keys.build(seed)?;
                (load, Workload::put(chosen, key_size, val_size as usize, seed))
            }
            Self::Range { key: Some(key), end, load, consistency, .. } => {
                let end = end.unwrap_or_default();
                (load, Workload::range(&key, &end, consistency == Consistency::S))
            }
            Self::Range { key: None, load, keys, consistency, .. } => {
                let (chosen, key_size) = keys.build(seed)?;
                (load, Workload::get(chosen, key_size, consistency == Consistency::S))
            }
        })
    }
}

impl KeyFlags {
    /// The keys and their size in bytes.
    fn build(self, seed: u64) -> Result<(Keys, usize), String> {
        let (size, digits) = (self.key_size as usize, keys::digits(self.key_space_size));
        if size < digits {
            let space = self.key_space_size;
            return Err(format!(
                "--key-size {size} is too short for --key-space-size {space}: {digits} digits"
            ));
        }
        let spread = if self.sequential_keys { Spread::Sequential } else { self.keys };
        Ok((Keys::new(self.key_space_size, spread, seed), size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("windlass-bench").chain(line.split_whitespace());
        Flags::try_parse_from(words).map_err(|error| error.to_string())?.plan()
    }

    #[test]
    fn the_definition_is_sound() {
        Flags::command().debug_assert();
    }

    #[test]
    fn etcds_command_lines_are_understood() {
        let line = "--endpoints=http://a:1,b:2 --conns=10 --clients 100 put --key-size=8 --sequential-keys \
                    --key-space-size 1000 --total=10000 --val-size=256 --rate 50 --pid 1 --pid 2";
        let plan = parse(line).expect("is understood");
        assert_eq!(plan.endpoints.len(), 2);
        assert_eq!((plan.conns, plan.clients, plan.threads, plan.total), (10, 100, 1, 10_000));
        assert_eq!((plan.rate.map(NonZeroU64::get), plan.pids), (Some(50), vec![1, 2]));
        for line in ["range a", "range a z --consistency=s", "range --key-space-size 5 --keys zipf --seed 3"]
        {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (line, why) in [
            ("put --conns 2", "--clients"),
            ("put --threads 2", "--conns"),
            ("put --key-size 2 --key-space-size 101", "3 digits"),
            ("put --keys zipf --sequential-keys", "cannot be used with"),
            ("range a --key-size 9", "cannot be used with"),
            ("range a --consistency x", "possible values"),
            ("put --endpoints https://a:1", "TLS is not supported"),
            ("put --total 0", "0"),
            ("put --check-hashkv", "unexpected argument"),
            ("", "Usage"),
        ] {
            let refusal = parse(line).expect_err(line);
            assert!(refusal.contains(why), "{line}: {refusal}");
        }
    }
}
