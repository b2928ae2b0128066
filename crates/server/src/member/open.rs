//! From a configuration to a recovered member: checks, then locks, logs and shards. Blocking, before any thread runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use windlass_io_disk::files::DiskFolder;
use windlass_io_disk::probe::probe;
use windlass_io_disk::uring::{SyncMode, Uring};
use windlass_io_log::buffer::BLOCK_BYTES;
use windlass_io_log::ids;
use windlass_io_log::raft_log::{self, RaftLog, Recovered};
use windlass_raft::{Membership, Raft, Restored};
use windlass_replica::consensus::{self, BATCH_COMMANDS_MAX, Consensus, Parts, RestoreError, check_restore};
use windlass_types::LogIndex;

use super::listeners::{ListenError, Listeners};
use super::{raise_limits, registered_bytes};
use crate::net::Ticket;
use crate::shard::{self, OpenedShards};
use crate::startup::data_folder::{self, DataFolder, Expected};
use crate::startup::{Config, Reason, config, logging, preflight};

/// What a command costs in an entry and its frame beside its payload, in bytes; generous.
const COMMAND_OVERHEAD_BYTES: usize = 32;

/// What an entry and its frame cost beside their commands, in bytes; generous.
const FRAME_OVERHEAD_BYTES: usize = 4096;

/// Name of the Raft log's folder within the data folder.
const LOG_FOLDER: &str = "log";

/// Name of the shards' folder within the data folder.
const SHARDS_FOLDER: &str = "shards";

/// Name of the folder that the disk probe uses and leaves empty.
const PROBE_FOLDER: &str = "probe";

/// A member that is recovered and can be started.
pub struct Opened {
    /// Locked as long as this lives.
    pub folder: DataFolder,
    /// Sockets, bound.
    pub listeners: Listeners,
    /// Raft, log and sequencer.
    pub core: Consensus,
    /// The log's ring.
    pub disk: Uring,
    /// The shards.
    pub shards: OpenedShards<Ticket>,
}

