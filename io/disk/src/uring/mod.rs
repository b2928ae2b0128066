//! Executes [`Op`]s with raw io_uring: direct, registered, one system call per [`Uring::flush`].
//!
//! Writes go through the ring. Preparing and removing files runs on a short-lived thread, so it never blocks the
//! caller. Both signal one eventfd. Nothing is ever tried again: a failure is handed back as it is.

mod background;
mod now;
mod ring;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::EventfdFlags;
use rustix::fs::{Mode, OFlags};
use windlass_io_log::buffer::Buffer;
use windlass_io_log::op::{Completion, Failure, FileSlot, Op, Ticket};
use windlass_types::ByteOffset;

use crate::files::{failure, list, unnamed};
use crate::preflight;
use background::{Background, Work};
use ring::{Ring, Target};

/// How a write is made durable. The probe ([`crate::probe`]) says which is faster on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// `O_DSYNC`: on written blocks a device with FUA needs one command.
    Dsync,
    /// A write and then `fdatasync`, linked.
    WriteThenSync,
}

impl std::fmt::Display for SyncMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dsync => "o_dsync",
            Self::WriteThenSync => "write+fdatasync",
        })
    }
}

/// The segment files of one folder, behind a ring.
pub struct Uring {
    ring: Ring,
    mode: SyncMode,
    folder: Arc<OwnedFd>,
    files: BTreeMap<FileSlot, OwnedFd>,
    background: Background,
    eventfd: Arc<OwnedFd>,
    /// Operations that ended without reaching the kernel.
    ended: Vec<Completion>,
    registered: bool,
}

impl Uring {
    /// Opens the segment files in `folder` for direct writes, and registers them and `buffers`. Where other processes of this
    /// user have locked what may be locked, the buffers are not registered, and writes cost a little more.
    ///
    /// # Errors
    /// What stands in the way, with its remedy.
    pub fn open(folder: &Path, mode: SyncMode, buffers: &[Buffer]) -> Result<Self, preflight::Error> {
        let mut uring = Self::without_files(folder, mode, buffers)?;
        let listed = list(&uring.folder).map_err(|e| preflight::Error::folder(folder, e.into()))?;
        for slot in listed.slots {
            let file = open_direct(&uring.folder, slot).map_err(|e| preflight::Error::direct(folder, e))?;
            uring.adopt(slot, file).map_err(|e| preflight::Error::folder(folder, e))?;
        }
        Ok(uring)
    }

