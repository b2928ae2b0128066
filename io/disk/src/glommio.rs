//! Executes a stream's operations on a glommio executor: O_DIRECT files, one folder.
//!
//! For the streams of the shards only; the Raft log has a ring of its own. Everything here runs on the executor that
//! made it and must never block it: writes go through its ring, what has no good ring operation to its blocking
//! thread. How operations are scheduled against each other is the caller's business: each one is a future.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use ::glommio::GlommioError;
use ::glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use rustix::fs::{Mode, OFlags};
use windlass_io_log::buffer::Buffer;
use windlass_io_log::op::{Completion, Failure, FileSlot, Op};
use windlass_types::ByteOffset;

use crate::files::{self, Extents};
use crate::uring::SyncMode;

/// Smaller buffers are not kept: the allocator has those at hand, and they must not displace a large one.
const SPARE_BYTES_MIN: usize = 256 << 10;

/// The files of one stream's folder.
pub struct Disk {
    path: PathBuf,
    folder: Arc<OwnedFd>,
    mode: SyncMode,
    /// Open files; a shared reference is held by each write.
    files: RefCell<BTreeMap<FileSlot, Rc<DmaFile>>>,
    /// The last write's memory. Flushes under load are of one size, and fresh memory is dear: the kernel clears it.
    spare: RefCell<Option<Rc<DmaBuffer>>>,
}

impl Disk {
    /// The files of the folder at `path`. Opens none of them yet.
    ///
    /// # Errors
    /// What the filesystem said.
    pub fn open(path: PathBuf, mode: SyncMode) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let folder = Arc::new(rustix::fs::open(&path, flags, Mode::empty())?);
        Ok(Self { path, folder, mode, files: RefCell::default(), spare: RefCell::default() })
    }

    /// Executes one operation. Must be polled to its end: what is dropped midway leaves the disk in an unknown state.
    pub async fn execute(&self, op: Op) -> Completion {
        match op {
            Op::Prepare { ticket, slot, size } => {
                let folder = Arc::clone(&self.folder);
                let executor = ::glommio::executor();
                let result = executor
                    .spawn_blocking(move || files::prepare(&folder, slot, size, Extents::Reserved))
                    .await;
                Completion { ticket, buffer: None, result }
            }
            Op::WriteDurable { ticket, slot, offset, buffer } => {
                let result = self.write_durable(slot, offset, &buffer).await;
                Completion { ticket, buffer: Some(buffer), result }
            }
            Op::Remove { ticket, slot } => {
                let result = self.remove(slot).await;
                Completion { ticket, buffer: None, result }
            }
        }
    }

    /// Closes every file. No operation may be under way.
    ///
    /// # Errors
    /// What the filesystem said.
    pub async fn close(&self) -> Result<(), Failure> {
        for file in self.files.take().into_values() {
            file.close_rc().await.map_err(|e| failure("closing", e))?;
        }
        Ok(())
    }

    async fn write_durable(
        &self,
        slot: FileSlot,
        offset: ByteOffset,
        buffer: &Buffer,
    ) -> Result<(), Failure> {
        let file = self.file(slot).await?;
        let bytes = buffer.bytes();
        let aligned = self.aligned(&file, bytes);
        let written =
            file.write_rc_at(Rc::clone(&aligned), offset.0).await.map_err(|e| failure("writing", e))?;
        if aligned.len() >= SPARE_BYTES_MIN {
            self.spare.replace(Some(aligned));
        }
        if written != bytes.len() {
            return Err(Failure::Io(format!("only {written} of {} bytes were written", bytes.len())));
        }
        match self.mode {
            SyncMode::Dsync => Ok(()),
            SyncMode::WriteThenSync => file.fdatasync().await.map_err(|e| failure("syncing", e)),
        }
    }

    /// A copy of `bytes` in memory that glommio can write from.
    fn aligned(&self, file: &DmaFile, bytes: &[u8]) -> Rc<DmaBuffer> {
        let spare = self.spare.take().filter(|spare| spare.len() == bytes.len());
        let mut aligned = spare.unwrap_or_else(|| Rc::new(file.alloc_dma_buffer(bytes.len())));
        if Rc::get_mut(&mut aligned).is_none() {
            // The executor has not let go of it yet.
            aligned = Rc::new(file.alloc_dma_buffer(bytes.len()));
        }
        let memory = Rc::get_mut(&mut aligned).expect("nobody else has it");
        memory.as_bytes_mut().copy_from_slice(bytes);
        aligned
    }

    async fn remove(&self, slot: FileSlot) -> Result<(), Failure> {
        let open = self.files.borrow_mut().remove(&slot);
        if let Some(file) = open {
            file.close_rc().await.map_err(|e| failure("closing", e))?;
        }
        let folder = Arc::clone(&self.folder);
        ::glommio::executor().spawn_blocking(move || files::remove(&folder, slot)).await
    }

    async fn file(&self, slot: FileSlot) -> Result<Rc<DmaFile>, Failure> {
        if let Some(file) = self.files.borrow().get(&slot) {
            return Ok(Rc::clone(file));
        }
        let flags = if self.mode == SyncMode::Dsync { libc::O_DSYNC } else { 0 };
        let mut options = OpenOptions::new();
        let opened =
            options.read(true).write(true).custom_flags(flags).dma_open(self.path.join(slot.name())).await;
        let file = Rc::new(opened.map_err(|e| failure("opening", e))?);
        // Two writes may have opened it at once; both use the one that was first.
        Ok(Rc::clone(self.files.borrow_mut().entry(slot).or_insert(file)))
    }
}

