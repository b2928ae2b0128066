//! The loads, with etcd's names and flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::parts::{Amount, KeyFlags, ReadFlags, ValueFlags, duration, factor, keys_of, target};
use crate::keys::{self, Spread};
use crate::leases;
use crate::load::Load;
use crate::plan::{After, Compaction, Job, Reach, WatchGet, WatchPuts};
use crate::watching::Watches;
use crate::workload::{Guard, Isolation, Locker, STAMP_BYTES, Shape, Stm, Workload};

const STREAMS_MAX: u64 = 100_000;
const WATCHES_MAX: u64 = 10_000_000;
const OPS_MAX: u64 = 10_000;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Puts.
    Put(PutFlags),
    /// Ranges: KEY alone, KEY to END, or without KEY single keys as `put` writes them.
    Range(RangeFlags),
    /// Transactions that put.
    TxnPut(TxnPutFlags),
    /// Transactions that read or put.
    TxnMixed(TxnMixedFlags),
    /// Plain ranges of single keys and plain puts.
    Mixed(MixedFlags),
    /// Software transactions: read keys, commit if they have not changed, else try again.
    Stm(StmFlags),
    /// Create watches, then put watched keys; how fast and how late events come.
    Watch(WatchFlags),
    /// Serializable gets while watches catch up from an old revision.
    WatchGet(WatchGetFlags),
    /// How late events of one put at a time come.
    WatchLatency(WatchLatencyFlags),
    /// Keepalives of leases.
    LeaseKeepalive {
        #[command(flatten)]
        amount: Amount,
        /// Leases, which take turns; granted before and revoked after, over the same connections.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=leases::COUNT_MAX))]
        leases: u64,
    },
    /// Start two systems on fresh folders and run a suite of loads against both in turn.
    Compare(CompareFlags),
}

#[derive(Debug, Args)]
pub struct PutFlags {
    #[command(flatten)]
    amount: Amount,
    #[command(flatten)]
    keys: KeyFlags,
    #[command(flatten)]
    value: ValueFlags,
    /// Compact every so often; 0: never.
    #[arg(long, default_value = "0", value_parser = duration)]
    compact_interval: Duration,
    /// Revisions that a compaction leaves.
    #[arg(long, default_value_t = 1_000)]
    compact_index_delta: i64,
    /// At the end, ask all endpoints for the hash of the store and fail if they differ.
    #[arg(long)]
    check_hashkv: bool,
}

#[derive(Debug, Args)]
pub struct RangeFlags {
    /// Key, or first key of the range.
    #[arg(conflicts_with_all = ["keys", "sequential_keys", "key_size", "key_space_size"])]
    key: Option<String>,
    /// First key after the range.
    end: Option<String>,
    #[command(flatten)]
    amount: Amount,
    #[command(flatten)]
    keys: KeyFlags,
    #[command(flatten)]
    read: ReadFlags,
}

#[derive(Debug, Args)]
pub struct TxnPutFlags {
    #[command(flatten)]
    amount: Amount,
    #[command(flatten)]
    keys: KeyFlags,
    #[command(flatten)]
    value: ValueFlags,
    /// Puts in one transaction.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=OPS_MAX))]
    txn_ops: u64,
    /// Put only where the key does not exist, else get it: so Kubernetes creates objects.
    #[arg(long)]
    if_absent: bool,
}

#[derive(Debug, Args)]
pub struct TxnMixedFlags {
    /// Key, or first key of the range that reads ask for; without it reads get single keys as puts write them.
    key: Option<String>,
    /// First key after the range.
    end: Option<String>,
    #[command(flatten)]
    mixed: MixedFlags,
}

#[derive(Debug, Args)]
pub struct MixedFlags {
    #[command(flatten)]
    amount: Amount,
    #[command(flatten)]
    keys: KeyFlags,
    #[command(flatten)]
    value: ValueFlags,
    #[command(flatten)]
    read: ReadFlags,
    /// Reads for each write.
    #[arg(long, default_value_t = 1.0)]
    rw_ratio: f64,
}

#[derive(Debug, Args)]
pub struct StmFlags {
    #[command(flatten)]
    amount: Amount,
    #[command(flatten)]
    value: ValueFlags,
    /// Read committed, repeatable reads, serializable, or serializable snapshot.
    #[arg(long, value_enum, default_value_t = Isolation::RepeatableReads)]
    isolation: Isolation,
    /// Wrap each transaction in a lock that all share: `lock-rpc` asks the server's Lock service for it. etcd's benchmark
    /// also has `lock-client`, which takes a watch for each client that waits.
    #[arg(long, value_enum, default_value_t = Locker::Stm)]
    stm_locker: Locker,
    /// Number of different keys.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Keys that one transaction reads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=OPS_MAX))]
    keys_per_txn: u64,
    /// Of 100 transactions, those that write what they have read.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(..=100))]
    txn_wr_percent: u64,
}

