//! From a configuration to a recovered member: checks, then locks, logs and shards. Blocking, before any thread runs.
//!
//! Must never write before everything that can be refused was looked at.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use windlass_api::etcdserverpb::Member;
use windlass_io_disk::uring::{SyncMode, Uring};
use windlass_io_log::buffer::BLOCK_BYTES;
use windlass_io_log::error::Repair as Advice;
use windlass_io_log::raft_log;
use windlass_records::batch::Origin;
use windlass_replica::consensus::{BATCH_COMMANDS_MAX, Consensus, RestoreError};

use super::join;
use super::listeners::{ListenError, bind_all, bind_peers};
use super::protect::{self, Protected};
use super::recovery::{Found, Read, Started};
use super::repair::Repair;
use super::{raise_limits, registered_bytes};
use crate::auth::{Authority, JwtError};
use crate::net::Listeners;
use crate::net::Ticket;
use crate::shard::{self, OpenedShards};
use crate::startup::config::ClusterState;
use crate::startup::data_folder::{self, DataFolder, Expected};
use crate::startup::{Config, Reason, logging, preflight};

/// What a command costs in an entry and its frame beside its payload, in bytes; generous.
const COMMAND_OVERHEAD_BYTES: usize = 32;

/// What an entry and its frame cost beside their commands, in bytes; generous.
const FRAME_OVERHEAD_BYTES: usize = 4096;

