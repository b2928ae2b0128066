//! The command line, and the plan it asks for. What is accepted here works; anything else is refused with its reason.

mod commands;
mod parts;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use windlass_client::Endpoint;

use crate::Figures;
use crate::access::{Access, Files};
use crate::plan::{Plan, Reach};
use commands::Command;
pub use commands::CompareFlags;
pub use parts::user;

/// Connections of a run; more would need more descriptors than a process commonly has.
const CONNS_MAX: u64 = 60_000;
/// Requests in flight of a run.
const CLIENTS_MAX: u64 = 10_000_000;
const THREADS_MAX: u64 = 1_024;
const REPEATS_MAX: u64 = 100;
const COMPARE: &str = "compare";

/// What single loads are told, and the loads of a comparison have of their own.
const OF_LOADS: &[&str] = &[
    "endpoints",
    "target_leader",
    "conns",
    "clients",
    "threads",
    "seed",
    "user",
    "cacert",
    "cert",
    "key_file",
    "insecure_skip_tls_verify",
    "dial_timeout",
    "warm_up",
    "repeats",
    "server_pids",
    "precise",
    "sample",
];

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
    #[arg(long, global = true, value_delimiter = ',', default_value = "127.0.0.1:2379", value_parser = Endpoint::parse)]
    endpoints: Vec<Endpoint>,
    /// Send everything to the endpoint that leads.
    #[arg(long, global = true)]
    target_leader: bool,
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
    /// User and password, as NAME:PASSWORD.
    #[arg(long, global = true, value_name = "NAME:PASSWORD")]
    user: Option<String>,
    /// File of the authorities that servers' certificates are to be of; with it connections are protected.
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// File of the client's own certificate.
    #[arg(long, global = true, value_name = "FILE", requires = "key_file")]
    cert: Option<PathBuf>,
    /// File of its key.
    #[arg(long = "key", global = true, value_name = "FILE", requires = "cert")]
    key_file: Option<PathBuf>,
    /// Protect connections and take any certificate.
    #[arg(long, global = true)]
    insecure_skip_tls_verify: bool,
    /// Bound of an attempt to connect; 0: five seconds.
    #[arg(long, global = true, default_value = "0", value_parser = parts::duration)]
    dial_timeout: Duration,
    /// Requests that go ahead and are not counted.
    #[arg(long, global = true, default_value_t = 0, value_name = "REQUESTS")]
    warm_up: u64,
    /// Runs; the report is of the one with the median rate, and shows the spread of all.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=REPEATS_MAX))]
    repeats: u64,
    /// Report CPU time, memory and written bytes of this process; may be repeated.
    #[arg(long = "server-pid", alias = "pid", global = true, value_name = "PID", value_delimiter = ',')]
    server_pids: Vec<u32>,
    #[command(flatten)]
    output: Output,
}

/// Where the report goes.
#[derive(Clone, Debug, Args)]
pub struct Output {
    /// Print the report as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// The same as --json, as etcd's benchmark has it.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Print figures with all their digits.
    #[arg(long, global = true)]
    pub precise: bool,
    /// Also print the requests of each second, as lines of comma-separated values.
    #[arg(long, global = true)]
    pub sample: bool,
    /// Also write it as one HTML page with plots.
    #[arg(long, global = true, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Also write each plot as an SVG file into this folder, which is made.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub svg: Option<PathBuf>,
}

/// Formats of a report besides text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object.
    Json,
}

impl Output {
    /// Whether it is for programs.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json || self.output.is_some()
    }

    /// How figures are printed.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures { precise: self.precise, sample: self.sample }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// One load.
    Load(Box<Plan>),
    /// Two systems side by side.
    Compare(CompareFlags),
}

