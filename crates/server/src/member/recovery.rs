//! From the files of a member to its parts: the Raft log, the shards, and how the log is made durable.
//!
//! Two steps: [`Found::read`] reads all of it and refuses what is damaged, missing or does not fit, and writes nothing;
//! [`Found::start`] begins to write. Blocking, before any thread runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use windlass_io_disk::files::DiskFolder;
use windlass_io_disk::probe::{self, Probe, probe};
use windlass_io_disk::uring::{SyncMode, Uring};
use windlass_io_log::folder::{Absent, Folder};
use windlass_io_log::ids;
use windlass_io_log::op::Failure;
use windlass_io_log::raft_log::{self, RaftLog, Recovered};
use windlass_raft::{Membership, Raft, Restored};
use windlass_replica::consensus::{self, Consensus, Parts, check_restore};
use windlass_replica::shard::system_of;
use windlass_types::LogIndex;

use super::open::{OpenError, at};
use crate::net::Ticket;
use crate::shard::{self, FoundShards, OpenedShards};
use crate::startup::data_folder::{self, DataFolder, Identity};
use crate::startup::{Config, config};

/// Name of the Raft log's folder within the data folder.
const LOG_FOLDER: &str = "log";

/// Name of the shards' folder within the data folder.
const SHARDS_FOLDER: &str = "shards";

/// Name of the folder that the disk probe uses and leaves empty.
const PROBE_FOLDER: &str = "probe";

/// What a start finds on the disk: sound, and still as it was.
pub struct Found {
    log_path: PathBuf,
    log: RaftLog,
    recovered: Recovered,
    shards: FoundShards,
}

impl Found {
    /// Reads the log and the shards of the member whose data is, or will be, in `folder`.
    pub fn read(
        config: &Config,
        folder: &Path,
        identity: &Identity,
        options: raft_log::Options,
    ) -> Result<Self, OpenError> {
        let log_path = config.wal_dir.clone().unwrap_or_else(|| folder.join(LOG_FOLDER));
        let (log, recovered) =
            RaftLog::open(&mut *look_into(&log_path)?, options, ids::Identity(identity.salt))?;
        let shards = shard::read(shard::OpenOptions {
            folder: folder.join(SHARDS_FOLDER),
            identity: identity.salt,
            shards: u16::try_from(config.storage.shards).expect("checked with the flags"),
            flush_bytes: config.storage.shard_flush_bytes,
            flush_age_ns: u64::try_from(config.storage.shard_flush_interval.as_nanos()).unwrap_or(u64::MAX),
            version_bytes_max: config.limits.request_bytes_max,
            has_peers: false,
        })?;
        let state = shards.state();
        check_restore(recovered.start_index, last_index(&recovered), state.index)?;
        tracing::info!(
            entries = recovered.entries.len(),
            last_index = %last_index(&recovered),
            stable_index = %state.index,
            revision = %state.revision,
            "recovered"
        );
        Ok(Self { log_path, log, recovered, shards })
    }

    /// Makes what is missing, begins this start in the log and the shards, and joins the parts.
    pub fn start(
        mut self,
        config: &Config,
        folder: &DataFolder,
    ) -> Result<(Consensus, Uring, OpenedShards<Ticket>), OpenError> {
        data_folder::make_private(&self.log_path)?;
        let mode = choose_sync_mode(config, folder.path())?;
        self.log.start(&mut DiskFolder::open(&self.log_path).map_err(at(&self.log_path))?)?;
        let shards = self.shards.start()?;
        let disk = Uring::open(&self.log_path, mode, self.log.buffers())?;
        let core = join(config, folder, self.log, self.recovered, &shards);
        Ok((core, disk, shards))
    }
}

/// The flag's mode, or the one that a probe finds faster on this disk.
fn choose_sync_mode(config: &Config, folder: &Path) -> Result<SyncMode, OpenError> {
    match config.storage.sync_mode {
        config::SyncMode::Dsync => return Ok(SyncMode::Dsync),
        config::SyncMode::Fdatasync => return Ok(SyncMode::WriteThenSync),
        config::SyncMode::Auto => {}
    }
    let Some(found) = probe_disk(&folder.join(PROBE_FOLDER))? else {
        tracing::warn!("no room to probe the disk: the raft log is written with O_DSYNC");
        return Ok(SyncMode::Dsync);
    };
    tracing::info!(
        mode = %found.mode,
        dsync_us = found.dsync_median.as_micros(),
        fdatasync_us = found.write_then_sync_median.as_micros(),
        "chose how the raft log is made durable"
    );
    Ok(found.mode)
}

/// Probes in a folder that is made for it; none where there is no room for that.
fn probe_disk(path: &Path) -> Result<Option<Probe>, OpenError> {
    // A crash in the middle of a probe leaves its file.
    if path.exists() {
        fs::remove_dir_all(path).map_err(at(path))?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(None),
        made => made.map_err(at(path))?,
    }
    let probed = probe(path);
    fs::remove_dir_all(path).map_err(at(path))?;
    match probed {
        Err(probe::Error::Failed(Failure::NoSpace)) => Ok(None),
        probed => Ok(Some(probed?)),
    }
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
    let system = system_of(shards.shards.iter().map(|shard| &shard.core));
    Consensus::new(member, options, Parts { raft, log, state: shards.state, system, shards: count })
}

fn last_index(recovered: &Recovered) -> LogIndex {
    recovered.entries.last().map_or(recovered.start_index, |entry| entry.index)
}

/// For reading; one that is not there is empty.
fn look_into(path: &Path) -> Result<Box<dyn Folder>, OpenError> {
    match DiskFolder::open(path) {
        Ok(folder) => Ok(Box::new(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(Absent)),
        Err(error) => Err(at(path)(error)),
    }
}