#[derive(Debug, Args)]
pub struct WatchFlags {
    /// Watch streams.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=STREAMS_MAX))]
    streams: u64,
    /// Watches of each stream.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=WATCHES_MAX))]
    watch_per_stream: u64,
    /// Number of watched keys, which the watches share.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=WATCHES_MAX))]
    watched_key_total: u64,
    /// Puts per second; 0: as many as are answered.
    #[arg(long, default_value_t = 0)]
    put_rate: u64,
    /// Number of puts, which go over the watched keys in turn.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    put_total: u64,
    #[command(flatten)]
    sizes: WatchSizes,
}

#[derive(Debug, Args)]
pub struct WatchSizes {
    /// Size of a key in bytes.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    key_size: u64,
    /// Size of a value in bytes; it begins with the time, so it has at least 16.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(STAMP_BYTES as u64..=(1 << 20)))]
    val_size: u64,
    /// Ask for the value before with each event.
    #[arg(long)]
    prev_kv: bool,
}

#[derive(Debug, Args)]
pub struct WatchLatencyFlags {
    /// Number of puts.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    total: u64,
    /// Puts per second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    put_rate: u64,
    /// Watch streams.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=STREAMS_MAX))]
    streams: u64,
    /// Watches of each stream.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=WATCHES_MAX))]
    watchers_per_stream: u64,
    #[command(flatten)]
    sizes: WatchSizes,
}

#[derive(Debug, Args)]
pub struct WatchGetFlags {
    /// Number of watches, dealt to the streams.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=WATCHES_MAX))]
    watchers: u64,
    /// Watch streams.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=STREAMS_MAX))]
    streams: u64,
    /// Events that each watch has to catch up with.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    events: u64,
}

/// Of `compare`.
#[derive(Clone, Debug, Args)]
pub struct CompareFlags {
    /// etcd's program.
    #[arg(long, value_name = "PATH")]
    pub etcd: PathBuf,
    /// Windlass's program; without it, `windlass` beside this one.
    #[arg(long, value_name = "PATH")]
    pub windlass: Option<PathBuf>,
    /// Members of each system.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=7))]
    pub nodes: u64,
    /// Let every system write to the disk this often a second at most (root and control groups needed).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub write_iops: Option<u64>,
    /// Loads whose names contain one of these; without it all.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub only: Vec<String>,
    /// Times that each load runs against each system, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub runs: u64,
    /// Makes the loads larger or smaller.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = factor)]
    pub scale: f64,
    /// Further flags of Windlass, separated by blanks.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub windlass_flags: String,
    /// Further flags of etcd, separated by blanks.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub etcd_flags: String,
    /// Where the members' folders are; without it in the system's folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Write the table as Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

impl Command {
    /// As on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Range(_) => "range",
            Self::TxnPut(_) => "txn-put",
            Self::TxnMixed(_) => "txn-mixed",
            Self::Mixed(_) => "mixed",
            Self::Stm(_) => "stm",
            Self::Watch(_) => "watch",
            Self::WatchGet(_) => "watch-get",
            Self::WatchLatency(_) => "watch-latency",
            Self::LeaseKeepalive { .. } => "lease-keepalive",
            Self::Compare(_) => "compare",
        }
    }

    /// What happens beside and after the load.
    pub fn after(&self) -> Result<After, String> {
        let Self::Put(flags) = self else { return Ok(After::default()) };
        let (interval, keep) = (flags.compact_interval, flags.compact_index_delta);
        let compaction = (!interval.is_zero()).then_some(Compaction { interval, keep });
        Ok(After { compaction, check_hash: flags.check_hashkv })
    }

    /// The job itself.
    pub fn job(self, reach: &Reach, seed: u64) -> Result<Job, String> {
        let load = |amount: &Amount, workload| {
            Job::Load(Box::new(reach.load(amount.total, amount.rate(), workload)))
        };
        Ok(match self {
            Self::Put(flags) => load(&flags.amount, Workload::put(flags.keys.shape(&flags.value, seed)?)),
            Self::Range(RangeFlags { key, end, amount, keys, read }) => {
                load(&amount, Workload::range(target(key, end, keys.build(seed)?), read.reading()))
            }
            Self::TxnPut(flags) => {
                let guard = if flags.if_absent { Guard::Absent } else { Guard::None };
                let shape = flags.keys.shape(&flags.value, seed)?;
                load(&flags.amount, Workload::txn_put(shape, flags.txn_ops as usize, guard))
            }
            Self::TxnMixed(TxnMixedFlags { key, end, mixed }) => {
                let shape = mixed.shape(seed)?;
                let target = target(key, end, (shape.keys.clone(), shape.key_bytes));
                let reading = mixed.read.reading();
                load(&mixed.amount, Workload::txn_mixed(shape, target, reading, mixed.rw_ratio))
            }
            Self::Mixed(mixed) => {
                let (shape, reading) = (mixed.shape(seed)?, mixed.read.reading());
                load(&mixed.amount, Workload::mixed_plain(shape, reading, mixed.rw_ratio))
            }
            Self::Stm(flags) => load(&flags.amount, Workload::stm(flags.stm(seed)?)),
            Self::Watch(flags) => Job::Watch(Box::new(flags.job(reach, seed)?)),
            Self::WatchLatency(flags) => Job::Watch(Box::new(flags.job(reach, seed)?)),
            Self::WatchGet(flags) => Job::WatchGet(flags.job(reach)?),
            Self::LeaseKeepalive { amount, leases } => {
                Job::KeepAlive { total: amount.total, rate: amount.rate(), leases }
            }
            Self::Compare(_) => return Err("compare is not a load".to_owned()),
        })
    }
}

