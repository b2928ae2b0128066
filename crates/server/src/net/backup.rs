//! `Maintenance.Snapshot`: a file that was taken from the shards, sent in pieces, and its SHA-256 behind it. Source: etcd
//! `v3rpc/maintenance.go`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use windlass_api::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use windlass_rpc::{CallId, Code, Net};
use windlass_types::RequestError;

use super::arbiter::Arbiter;
use super::info::STORAGE_VERSION;
use super::tasks::Client;
use crate::backup::Spooled;
use crate::consensus::{FromArbiter, NoBackup};

/// Bytes of one message. Source: etcd `snapshotSendBufferSize`.
const BLOB_BYTES: usize = 32 << 10;

/// Bytes that are read at once, off the loop's thread.
const READ_BYTES: usize = 1 << 20;

/// Unsent bytes of one stream above which nothing more is read for it until its client has taken some. Above the
/// network's own mark, below which a stream is reported writable again.
const QUEUED_BYTES_MAX: usize = 512 << 10;

impl Arbiter {
    /// The request of a `Maintenance.Snapshot` stream.
    pub(super) fn take_backup(&mut self, call: CallId, message: &[u8]) {
        if let Err(error) = SnapshotRequest::decode(message) {
            let text = format!("grpc: error unmarshalling request: {error}");
            return self.net.stream_end(call, Code::Internal, &text);
        }
        let (reply, spooled) = oneshot::channel();
        let (net, metrics) = (self.net.clone(), Arc::clone(&self.metrics));
        let serving = |client| async move {
            let begun = Instant::now();
            if serve(net, call, spooled, client).await {
                metrics.backend_snapshot_seconds.observe(begun.elapsed().as_secs_f64());
            }
        };
        match self.tasks.start(call, serving) {
            Some(()) => self.consensus.do_send(FromArbiter::Backup(reply)),
            None => {
                let error = RequestError::TooManyRequests;
                self.net.stream_end(call, error.code(), error.text());
            }
        }
    }
}

/// Whether the client was handed all of it.
async fn serve(
    net: Net,
    call: CallId,
    spooled: oneshot::Receiver<Result<Spooled, NoBackup>>,
    mut client: Client,
) -> bool {
    let Some(spooled) = client.unless_gone(spooled).await else { return false };
    let spooled = match spooled {
        Ok(Ok(spooled)) => spooled,
        Ok(Err(NoBackup { code, text })) => {
            net.stream_end(call, code, &text);
            return false;
        }
        Err(_) => {
            let error = RequestError::Stopped;
            net.stream_end(call, error.code(), error.text());
            return false;
        }
    };
    let Spooled { file, bytes, permit } = spooled;
    let writable = std::rc::Rc::clone(&client.writable);
    let outlet = Outlet { net: &net, call, writable: &writable };
    let sent = client.unless_gone(outlet.send_file(file, bytes)).await;
    drop(permit);
    match &sent {
        Some(Ok(())) => net.stream_end(call, Code::Ok, ""),
        Some(Err(error)) => net.stream_end(call, Code::Internal, &format!("snapshot: {error}")),
        None => {}
    }
    matches!(sent, Some(Ok(())))
}

/// What a piece of the file is read with, and what it leaves.
struct Piece {
    file: File,
    hash: Sha256,
    bytes: Bytes,
}

/// Where the stream's messages go.
struct Outlet<'a> {
    net: &'a Net,
    call: CallId,
    writable: &'a tokio::sync::Notify,
}

impl Outlet<'_> {
    async fn send_file(&self, file: File, total: u64) -> std::io::Result<()> {
        let mut piece = Piece { file, hash: Sha256::new(), bytes: Bytes::new() };
        let mut sent = 0;
        while sent < total {
            let len = usize::try_from(total - sent).unwrap_or(READ_BYTES).min(READ_BYTES);
            let read = tokio::task::spawn_blocking(move || read(piece, sent, len)).await;
            piece = read.map_err(std::io::Error::other)??;
            let mut rest = piece.bytes.clone();
            while !rest.is_empty() {
                let blob = rest.split_to(BLOB_BYTES.min(rest.len()));
                sent += blob.len() as u64;
                self.send(total - sent, blob).await?;
            }
        }
        self.send(0, Bytes::copy_from_slice(&piece.hash.finalize())).await
    }

    async fn send(&self, remaining_bytes: u64, blob: Bytes) -> std::io::Result<()> {
        let version = STORAGE_VERSION.to_owned();
        let message = SnapshotResponse { header: None, remaining_bytes, blob, version };
        let encode = |out: &mut Vec<u8>| message.encode(out).expect("a vector takes any length");
        if self.net.stream_send_with(self.call, encode).is_none() {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        while self.net.queued_bytes(self.call) > QUEUED_BYTES_MAX {
            self.writable.notified().await;
        }
        Ok(())
    }
}

fn read(mut piece: Piece, offset: u64, len: usize) -> std::io::Result<Piece> {
    let mut bytes = vec![0; len];
    piece.file.read_exact_at(&mut bytes, offset)?;
    piece.hash.update(&bytes);
    piece.bytes = bytes.into();
    Ok(piece)
}