impl Flags {
    /// The flags of a command line.
    ///
    /// # Errors
    /// They are not understood, or would have no effect; or help was asked for.
    pub fn of<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        // Flags that all commands have are handed to each of them now.
        command.build();
        let hide = |arg: Arg| if OF_LOADS.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg };
        let matches =
            command.mut_subcommand(COMPARE, |compare| compare.mut_args(hide)).try_get_matches_from(words)?;
        if let Some((COMPARE, compare)) = matches.subcommand()
            && let Some(id) =
                OF_LOADS.iter().find(|id| compare.value_source(id) == Some(ValueSource::CommandLine))
        {
            let command = Self::command();
            let flag = command.get_arguments().find(|arg| arg.get_id() == id).and_then(Arg::get_long);
            let why = format!(
                "--{} is of single loads; those that are compared have their own",
                flag.unwrap_or(id)
            );
            return Err(Self::refuse(ErrorKind::ArgumentConflict, &why));
        }
        Self::from_arg_matches(&matches)
    }

    /// Where the report goes.
    #[must_use]
    pub fn output(&self) -> Output {
        self.shared.output.clone()
    }

    /// What was asked for.
    ///
    /// # Errors
    /// The flags contradict each other; says how.
    pub fn asked(self) -> Result<Asked, String> {
        match self.command {
            Command::Compare(flags) => Ok(Asked::Compare(flags)),
            _ => self.plan().map(|plan| Asked::Load(Box::new(plan))),
        }
    }

    /// The load that was asked for.
    ///
    /// # Errors
    /// The flags contradict each other, or ask for no load; says how.
    pub fn plan(self) -> Result<Plan, String> {
        let Self { shared, command } = self;
        let Shared { clients, conns, threads, .. } = shared;
        if clients < conns {
            return Err(format!("--clients {clients} leaves some of --conns {conns} without requests"));
        }
        if conns < threads {
            return Err(format!("--conns {conns} leaves some of --threads {threads} without connections"));
        }
        let user = shared.user.as_deref().map(parts::user).transpose()?;
        let Shared { cacert, cert, key_file: key, insecure_skip_tls_verify: skip_verify, .. } = shared;
        let mut access = Access::new(&Files { cacert, cert, key, skip_verify }, user)
            .map_err(|error| format!("{error:#}"))?;
        if shared.warm_up > 0 && matches!(command, Command::WatchGet(_)) {
            return Err("--warm-up: watches that catch up have nothing that could go ahead".to_owned());
        }
        access.dial_timeout = Some(shared.dial_timeout).filter(|timeout| !timeout.is_zero());
        let reach = Reach {
            endpoints: shared.endpoints,
            target_leader: shared.target_leader,
            conns: conns as usize,
            clients: clients as usize,
            threads: threads as usize,
            access,
        };
        Ok(Plan {
            name: command.name(),
            after: command.after()?,
            job: command.job(&reach, shared.seed)?,
            reach,
            warm_up: shared.warm_up,
            repeats: shared.repeats,
            pids: shared.server_pids,
        })
    }

    /// The parser's own form of a complaint.
    #[must_use]
    pub fn refuse(kind: ErrorKind, why: &str) -> clap::Error {
        Self::command().error(kind, why)
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
    fn a_comparison_takes_no_flags_that_it_has_no_use_for() {
        let of = |line: &str| Flags::of(std::iter::once("windlass-bench").chain(line.split_whitespace()));
        assert!(of("compare --etcd a --runs 1 --json --html b").is_ok());
        assert!(of("put --conns 1 --seed 5").is_ok());
        for flag in ["--conns=3", "--seed 1", "--server-pid 5", "--key a --cert b", "--sample", "--user a:b"]
        {
            for line in [format!("compare --etcd a {flag}"), format!("{flag} compare --etcd a")] {
                let refusal = of(&line).expect_err(&line).to_string();
                assert!(refusal.contains("is of single loads"), "{line}: {refusal}");
            }
        }
        let help = |line: &str| of(line).expect_err("is help").to_string();
        assert!(!help("compare --help").contains("--conns") && help("put --help").contains("--conns"));
        assert!(help("compare --help").contains("--html"), "{}", help("compare --help"));
        // Each of the names is a flag's.
        let command = Flags::command();
        let is_flag = |id: &&str| command.get_arguments().any(|arg| arg.get_id() == *id);
        assert!(OF_LOADS.iter().all(is_flag));
    }

    #[test]
    fn the_definition_is_sound() {
        Flags::command().debug_assert();
    }

    #[test]
    fn etcds_command_lines_are_understood() {
        let line = "--endpoints=http://a:1,b:2 --conns=10 --clients 100 put --key-size=8 --sequential-keys \
                    --key-space-size 1000 --total=10000 --val-size=256 --rate 50 --pid 1 --server-pid 2,3 \
                    --compact-interval 5s --compact-index-delta 100 --user a:b:c";
        let plan = parse(line).expect("is understood");
        assert_eq!(plan.reach.endpoints.len(), 2);
        assert_eq!((plan.reach.conns, plan.reach.clients, plan.reach.threads), (10, 100, 1));
        let user = plan.reach.access.security.user.expect("a user");
        assert_eq!((plan.pids, user.name, user.password), (vec![1, 2, 3], "a".to_owned(), "b:c".to_owned()));
        for line in [
            "range a",
            "range a z --consistency=s --limit 5 --count-only",
            "range --key-space-size 5 --keys zipf --seed 3",
            "txn-put --txn-ops 5 --key-space-size 100 --key-size 10",
            "txn-mixed a z --rw-ratio 4 --limit 10 --key-size 10 --key-space-size 10",
            "put --precise --sample --dial-timeout 3s --output json",
            "stm --stm-locker lock-rpc --rate 100 --total 10",
            "stm --isolation ss --keys 100 --keys-per-txn 3 --txn-wr-percent 25 --val-size 8",
            "watch --streams 5 --watch-per-stream 10 --watched-key-total 3 --put-rate 100 --put-total 50",
            "watch-get --watchers 10 --events 3",
            "watch-latency --total 100 --put-rate 200 --key-size 32 --val-size 32",
            "lease-keepalive --total 100",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
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
            ("put --total 0", "0"),
            ("put --compact-interval 5", "duration"),
            ("put --dial-timeout 3", "duration"),
            ("put --output xml", "possible values"),
            ("stm --stm-locker lock-client", "possible values"),
            ("put --user name", "NAME:PASSWORD"),
            ("put --cert a", "--key"),
            ("put --cacert /nowhere", "/nowhere"),
            ("watch-latency --val-size 8", "16"),
            ("watch-get --watchers 3 --streams 2", "--watchers"),
            ("watch-get --warm-up 5", "--warm-up"),
            ("stm --keys 2 --keys-per-txn 3", "--keys-per-txn"),
            ("txn-mixed --rw-ratio=-1", "--rw-ratio"),
            ("", "Usage"),
        ] {
            let refusal = parse(line).expect_err(line);
            assert!(refusal.contains(why), "{line}: {refusal}");
        }
    }
}
