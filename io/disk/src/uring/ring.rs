//! The ring itself: the only module here that talks to the kernel without a safe wrapper.
//!
//! It owns every buffer from submission to completion, so no memory that the kernel reads can be freed or changed
//! under it; dropping the ring waits for what is in flight.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use io_uring::{IoUring, opcode, squeue, types};
use windlass_io_log::buffer::Buffer;
use windlass_io_log::op::Ticket;
use windlass_types::ByteOffset;

use super::SyncMode;

/// Slots below this number are registered files; others, of which no healthy log has any, go by descriptor.
const REGISTERED_FILES: u32 = 256;
/// Submission queue entries; each write takes one or two, and the ring is entered early when they run out.
const ENTRIES: u32 = 128;

struct InFlight {
    ticket: Ticket,
    buffer: Buffer,
    /// Completions still to come: a write, and perhaps its sync.
    awaited: u8,
    failed: Option<io::Error>,
}

/// A write that ended.
pub(super) struct Done {
    pub(super) ticket: Ticket,
    pub(super) buffer: Buffer,
    pub(super) result: io::Result<()>,
}

pub(super) struct Ring {
    ring: IoUring,
    in_flight: Vec<Option<InFlight>>,
    /// Address and capacity of each registered buffer.
    registered: Vec<(usize, usize)>,
    queued: bool,
}

/// Where a write goes.
pub(super) struct Target<'a> {
    pub(super) file: &'a OwnedFd,
    /// Its index among the registered files.
    pub(super) index: u32,
    pub(super) offset: ByteOffset,
}

