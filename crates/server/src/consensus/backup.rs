//! Snapshots for clients: from the shards to a file, off the write path.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use actix::{AsyncContext, Context};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use windlass_records::state::State;
use windlass_replica::consensus::Input;
use windlass_replica::task::SnapshotId;
use windlass_types::{Code, RequestError};

use super::ConsensusActor;
use super::chunks::Chunks;
use super::links::FromPeer;
use crate::backup::{Spool, Spooled};

/// Snapshots for clients at once, from being asked for to the last byte. Each takes up disk space. At the bound further ones
/// get etcd's `too many requests`.
const BACKUPS_MAX: usize = 2;

/// Whom a snapshot is for.
pub type BackupReply = oneshot::Sender<Result<Spooled, NoBackup>>;

/// Why there is no snapshot.
#[derive(Debug)]
pub struct NoBackup {
    /// For the client.
    pub code: Code,
    /// For the client.
    pub text: String,
}

/// Those under way.
pub(super) struct Backups {
    folder: PathBuf,
    room: Arc<Semaphore>,
    /// Asked for and not begun, in the order in which they are.
    due: VecDeque<(BackupReply, OwnedSemaphorePermit)>,
}

impl Backups {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, room: Arc::new(Semaphore::new(BACKUPS_MAX)), due: VecDeque::new() }
    }
}

impl ConsensusActor {
    /// A client wants a snapshot.
    pub(super) fn backup_asked(&mut self, reply: BackupReply) {
        match Arc::clone(&self.backups.room).try_acquire_owned() {
            Ok(permit) => {
                self.backups.due.push_back((reply, permit));
                self.feed(Input::Backup);
            }
            Err(_) => {
                let error = RequestError::TooManyRequests;
                // Its client may have gone.
                let _ = reply.send(Err(NoBackup { code: error.code(), text: error.text().to_owned() }));
            }
        }
    }

    /// Takes it from the shards; every one was told to begin its share.
    pub(super) fn begin_backup(&mut self, id: SnapshotId, state: State, context: &Context<Self>) {
        let (reply, permit) = self.backups.due.pop_front().expect("the core begins what it was asked for");
        let actor = context.address();
        let chunks = Chunks::new(actor.clone(), id, self.shards.shards(), self.cluster.feed(id));
        let (folder, store_bytes) = (self.backups.folder.clone(), self.published.store_bytes());
        tracing::info!(index = %state.index, revision = %state.revision, "taking a snapshot for a client");
        actix_rt::spawn(async move {
            let spooled = spool(chunks, folder, store_bytes, state, &reply).await;
            actor.do_send(FromPeer::BackupTaken(id));
            let result = match spooled {
                Ok(Some((file, bytes))) => Ok(Spooled { file, bytes, permit }),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "a snapshot for a client was not taken");
                    Err(NoBackup { code: Code::Unavailable, text: format!("etcdserver: snapshot: {error}") })
                }
            };
            let _ = reply.send(result);
        });
    }
}

/// Spools one; none if its client goes meanwhile.
async fn spool(
    mut chunks: Chunks,
    folder: PathBuf,
    store_bytes: u64,
    state: State,
    reply: &BackupReply,
) -> anyhow::Result<Option<(std::fs::File, u64)>> {
    let mut spool = blocking(move || Spool::begin(&folder, store_bytes)).await?;
    while let Some(frame) = chunks.next().await? {
        if reply.is_closed() {
            return Ok(None);
        }
        spool = blocking(move || spool.push(frame).map(|()| spool)).await?;
    }
    Ok(Some(blocking(move || spool.finish(&state)).await?))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await??)
}