fn failure<T>(doing: &str, error: GlommioError<T>) -> Failure {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Failure::NoSpace,
        _ => Failure::Io(format!("{doing}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use ::glommio::LocalExecutorBuilder;
    use windlass_io_log::buffer::BLOCK_BYTES;
    use windlass_io_log::op::Ticket;

    use super::*;

    fn write(slot: FileSlot, block: u64, byte: u8) -> Op {
        let mut buffer = Buffer::zeroed(BLOCK_BYTES, None);
        buffer.memory().fill(byte);
        buffer.set_len(BLOCK_BYTES);
        let offset = ByteOffset(block * BLOCK_BYTES as u64);
        Op::WriteDurable { ticket: Ticket(2), slot, offset, buffer }
    }

    async fn life_of_a_file(folder: PathBuf, mode: SyncMode) {
        let disk = Disk::open(folder.clone(), mode).unwrap();
        let (slot, size) = (FileSlot(3), ByteOffset(384 * BLOCK_BYTES as u64));
        let done = disk.execute(Op::Prepare { ticket: Ticket(1), slot, size }).await;
        assert_eq!((done.ticket, done.result), (Ticket(1), Ok(())));
        let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["000003.seg"]);

        for (block, byte) in [(0, 7), (383, 9)] {
            let done = disk.execute(write(slot, block, byte)).await;
            assert_eq!(done.result, Ok(()));
            assert_eq!(done.buffer.unwrap().bytes()[..2], [byte; 2]);
        }
        // Not `OFlags::DSYNC`, which is O_SYNC in rustix 1.1.
        let dsync = OFlags::from_bits_retain(libc::O_DSYNC as u32);
        let flags = rustix::fs::fcntl_getfl(&*disk.file(slot).await.unwrap()).unwrap();
        assert!(flags.contains(OFlags::DIRECT), "{flags:?}");
        assert_eq!(flags.contains(dsync), mode == SyncMode::Dsync, "{flags:?}");
        let bytes = std::fs::read(folder.join("000003.seg")).unwrap();
        assert_eq!(bytes.len() as u64, size.0);
        assert!(bytes[..BLOCK_BYTES].iter().all(|&b| b == 7));
        assert!(bytes[BLOCK_BYTES..383 * BLOCK_BYTES].iter().all(|&b| b == 0));
        assert!(bytes[383 * BLOCK_BYTES..].iter().all(|&b| b == 9));

        assert!(matches!(disk.execute(write(FileSlot(4), 0, 1)).await.result, Err(Failure::Io(_))));
        assert_eq!(disk.execute(Op::Remove { ticket: Ticket(5), slot }).await.result, Ok(()));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        disk.close().await.unwrap();
    }

    #[test]
    fn executes_operations_on_real_files() {
        let executor = match LocalExecutorBuilder::default().make() {
            Ok(executor) => executor,
            Err(error) => return eprintln!("skipped: no glommio executor here: {error}"),
        };
        for mode in [SyncMode::Dsync, SyncMode::WriteThenSync] {
            let folder = tempfile::tempdir().unwrap();
            executor.run(life_of_a_file(folder.path().into(), mode));
        }
    }
}