impl Ring {
    /// A ring without files or buffers. Fails where the kernel or its configuration forbids io_uring.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder().setup_coop_taskrun().build(ENTRIES)?;
        ring.submitter().register_files_sparse(REGISTERED_FILES)?;
        Ok(Self { ring, in_flight: Vec::new(), registered: Vec::new(), queued: false })
    }

    /// Every completion from now on signals `eventfd`.
    pub(super) fn signal(&self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.submitter().register_eventfd(eventfd.as_raw_fd())
    }

    /// Registers the memory of `buffers`, whose indices must be 0, 1, 2, ... Fails with `ENOMEM` where too little
    /// memory may be locked.
    pub(super) fn register(&mut self, buffers: &[Buffer]) -> io::Result<()> {
        assert!(self.registered.is_empty(), "buffers are registered once");
        for (i, buffer) in buffers.iter().enumerate() {
            assert_eq!(buffer.registered().map(usize::from), Some(i), "a buffer out of order");
        }
        if buffers.is_empty() {
            return Ok(());
        }
        let memory = buffers.iter().map(|b| (b.bytes().as_ptr() as usize, b.capacity()));
        let registered: Vec<_> = memory.collect();
        let vectors: Vec<_> = registered
            .iter()
            .map(|&(base, length)| libc::iovec { iov_base: base as *mut _, iov_len: length })
            .collect();
        // SAFETY: each vector is the memory of a live `Buffer`, which never moves. The kernel pins the pages and only
        // reads them, and only for a write whose `Buffer` this ring owns (see `write`).
        unsafe { self.ring.submitter().register_buffers(&vectors)? };
        self.registered = registered;
        Ok(())
    }

    /// Makes `file` (or nothing) the registered file `index`.
    pub(super) fn set_file(&self, index: u32, file: Option<&OwnedFd>) -> io::Result<()> {
        if index < REGISTERED_FILES {
            let fd = file.map_or(-1, AsRawFd::as_raw_fd);
            self.ring.submitter().register_files_update(index, &[fd])?;
        }
        Ok(())
    }

    /// Queues a write of all of `buffer.bytes()`.
    pub(super) fn write(
        &mut self,
        ticket: Ticket,
        to: &Target<'_>,
        buffer: Buffer,
        mode: SyncMode,
    ) -> io::Result<()> {
        let key = self.in_flight.iter().position(Option::is_none).unwrap_or(self.in_flight.len());
        let entry = self.write_entry(to, &buffer, mode).user_data(key as u64 * 2);
        let chain = match mode {
            SyncMode::Dsync => [Some(entry), None],
            SyncMode::WriteThenSync => [
                Some(entry.flags(squeue::Flags::IO_LINK)),
                Some(sync_entry(to).user_data(key as u64 * 2 + 1)),
            ],
        };
        let awaited = chain.iter().flatten().count() as u8;
        let in_flight = Some(InFlight { ticket, buffer, awaited, failed: None });
        match self.in_flight.get_mut(key) {
            Some(free) => *free = in_flight,
            None => self.in_flight.push(in_flight),
        }
        self.push(&chain)
    }

    /// Hands everything queued to the kernel with one system call; none if nothing is queued.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.queued {
            match self.ring.submit() {
                Ok(_) => self.queued = !self.ring.submission().is_empty(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Takes the writes that ended.
    pub(super) fn reap(&mut self, mut done: impl FnMut(Done)) {
        let completions: Vec<_> = self.ring.completion().map(|c| (c.user_data(), c.result())).collect();
        for (key, result) in completions {
            if let Some(ended) = self.complete((key / 2) as usize, key % 2 == 0, result) {
                done(ended);
            }
        }
    }

    fn complete(&mut self, key: usize, is_write: bool, result: i32) -> Option<Done> {
        let slot = &mut self.in_flight[key];
        let write = slot.as_mut().expect("a completion of something in flight");
        let expected = if is_write { write.buffer.bytes().len() as i32 } else { 0 };
        // A sync that follows a failed write is cancelled; the write's own error says more.
        if result != expected && !(write.failed.is_some() && result == -libc::ECANCELED) {
            write.failed = Some(if result < 0 {
                io::Error::from_raw_os_error(-result)
            } else {
                io::Error::new(io::ErrorKind::WriteZero, format!("wrote {result} of {expected} bytes"))
            });
        }
        write.awaited -= 1;
        if write.awaited > 0 {
            return None;
        }
        let InFlight { ticket, buffer, failed, .. } = slot.take().expect("checked above");
        Some(Done { ticket, buffer, result: failed.map_or(Ok(()), Err) })
    }

    fn write_entry(&self, to: &Target<'_>, buffer: &Buffer, mode: SyncMode) -> squeue::Entry {
        let bytes = buffer.bytes();
        let length = u32::try_from(bytes.len()).expect("a frame is far below 4 GiB");
        let rw_flags = if mode == SyncMode::Dsync { libc::RWF_DSYNC } else { 0 };
        let place = (bytes.as_ptr() as usize, buffer.capacity());
        let registered = buffer.registered().filter(|&i| self.registered.get(usize::from(i)) == Some(&place));
        macro_rules! build {
            ($fd:expr) => {
                match registered {
                    Some(i) => opcode::WriteFixed::new($fd, bytes.as_ptr(), length, i)
                        .offset(to.offset.0)
                        .rw_flags(rw_flags)
                        .build(),
                    None => opcode::Write::new($fd, bytes.as_ptr(), length)
                        .offset(to.offset.0)
                        .rw_flags(rw_flags)
                        .build(),
                }
            };
        }
        if to.index < REGISTERED_FILES {
            build!(types::Fixed(to.index))
        } else {
            build!(types::Fd(to.file.as_raw_fd()))
        }
    }

    /// Pushes a chain whole, so that a link never spans two submissions.
    fn push(&mut self, chain: &[Option<squeue::Entry>]) -> io::Result<()> {
        let length = chain.iter().flatten().count();
        let room = {
            let queue = self.ring.submission();
            queue.capacity() - queue.len()
        };
        if room < length {
            self.flush()?;
        }
        for entry in chain.iter().flatten() {
            // SAFETY: the entry refers to memory of a `Buffer` that `in_flight` owns until its completion, and to a
            // file that the kernel holds open from submission on.
            unsafe { self.ring.submission().push(entry).expect("room was made above") };
        }
        self.queued = true;
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.in_flight.iter().all(Option::is_none)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel must not read a buffer's memory after it has been given back.
        while !self.is_idle() {
            if self.ring.submit_and_wait(1).is_err_and(|e| e.kind() != io::ErrorKind::Interrupted) {
                // Nothing may be freed now: leak what is in flight.
                std::mem::forget(std::mem::take(&mut self.in_flight));
                return;
            }
            self.reap(drop);
        }
        if !self.registered.is_empty() {
            // Closing the ring frees the locked memory some time later; the next ring may need it now.
            let _ = self.ring.submitter().unregister_buffers();
        }
    }
}

fn sync_entry(to: &Target<'_>) -> squeue::Entry {
    let data = types::FsyncFlags::DATASYNC;
    if to.index < REGISTERED_FILES {
        opcode::Fsync::new(types::Fixed(to.index)).flags(data).build()
    } else {
        opcode::Fsync::new(types::Fd(to.file.as_raw_fd())).flags(data).build()
    }
}
