//! From the files of a member to its parts: the Raft log, the shards, and how the log is made durable.
//!
//! Two steps: [`Found::read`] reads all of it and refuses what is damaged, missing or does not fit, and writes nothing;
//! [`Found::start`] begins to write. Blocking, before any thread runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use windlass_io_disk::files::DiskFolder;
use windlass_io_disk::probe::{self, probe};
use windlass_io_disk::uring::{SyncMode, Uring};
use windlass_io_log::folder::{Absent, Folder};
use windlass_io_log::ids;
use windlass_io_log::op::Failure;
use windlass_io_log::raft_log::{self, RaftLog, Recovered};
use windlass_records::batch::Origin;
use windlass_replica::consensus::{Consensus, check_restore};
use windlass_replica::founding::{Installs, founding, installs};
use windlass_types::{LogIndex, nanoseconds};

use super::assemble::{assemble, founds, run_of};
use super::open::{OpenError, at};
use crate::net::Ticket;
use crate::shard::{self, FoundShards, OpenedShards};
use crate::snapshot::{self, Install};
use crate::startup::data_folder::{self, DataFolder, Identity};
use crate::startup::{Config, config};

/// Name of the Raft log's folder within the data folder.
const LOG_FOLDER: &str = "log";

/// Name of the shards' folder within the data folder.
const SHARDS_FOLDER: &str = "shards";

/// What a start finds on the disk: sound, and still as it was.
pub struct Found {
    log_path: PathBuf,
    log: RaftLog,
    recovered: Recovered,
    shards: FoundShards,
    /// A snapshot that has arrived; it is forgotten once this start is durable.
    install: Option<Install>,
    /// Whether the shards and the log are its.
    replaced: bool,
}

/// What reading the files of a member comes to.
pub enum Read {
    /// They are sound.
    Sound(Box<Found>),
    /// The shards are not, and the other members have what they held; the log is.
    Damaged {
        /// What is wrong.
        error: OpenError,
        /// Where the log begins: what replaces the shards must reach to it.
        log_start: LogIndex,
    },
}

/// What a start has made.
pub struct Started {
    /// Raft, log and sequencer.
    pub core: Consensus,
    /// This run of this member.
    pub us: Origin,
    /// The log's ring.
    pub disk: Uring,
    /// The shards.
    pub shards: OpenedShards<Ticket>,
    /// How they make their writes durable.
    pub shards_mode: SyncMode,
}

impl Found {
    /// Reads the log and the shards of the member whose data is, or will be, in `folder`.
    pub fn read(
        config: &Config,
        folder: &Path,
        identity: &Identity,
        options: raft_log::Options,
    ) -> Result<Read, OpenError> {
        let log_path = config.wal_dir.clone().unwrap_or_else(|| folder.join(LOG_FOLDER));
        let (log, mut recovered) =
            RaftLog::open(&mut *look_into(&log_path)?, options, ids::Identity(identity.salt))?;
        let shard_options = shard_options(config, folder, identity);
        let install = snapshot::found(folder).map_err(OpenError::Snapshot)?;
        let damaged = read_shards(&shard_options, &recovered).err().filter(OpenError::is_of_damaged_shards);
        let installs =
            install.as_ref().map(|install| installs(&install.state, &recovered, damaged.is_some()));
        let replaced = matches!(installs, Some(Installs::All(_)));
        match (&install, installs, damaged) {
            (Some(install), Some(installs @ (Installs::Shards | Installs::All(_))), _) => {
                tracing::info!(index = %install.state.index, "installing a snapshot");
                failpoint!("applyBeforeOpenSnapshot");
                let contents = install.contents(shard_options.shards).map_err(OpenError::Snapshot)?;
                shard::replace(&shard_options, contents, install.state)?;
                if let Installs::All(log) = installs {
                    recovered = log;
                }
            }
            (_, _, Some(error)) if shard_options.has_peers => {
                return Ok(Read::Damaged { error, log_start: recovered.start_index });
            }
            _ => {}
        }
        let shards = read_shards(&shard_options, &recovered)?;
        tracing::info!(
            entries = recovered.entries.len(),
            last_index = %last_index(&recovered),
            stable_index = %shards.state().index,
            revision = %shards.state().revision,
            "recovered"
        );
        Ok(Read::Sound(Box::new(Self { log_path, log, recovered, shards, install, replaced })))
    }