impl MixedFlags {
    fn shape(&self, seed: u64) -> Result<Shape, String> {
        if !(self.rw_ratio.is_finite() && self.rw_ratio >= 0.0) {
            return Err(format!("--rw-ratio {} is no ratio", self.rw_ratio));
        }
        self.keys.shape(&self.value, seed)
    }
}

impl StmFlags {
    fn stm(&self, seed: u64) -> Result<Stm, String> {
        if self.keys_per_txn > self.keys {
            return Err(format!("--keys-per-txn {} is more than --keys {}", self.keys_per_txn, self.keys));
        }
        let key_bytes = keys::digits(self.keys).max(8);
        let (keys, key_bytes) = keys_of(self.keys, key_bytes as u64, Spread::Uniform, seed)?;
        let shape = Shape { keys, key_bytes, value_bytes: self.value.val_size as usize, seed };
        let write_share = self.txn_wr_percent as f64 / 100.0;
        Ok(Stm::new(shape, self.keys_per_txn, write_share, self.isolation).locked(self.stm_locker))
    }
}

/// Watches of so many keys, and a load that puts them in turn.
fn watch_puts(
    reach: &Reach,
    (streams, per_stream, keys): (u64, u64, u64),
    (total, rate): (u64, u64),
    sizes: &WatchSizes,
    seed: u64,
) -> Result<WatchPuts, String> {
    let (chosen, key_bytes) = keys_of(keys, sizes.key_size, Spread::Sequential, seed)?;
    let key = |number: u64| {
        let mut key = vec![0; key_bytes];
        keys::write(number, &mut key);
        key
    };
    let shape = Shape { keys: chosen, key_bytes, value_bytes: sizes.val_size as usize, seed };
    let workload = Workload::stamped_put(shape);
    let puts: Load = reach.load(total, std::num::NonZeroU64::new(rate), workload);
    let mut watches = reach.watches(streams as usize, per_stream as usize, (0..keys).map(key).collect());
    watches.prev_kv = sizes.prev_kv;
    Ok(WatchPuts { watches, puts })
}

impl WatchFlags {
    fn job(self, reach: &Reach, seed: u64) -> Result<WatchPuts, String> {
        let watches = (self.streams, self.watch_per_stream, self.watched_key_total);
        watch_puts(reach, watches, (self.put_total, self.put_rate), &self.sizes, seed)
    }
}

impl WatchLatencyFlags {
    fn job(self, reach: &Reach, seed: u64) -> Result<WatchPuts, String> {
        let watches = (self.streams, self.watchers_per_stream, 1);
        watch_puts(reach, watches, (self.total, self.put_rate), &self.sizes, seed)
    }
}

impl WatchGetFlags {
    fn job(self, reach: &Reach) -> Result<WatchGet, String> {
        if !self.watchers.is_multiple_of(self.streams) {
            return Err(format!(
                "--watchers {} cannot be dealt to --streams {}",
                self.watchers, self.streams
            ));
        }
        let per_stream = (self.watchers / self.streams) as usize;
        let watches: Watches = reach.watches(self.streams as usize, per_stream, vec![b"watchkey".to_vec()]);
        Ok(WatchGet { watches, events: self.events })
    }
}
