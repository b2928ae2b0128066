//! A shard's thread: an executor of its own, made once, and its end.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use glommio::{GlommioError, LocalExecutorBuilder, Placement};
use rustix::thread::{Pid, gettid};
use windlass_io_disk::uring::SyncMode;
use windlass_io_log::journal::Fatal;
use windlass_io_log::op::Failure;
use windlass_io_log::stream::StateStream;
use windlass_replica::shard::ShardCore;
use windlass_types::{LogIndex, ShardId};

use super::turn::Turns;
use super::watchdog::{Pulse, Watched};
use super::{Inbox, Sink};

/// Memory in bytes that an executor registers with its ring for small buffers. A flush takes its own; a small figure
/// leaves the limit on locked memory to the Raft log.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// What one thread runs.
pub struct Options<T> {
    /// The shard.
    pub core: ShardCore<T>,
    /// Its number, and the number of all shards.
    pub id: ShardId,
    /// How many shards there are.
    pub shards: u16,
    /// Folder of its stream.
    pub folder: PathBuf,
    /// With shard 0: the sequencer's stream and its folder.
    pub state: Option<(StateStream, PathBuf)>,
    /// Its mailbox.
    pub inbox: Inbox<T>,
    /// How writes become durable on this disk.
    pub mode: SyncMode,
    /// The CPU to be pinned to.
    pub cpu: Option<usize>,
}

/// Why a shard's thread does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel or its sandbox refuses io_uring.
    #[error(
        "a shard needs io_uring, which is not permitted here ({0}); check kernel.io_uring_disabled and the container's seccomp profile"
    )]
    NoRing(String),
    /// The limit on locked memory is too low.
    #[error(
        "a shard needs 512 KiB of locked memory ({0}); raise the memlock limit (ulimit -l, LimitMEMLOCK=)"
    )]
    LockedMemory(String),
    /// The executor or its thread cannot be made for another cause.
    #[error("a shard's executor cannot be made: {0}")]
    Executor(String),
    /// The folder of a stream cannot be opened or closed.
    #[error("the files of shard {shard} failed: {why}")]
    Folder {
        /// Which.
        shard: ShardId,
        /// What the system said.
        why: String,
    },
    /// A write of a stream failed; what is on the disk is unknown.
    #[error("shard {shard} cannot go on: {source}")]
    Disk {
        /// Which.
        shard: ShardId,
        /// What failed.
        source: Fatal,
    },
    /// A bug.
    #[error("a shard's thread panicked")]
    Panicked,
}

/// A shard that ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The shard.
    pub id: ShardId,
    /// It held every effect up to here,
    pub complete: LogIndex,
    /// and its stream up to here: the same, unless the disk had no room.
    pub durable: LogIndex,
}

/// A shard's thread.
pub struct ShardThread {
    watched: Watched,
    join: JoinHandle<Result<Stopped, Error>>,
}

impl ShardThread {
    /// Starts a thread; returns when its executor runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn spawn<S: Sink>(options: Options<S::Ticket>, sink: S) -> Result<Self, Error> {
        let (ready, is_ready) = mpsc::channel();
        let pulse = Arc::new(Pulse::default());
        let of_thread = Arc::clone(&pulse);
        let thread = std::thread::Builder::new().name(format!("shard-{}", options.id));
        let join = thread
            .spawn(move || run(options, sink, of_thread, &ready))
            .map_err(|e| Error::Executor(e.to_string()))?;
        match is_ready.recv() {
            Ok(thread) => Ok(Self { watched: Watched { pulse, thread }, join }),
            // Without a word the thread has ended, and its result says why.
            Err(mpsc::RecvError) => match joined(join) {
                Err(error) => Err(error),
                Ok(_) => unreachable!("a shard says that it is ready before it can be stopped"),
            },
        }
    }

    /// For [`watch`](super::watch).
    #[must_use]
    pub fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Waits for the end: after [`Senders::stop`](super::Senders::stop), or after a failure that the sink was told of.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn join(self) -> Result<Stopped, Error> {
        joined(self.join)
    }
}

fn joined(join: JoinHandle<Result<Stopped, Error>>) -> Result<Stopped, Error> {
    join.join().unwrap_or(Err(Error::Panicked))
}

fn run<S: Sink>(
    options: Options<S::Ticket>,
    mut sink: S,
    pulse: Arc<Pulse>,
    ready: &mpsc::Sender<Pid>,
) -> Result<Stopped, Error> {
    let placement = options.cpu.map_or(Placement::Unbound, Placement::Fixed);
    let executor = LocalExecutorBuilder::new(placement).io_memory(IO_MEMORY_BYTES).make();
    let executor = executor.map_err(executor_error)?;
    executor.run(async {
        let turns = Turns::open(options, pulse)?;
        // Whoever spawned waits for this word.
        let _ = ready.send(gettid());
        let ended = turns.run(&mut sink).await;
        if let Err(error) = &ended {
            sink.failed(error);
        }
        ended
    })
}

fn executor_error(error: GlommioError<()>) -> Error {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => Error::NoRing(text),
        Some(libc::ENOMEM) => Error::LockedMemory(text),
        _ if text.contains("memlock") => Error::LockedMemory(text),
        _ => Error::Executor(text),
    }
}

impl Error {
    pub(super) fn folder(shard: ShardId, why: impl std::fmt::Display) -> Self {
        Self::Folder { shard, why: why.to_string() }
    }

    pub(super) fn closing(shard: ShardId) -> impl Fn(Failure) -> Self {
        move |failure| Self::folder(shard, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_an_executor_is_named() {
        let os = |code| executor_error(GlommioError::IoError(std::io::Error::from_raw_os_error(code)));
        assert!(os(libc::EPERM).to_string().contains("seccomp"));
        assert!(os(libc::ENOSYS).to_string().contains("io_uring"));
        assert!(os(libc::ENOMEM).to_string().contains("memlock"));
        assert!(matches!(os(libc::EIO), Error::Executor(_)));
    }
}