    /// Whether there is nothing: the member is new.
    pub fn is_empty(&self) -> bool {
        self.recovered == Recovered::default() && self.shards.state().index == LogIndex::ZERO
    }

    /// What the log and the shards hold.
    pub(super) fn parts(&self) -> (&Recovered, &FoundShards) {
        (&self.recovered, &self.shards)
    }

    /// Makes what is missing, begins this start in the log and the shards, and joins the parts.
    pub fn start(mut self, config: &Config, folder: &DataFolder) -> Result<Started, OpenError> {
        data_folder::make_private(&self.log_path)?;
        let modes = choose_sync_modes(config.storage.sync_mode, &self.log_path, folder.path())?;
        if self.is_empty() && founds(&config.bootstrap) {
            self.recovered = founding(config.bootstrap.founders());
            self.log.replace(&self.recovered);
        } else if self.replaced {
            self.log.replace(&self.recovered);
        }
        self.log.start(&mut DiskFolder::open(&self.log_path).map_err(at(&self.log_path))?)?;
        failpoint!("startAfterLog");
        if let Some(install) = self.install.take() {
            failpoint!("raftAfterApplySnap");
            install.done().map_err(OpenError::Snapshot)?;
        }
        let shards = self.shards.start()?;
        failpoint!("startAfterShards");
        let disk = Uring::open(&self.log_path, modes.log, self.log.buffers())?;
        if !disk.has_registered() {
            tracing::warn!(
                "too little memory may be locked for the log's buffers, as other processes of this user lock some: each write \
                 costs a little more; `ulimit -l unlimited`, LimitMEMLOCK=infinity or --ulimit memlock=-1 raises the limit"
            );
        }
        let us = run_of(folder.identity().member);
        let core = assemble(config, us, self.log, self.recovered, &shards);
        Ok(Started { core, us, disk, shards, shards_mode: modes.shards })
    }
}

/// The shards, if they are sound and go with the log.
fn read_shards(options: &shard::OpenOptions, log: &Recovered) -> Result<FoundShards, OpenError> {
    let shards = shard::read(options.clone())?;
    check_restore(log.start_index, last_index(log), shards.state().index)?;
    Ok(shards)
}

fn shard_options(config: &Config, folder: &Path, identity: &Identity) -> shard::OpenOptions {
    shard::OpenOptions {
        folder: folder.join(SHARDS_FOLDER),
        identity: identity.salt,
        shards: u16::try_from(config.storage.shards).expect("checked with the flags"),
        flush_bytes: config.storage.shard_flush_bytes,
        flush_age_ns: nanoseconds(config.storage.shard_flush_interval),
        version_bytes_max: config.limits.request_bytes_max,
        has_peers: config.bootstrap.members.len() > 1,
    }
}

/// How writes are made durable.
struct SyncModes {
    log: SyncMode,
    shards: SyncMode,
}

/// As the flag says, or as probes find faster: one of the log's folder, and one of the data folder if that is on another disk.
fn choose_sync_modes(asked: config::SyncMode, log: &Path, data: &Path) -> Result<SyncModes, OpenError> {
    let both = |mode| Ok(SyncModes { log: mode, shards: mode });
    match asked {
        config::SyncMode::Dsync => return both(SyncMode::Dsync),
        config::SyncMode::Fdatasync => return both(SyncMode::WriteThenSync),
        config::SyncMode::Auto => {}
    }
    let found = probe_disk(log)?;
    if device(log)? == device(data)? {
        both(found)
    } else {
        Ok(SyncModes { log: found, shards: probe_disk(data)? })
    }
}

/// The filesystem that `path` is on.
fn device(path: &Path) -> Result<u64, OpenError> {
    Ok(fs::metadata(path).map_err(at(path))?.dev())
}

/// The way that is faster in `folder`, which exists.
fn probe_disk(folder: &Path) -> Result<SyncMode, OpenError> {
    let folder_name = folder.display();
    match probe(folder) {
        Ok(found) => {
            tracing::info!(
                folder = %folder_name,
                mode = %found.mode,
                dsync_us = found.dsync_median.as_micros(),
                fdatasync_us = found.write_then_sync_median.as_micros(),
                "chose how the logs on this disk are made durable"
            );
            Ok(found.mode)
        }
        Err(probe::Error::Failed(Failure::NoSpace)) => {
            tracing::warn!(folder = %folder_name, "no room to probe the disk: the logs on it are written with O_DSYNC");
            Ok(SyncMode::Dsync)
        }
        Err(error) => Err(error.into()),
    }
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
