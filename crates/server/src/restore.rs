//! A data folder for one member of a new cluster, from a backend of etcd or a snapshot of Windlass, which are of one format.
//!
//! The folder gets the snapshot in the form in which members send it to each other, and the member's first start installs
//! it. All members of the new cluster are restored from the same file, with the same `--initial-cluster`. Blocking.

use std::io;
use std::path::Path;

use windlass_api::etcdserverpb::Member;
use windlass_bbolt::Source;
use windlass_records::state::State;
use windlass_records::wal::{FrameBuilder, SystemRecord};
use windlass_replica::backup::{self, Backend, imported_state};
use windlass_replica::system::System;
use windlass_types::Revision;

use crate::snapshot::Making;
use crate::startup::Config;
use crate::startup::data_folder::{self, Expected, Identity};

/// Bytes of one record of the snapshot, about.
const RECORD_BYTES: usize = 256 << 10;

/// Why a member cannot be restored. Nothing that could be taken for a member's data is left.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What it is to be restored from.
    #[error(transparent)]
    Backend(#[from] backup::Error),
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] data_folder::Error),
    /// The revision.
    #[error("the newest revision cannot be raised by that much")]
    Bump,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Whose data folder it is.
    pub identity: Identity,
    /// Number of versions of keys.
    pub versions: u64,
    /// The newest revision.
    pub revision: Revision,
    /// The compaction revision; -1 if nothing was compacted.
    pub compact_revision: Revision,
}

/// Restores the member that `config` describes. With `bump` the newest revision is raised by so much and everything before it
/// is compacted, so that clients that have seen later revisions than the snapshot's see theirs again nowhere.
///
/// # Errors
/// See [`Error`].
pub fn restore<S: Source + ?Sized>(
    config: &Config,
    backend: &Backend<'_, S>,
    bump: Option<u64>,
) -> Result<Restored, Error> {
    // All of it is looked at before anything is written.
    let mut versions = 0;
    let newest = backend.versions(&mut |_| {
        versions += 1;
        Ok(())
    })?;
    let compacted = backend.compact_revision()?;
    // A compaction may have taken all that its revision wrote.
    let newest = newest.max(compacted);
    let bumped = newest.0.checked_add(i64::try_from(bump.unwrap_or(0)).map_err(|_| Error::Bump)?);
    let revision = Revision(bumped.ok_or(Error::Bump)?);
    let compact_revision = if bump.is_some() { revision } else { compacted };
    let state = imported_state(revision, compact_revision);
    let system = backend.system(members(config))?;
    let expected = Expected::from_flags(&config.name, &config.bootstrap);
    let examined = data_folder::examine(&config.data_dir, &expected)?;
    // Whose it is, the folder says only when it holds everything: half of it is never taken for a new member's.
    let filled = examined.prepare_filled(|folder| {
        write(folder, &state, &system, backend).map_err(|error| match error {
            backup::Error::Write(error) => error,
            error => io::Error::other(error),
        })
    });
    let identity = filled?.identity().clone();
    Ok(Restored { identity, versions, revision, compact_revision })
}

/// The members of the new cluster. Their names they tell when they start.
fn members(config: &Config) -> Vec<Member> {
    let founders = config.bootstrap.founders().into_iter();
    founders.map(|(id, peer_ur_ls)| Member { id: id.0, peer_ur_ls, ..Member::default() }).collect()
}

fn write<S: Source + ?Sized>(
    folder: &Path,
    state: &State,
    system: &System,
    backend: &Backend<'_, S>,
) -> Result<(), backup::Error> {
    let mut making = Making::begin(folder, state)?;
    let mut builder = FrameBuilder::default();
    for (name, value) in system.with_prefix(b"") {
        builder.push_system(&SystemRecord { index: state.index, name, value: Some(value) });
        if builder.len_bytes() >= RECORD_BYTES {
            making.push(builder.finish(state.index))?;
        }
    }
    backend.versions(&mut |version| {
        builder.push(version);
        if builder.len_bytes() >= RECORD_BYTES {
            making.push(builder.finish(state.index))?;
        }
        Ok(())
    })?;
    if !builder.is_empty() {
        making.push(builder.finish(state.index))?;
    }
    Ok(making.finish()?)
}