/// Why a member cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] data_folder::Error),
    /// The limits of the process.
    #[error(transparent)]
    Limits(#[from] preflight::Error),
    /// What the kernel or the filesystem offers.
    #[error(transparent)]
    Disk(#[from] windlass_io_disk::preflight::Error),
    /// The disk probe.
    #[error(transparent)]
    Probe(#[from] windlass_io_disk::probe::Error),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The Raft log.
    #[error(transparent)]
    Log(#[from] windlass_io_log::Error),
    /// The shards.
    #[error(transparent)]
    Shards(#[from] shard::OpenError),
    /// The two do not fit.
    #[error("{0}; put the missing files back, or restore the member from a snapshot")]
    Restore(#[from] RestoreError),
    /// A file or folder.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// The reason to end the process with.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Folder(error) => error.reason(),
            Self::Limits(error) => error.reason(),
            Self::Disk(error) => Reason::of_disk(error),
            Self::Probe(windlass_io_disk::probe::Error::Preflight(error)) => Reason::of_disk(error),
            Self::Probe(_) => Reason::DiskFailed,
            Self::Listen(error) => error.reason(),
            Self::Log(error) => Reason::of_log(error),
            Self::Shards(error) => Reason::of_shards(error),
            Self::Restore(_) => Reason::Damaged,
            Self::Io { .. } => Reason::FolderAccess,
        }
    }
}

/// Opens a member. Until everything that can be refused was looked at, nothing is written.
pub fn open(config: &Config) -> Result<Opened, OpenError> {
    let expected = Expected::from_flags(&config.name, &config.bootstrap);
    let examined = data_folder::examine(&config.data_dir, &expected)?;
    let log_options = log_options(config);
    let buffers = log_options.buffers();
    raise_limits(config, registered_bytes(&buffers))?;
    windlass_io_disk::preflight::check(examined.probe_path(), &buffers)?;
    let listeners = Listeners::bind(config)?;
    let folder = examined.prepare()?;
    logging::install(&config.logging).map_err(at(&config.data_dir))?;
    crate::startup::fatal::abort_on_panic();
    logging::report(&config.notices);
    let mode = choose_sync_mode(config, folder.path())?;
    let (core, disk, shards) = recover(config, &folder, log_options, mode)?;
    Ok(Opened { folder, listeners, core, disk, shards })
}

fn log_options(config: &Config) -> raft_log::Options {
    let storage = &config.storage;
    let frame_bytes =
        storage.batch_bytes_max + BATCH_COMMANDS_MAX * COMMAND_OVERHEAD_BYTES + FRAME_OVERHEAD_BYTES;
    raft_log::Options {
        segment_bytes: usize::try_from(storage.wal_segment_bytes).expect("checked with the flags"),
        flush_depth: storage.flush_depth,
        frame_bytes_max: frame_bytes.next_multiple_of(BLOCK_BYTES),
        ..raft_log::Options::default()
    }
}

/// The flag's mode, or the one that a probe finds faster on this disk.
fn choose_sync_mode(config: &Config, folder: &Path) -> Result<SyncMode, OpenError> {
    let path = folder.join(PROBE_FOLDER);
    match config.storage.sync_mode {
        config::SyncMode::Dsync => return Ok(SyncMode::Dsync),
        config::SyncMode::Fdatasync => return Ok(SyncMode::WriteThenSync),
        config::SyncMode::Auto => {}
    }
    // A crash in the middle of a probe leaves its file.
    if path.exists() {
        fs::remove_dir_all(&path).map_err(at(&path))?;
    }
    fs::create_dir(&path).map_err(at(&path))?;
    let probed = probe(&path);
    fs::remove_dir_all(&path).map_err(at(&path))?;
    match probed {
        Ok(found) => {
            tracing::info!(
                mode = %found.mode,
                dsync_us = found.dsync_median.as_micros(),
                fdatasync_us = found.write_then_sync_median.as_micros(),
                "chose how the raft log is made durable"
            );
            Ok(found.mode)
        }
        Err(windlass_io_disk::probe::Error::Failed(windlass_io_log::op::Failure::NoSpace)) => {
            tracing::warn!("no room to probe the disk: the raft log is written with O_DSYNC");
            Ok(SyncMode::Dsync)
        }
        Err(error) => Err(error.into()),
    }
}

fn recover(
    config: &Config,
    folder: &DataFolder,
    options: raft_log::Options,
    mode: SyncMode,
) -> Result<(Consensus, Uring, OpenedShards<Ticket>), OpenError> {
    let log_path = config.wal_dir.clone().unwrap_or_else(|| folder.path().join(LOG_FOLDER));
    make_folder(&log_path)?;
    let mut log_folder = DiskFolder::open(&log_path).map_err(at(&log_path))?;
    let (log, recovered) = RaftLog::recover(&mut log_folder, options, ids::Identity(folder.identity().salt))?;
    let shards = shard::open(&shard::OpenOptions {
        folder: folder.path().join(SHARDS_FOLDER),
        identity: folder.identity().salt,
        shards: u16::try_from(config.storage.shards).expect("checked with the flags"),
        flush_bytes: config.storage.shard_flush_bytes,
        flush_age_ns: u64::try_from(config.storage.shard_flush_interval.as_nanos()).unwrap_or(u64::MAX),
        version_bytes_max: config.limits.request_bytes_max,
        has_peers: false,
    })?;
    check_restore(recovered.start_index, last_index(&recovered), shards.state.index)?;
    tracing::info!(
        entries = recovered.entries.len(),
        last_index = %last_index(&recovered),
        stable_index = %shards.state.index,
        revision = %shards.state.revision,
        "recovered"
    );
    let disk = Uring::open(&log_path, mode, log.buffers())?;
    let core = join(config, folder, log, recovered, &shards);
    Ok((core, disk, shards))
}

fn join(
    config: &Config,
    folder: &DataFolder,
    log: RaftLog,
    recovered: Recovered,
    shards: &OpenedShards<Ticket>,
) -> Consensus {
    let member = folder.identity().member;
    let started_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let ticks = config.raft.election_timeout.as_millis() / config.raft.heartbeat_interval.as_millis();
    let raft_config = windlass_raft::Config {
        election_ticks: u32::try_from(ticks).expect("checked with the flags"),
        pre_vote: config.raft.pre_vote,
        ..windlass_raft::Config::new(member, started_ns, started_ns ^ member.0)
    };
    let mut hard_state = recovered.hard_state;
    // The commit index on disk is a hint that may lag; what a shard holds was committed.
    hard_state.commit = hard_state.commit.max(shards.state.index);
    let raft = Raft::new(
        raft_config,
        Restored {
            hard_state,
            start_index: recovered.start_index,
            start_term: recovered.start_term,
            entries: recovered.entries,
            applied: shards.state.index,
            membership: Membership::of_voters([member]),
        },
    );
    let options = consensus::Options {
        batch_bytes_max: config.storage.batch_bytes_max,
        linger_ns: u64::try_from(config.storage.batch_linger.as_nanos()).unwrap_or(u64::MAX),
    };
    let count = u16::try_from(shards.shards.len()).expect("made from a u16");
    Consensus::new(member, options, Parts { raft, log, state: shards.state, shards: count })
}

fn last_index(recovered: &Recovered) -> LogIndex {
    recovered.entries.last().map_or(recovered.start_index, |entry| entry.index)
}

fn make_folder(path: &Path) -> Result<(), OpenError> {
    match fs::create_dir(path) {
        Ok(()) => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(parent).and_then(|f| f.sync_all()).map_err(at(parent))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at(path)(error)),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}