/// A member that is recovered and can be started.
pub struct Opened {
    /// Locked as long as this lives.
    pub folder: DataFolder,
    /// Sockets, bound.
    pub listeners: Vec<Listeners>,
    /// Sockets for the other members, bound.
    pub peer_sockets: Vec<TcpListener>,
    /// What connections are protected with.
    pub tls: Protected,
    /// What makes and reads tokens.
    pub authority: Authority,
    /// Raft, log and sequencer.
    pub core: Consensus,
    /// This run of this member.
    pub us: Origin,
    /// The members as the others told them to this one, which joins.
    pub told: Vec<Member>,
    /// The log's ring.
    pub disk: Uring,
    /// The shards.
    pub shards: OpenedShards<Ticket>,
    /// How they make their writes durable.
    pub shards_mode: SyncMode,
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
    /// Keys of tokens.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] windlass_tls::Error),
    /// The Raft log.
    #[error(transparent)]
    Log(#[from] windlass_io_log::Error),
    /// The shards.
    #[error(transparent)]
    Shards(#[from] shard::OpenError),
    /// The two do not fit.
    #[error("{0}; put the missing files back, or restore the member from a snapshot")]
    Restore(#[from] RestoreError),
    /// The other members.
    #[error(transparent)]
    Join(#[from] join::Error),
    /// The snapshot that was to be installed.
    #[error("the snapshot that this member received cannot be installed")]
    Snapshot(#[source] io::Error),
    /// Where logs go.
    #[error("cannot log where --log-outputs says, correct it")]
    Logging(#[source] io::Error),
    /// A file or folder.
    #[error("cannot use {}: check its owner, its permissions and its filesystem", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether shards that others have too are damaged, or files of theirs are missing. The log is sound then.
    pub fn is_of_damaged_shards(&self) -> bool {
        match self {
            Self::Shards(error) => Reason::of_shards(error) == Reason::Damaged,
            Self::Restore(error) => matches!(error, RestoreError::Gap { .. }),
            _ => false,
        }
    }

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
            Self::Join(error) => error.reason(),
            Self::Snapshot(error) if error.kind() == io::ErrorKind::InvalidData => Reason::Damaged,
            Self::Snapshot(error) => Reason::of_files(error),
            Self::Logging(_) | Self::Tls(_) | Self::Jwt(_) => Reason::Failure,
            Self::Io { source, .. } => Reason::of_files(source),
        }
    }
}

/// What opening a member comes to.
pub enum Start {
    /// It can run.
    Member(Box<Opened>),
    /// The others must give it a snapshot first.
    Repair(Box<Repair>),
}

/// Opens a member. Until everything that can be refused was looked at, nothing is written. What has no effect on this start
/// is taken out of the configuration.
pub fn open(config: &mut Config) -> Result<Start, OpenError> {
    let expected = Expected::from_flags(&config.name, &config.bootstrap);
    if protect::makes_certificates(config) {
        // They are the one thing that is written before the folder is made, so it must be one that may be used.
        data_folder::examine(&config.data_dir, &expected)?;
        protect::load(config)?;
    }
    let mut examined = data_folder::examine(&config.data_dir, &expected)?;
    let log_options = log_options(config);
    raise_limits(config, registered_bytes(&log_options.buffers()))?;
    windlass_io_disk::preflight::check(examined.probe_path())?;
    if let Some(path) = &config.wal_dir {
        data_folder::check_can_create(path)?;
        windlass_io_disk::preflight::check(data_folder::nearest_existing(path))?;
    }
    let tls = protect::load(config)?;
    let authority = Authority::new(&config.auth)?;
    let listeners = bind_all(config, tls.clients.as_ref())?;
    let peer_sockets = bind_peers(config)?;
    logging::install(&config.logging).map_err(OpenError::Logging)?;
    crate::startup::fatal::abort_on_panic();
    logging::report(&config.notices);
    let joins = config.bootstrap.state == ClusterState::Existing;
    let mut told = None;
    if examined.is_new() && joins {
        let (member, cluster) = join::identify(config, tls.peers.as_ref())?;
        examined.join_as(cluster.cluster, member);
        told = Some(cluster);
    }
    let read = Found::read(config, examined.path(), examined.identity(), log_options)?;
    let found = match read {
        Read::Sound(found) => found,
        Read::Damaged { error, log_start } => {
            let (folder, tls) = (examined.prepare()?, tls.peers);
            return Ok(Start::Repair(Box::new(Repair { folder, peer_sockets, tls, error, log_start })));
        }
    };
    // One that joined and has not heard of anything yet must be told again whom to listen to.
    if found.is_empty() && joins && told.is_none() {
        told = Some(join::identify(config, tls.peers.as_ref())?.1);
    } else if found.is_empty() && !joins && config.bootstrap.members.len() > 1 {
        join::check_founder(config, examined.identity().member, tls.peers.as_ref())?;
    }
    if found.is_empty() && config.bootstrap.force_new {
        // As in etcd. Alone it would be another cluster under the name of the one that the flags describe.
        tracing::warn!("there is no data to make a new cluster of: --force-new-cluster has no effect");
        config.bootstrap.force_new = false;
    }
    let is_empty = found.is_empty();
    let folder = examined.prepare()?;
    if is_empty {
        folder.set_unpublished()?;
    }
    let started = found.start(config, &folder)?;
    let Started { core, us, disk, shards, shards_mode } = started;
    let told = told.map(|told| told.members).unwrap_or_default();
    let opened =
        Opened { folder, listeners, peer_sockets, tls, authority, core, us, told, disk, shards, shards_mode };
    Ok(Start::Member(Box::new(opened)))
}

pub(super) fn log_options(config: &Config) -> raft_log::Options {
    let storage = &config.storage;
    let frame_bytes =
        storage.batch_bytes_max + BATCH_COMMANDS_MAX * COMMAND_OVERHEAD_BYTES + FRAME_OVERHEAD_BYTES;
    raft_log::Options {
        segment_bytes: usize::try_from(storage.wal_segment_bytes).expect("checked with the flags"),
        flush_depth: storage.flush_depth,
        frame_bytes_max: frame_bytes.next_multiple_of(BLOCK_BYTES),
        repair: if config.bootstrap.members.len() > 1 { Advice::FromPeers } else { Advice::FromBackup },
        ..raft_log::Options::default()
    }
}

/// What failed at `path`.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}