    /// As [`open`](Self::open), but for the files.
    pub(crate) fn without_files(
        folder: &Path,
        mode: SyncMode,
        buffers: &[Buffer],
    ) -> Result<Self, preflight::Error> {
        let mut ring = Ring::new().map_err(preflight::Error::uring)?;
        let eventfd = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|e| preflight::Error::folder(folder, e.into()))?;
        ring.signal(eventfd.as_fd()).map_err(preflight::Error::uring)?;
        let registered = match ring.register(buffers) {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => false,
            Err(error) => return Err(preflight::Error::uring(error)),
        };
        let directory = open_folder(folder).map_err(|e| preflight::Error::folder(folder, e.into()))?;
        let eventfd = Arc::new(eventfd);
        Ok(Self {
            ring,
            mode,
            folder: Arc::new(directory),
            files: BTreeMap::new(),
            background: Background::new(eventfd.clone()),
            eventfd,
            ended: Vec::new(),
            registered,
        })
    }

    /// Whether the kernel took the buffers, so that it need not look up and pin their pages for each write.
    #[must_use]
    pub fn has_registered(&self) -> bool {
        self.registered
    }

    /// Queues operations; they start at the next [`flush`](Self::flush).
    ///
    /// # Panics
    /// If a write names a file that does not exist.
    pub fn submit(&mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            match op {
                Op::WriteDurable { ticket, slot, offset, buffer } => {
                    let file = self.files.get(&slot).expect("a write to a prepared file");
                    let target = Target { file, index: slot.0, offset };
                    if let Err(error) = self.ring.write(ticket, &target, buffer, self.mode) {
                        self.end(ticket, Err(Failure::Io(error.to_string())));
                    }
                }
                Op::Prepare { ticket, slot, size } => self.start(Work::Prepare { ticket, slot, size }),
                Op::Remove { ticket, slot } => {
                    self.files.remove(&slot);
                    if let Err(error) = self.ring.set_file(slot.0, None) {
                        self.end(ticket, Err(Failure::Io(error.to_string())));
                    } else {
                        self.start(Work::Remove { ticket, slot });
                    }
                }
            }
        }
    }

    /// Hands what is queued to the kernel: one `io_uring_enter`, or none.
    ///
    /// # Errors
    /// The kernel refused; as bad as a failed write, see [`Failure::Io`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.ring.flush().map_err(|e| Failure::Io(format!("io_uring_enter: {e}")))
    }

    /// Carries out one write without the ring and returns when it has ended. Blocks for as long as the disk takes, but
    /// nothing has to be woken in between except the caller.
    ///
    /// # Panics
    /// If it is not a write, or one to a file that does not exist.
    #[must_use]
    pub fn write_now(&self, op: Op) -> Completion {
        let Op::WriteDurable { ticket, slot, offset, buffer } = op else {
            panic!("only a write can be carried out at once");
        };
        let file = self.files.get(&slot).expect("a write to a prepared file");
        let result = now::write_durable(file, offset, buffer.bytes(), self.mode);
        Completion { ticket, buffer: Some(buffer), result: result.map_err(|e| failure(&e)) }
    }

    /// Signalled whenever [`reap`](Self::reap) has something new. Made for edge-triggered polling (tokio's `AsyncFd`):
    /// nobody needs to read it. A level-triggered loop reads it before it reaps.
    #[must_use]
    pub fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// Appends the operations that ended to `out`. Never blocks, makes no system call for writes.
    pub fn reap(&mut self, out: &mut Vec<Completion>) {
        out.append(&mut self.ended);
        self.ring.reap(|done| {
            let result = done.result.map_err(|e| failure(&e));
            out.push(Completion { ticket: done.ticket, buffer: Some(done.buffer), result });
        });
        for done in self.background.take() {
            let result = match done.result {
                Ok(Some(file)) => self.adopt(done.slot, file).map_err(|e| failure(&e)),
                Ok(None) => Ok(()),
                Err(failure) => Err(failure),
            };
            out.push(Completion { ticket: done.ticket, buffer: None, result });
        }
    }

    /// How writes are made durable.
    #[must_use]
    pub fn mode(&self) -> SyncMode {
        self.mode
    }

    /// Makes a file for `slot` that nothing is left of afterwards; blocks.
    pub(crate) fn make_unnamed(&mut self, slot: FileSlot, size: ByteOffset) -> Result<(), Failure> {
        let file = unnamed(&self.folder, size)?;
        self.adopt(slot, file).map_err(|e| failure(&e))
    }

    pub(crate) fn set_mode(&mut self, mode: SyncMode) {
        self.mode = mode;
    }

    fn adopt(&mut self, slot: FileSlot, file: OwnedFd) -> std::io::Result<()> {
        self.ring.set_file(slot.0, Some(&file))?;
        self.files.insert(slot, file);
        Ok(())
    }

    fn start(&mut self, work: Work) {
        let ticket = work.ticket();
        if let Err(error) = self.background.start(self.folder.clone(), work) {
            self.end(ticket, Err(Failure::Io(format!("cannot start a thread: {error}"))));
        }
    }

    fn end(&mut self, ticket: Ticket, result: Result<(), Failure>) {
        self.ended.push(Completion { ticket, buffer: None, result });
        background::signal(&self.eventfd);
    }
}

fn open_folder(folder: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(folder, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())
}

fn open_direct(folder: &OwnedFd, slot: FileSlot) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    rustix::fs::openat(folder, slot.name(), flags, Mode::empty())
}
