//! Segment files on a real filesystem: listing, preparing, removing, and the blocking [`Folder`] for start-up.
//!
//! A file gets its name only when it is whole: it is written as `NNNNNN.seg.new`, synced, then renamed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Advice, AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use windlass_io_log::buffer::{BLOCK_BYTES, Buffer};
use windlass_io_log::folder::{Folder, Listing};
use windlass_io_log::op::{Failure, FileSlot};
use windlass_types::ByteOffset;

/// Length in bytes of one write while a file is filled with zeroes: large enough for full bandwidth, small enough
/// that a commit does not wait long behind it in the device's queue, and no more than 254 blocks: of more pieces of memory
/// virtio makes two requests, and there are disks that count those.
const FILL_BYTES: usize = 254 * BLOCK_BYTES;
/// Suffix of a file that is not whole yet.
const UNFINISHED: &str = ".new";

/// What an I/O error means to a log.
pub(crate) fn failure(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Failure::NoSpace,
        _ => Failure::Io(error.to_string()),
    }
}

/// The names in a log's folder.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) slots: Vec<FileSlot>,
    unfinished: Vec<String>,
    strangers: Vec<String>,
}

/// Sorts the folder's names.
pub(crate) fn list(folder: &OwnedFd) -> rustix::io::Result<Names> {
    let mut names = Names::default();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let unfinished = name.strip_suffix(UNFINISHED).and_then(FileSlot::from_name);
        if unfinished.is_some() {
            names.unfinished.push(name);
        } else if let Some(slot) = FileSlot::from_name(&name) {
            names.slots.push(slot);
        } else if name != "." && name != ".." {
            names.strangers.push(name);
        }
    }
    names.slots.sort_unstable();
    Ok(names)
}

/// What a prepared file's extents are like. Either way its room is taken and every byte reads as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extents {
    /// Written with zeroes, so that a later write changes no metadata: for writes that somebody waits for.
    Written,
    /// Only reserved, where the filesystem can: a later write marks them written with a journal commit of its own,
    /// and half as much goes to the disk.
    Reserved,
}

/// As `Op::Prepare`; blocks.
pub(crate) fn prepare(
    folder: &OwnedFd,
    slot: FileSlot,
    size: ByteOffset,
    extents: Extents,
) -> Result<(), Failure> {
    let unfinished = slot.name() + UNFINISHED;
    let outcome = fill(folder, &unfinished, size.0, extents).and_then(|_| {
        rustix::fs::renameat(folder, &unfinished, folder, slot.name())?;
        rustix::fs::fsync(folder)?;
        Ok(())
    });
    outcome.map_err(|error| {
        // The failure counts, not whether the leftover could be removed: the next start removes it too.
        let _ = rustix::fs::unlinkat(folder, &unfinished, AtFlags::empty());
        failure(&error)
    })
}

/// A file of zeroes that nothing is left of once it is closed; blocks. What a crash leaves is an unfinished slot: the next start
/// removes it from a log's folder, and the next call of this from any.
pub(crate) fn unnamed(folder: &OwnedFd, size: ByteOffset) -> Result<OwnedFd, Failure> {
    let unfinished = FileSlot(0).name() + UNFINISHED;
    let filled = fill(folder, &unfinished, size.0, Extents::Written);
    let removed = rustix::fs::unlinkat(folder, &unfinished, AtFlags::empty());
    // Where there is no file, the reason for that says more.
    filled.and_then(|file| removed.map(|()| file).map_err(Into::into)).map_err(|e| failure(&e))
}

/// As `Op::Remove`; blocks.
pub(crate) fn remove(folder: &OwnedFd, slot: FileSlot) -> Result<(), Failure> {
    rustix::fs::unlinkat(folder, slot.name(), AtFlags::empty())
        .and_then(|()| rustix::fs::fsync(folder))
        .map_err(|e| failure(&e.into()))
}

fn fill(folder: &OwnedFd, name: &str, size: u64, extents: Extents) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::DIRECT | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
    // Claims the room at once, so a full disk is noticed before the writing, and in few extents.
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
        Ok(()) if extents == Extents::Reserved => {
            rustix::fs::fsync(&file)?;
            return Ok(file);
        }
        Ok(()) | Err(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    let mut zeroes = Buffer::zeroed(FILL_BYTES.min(size as usize), None);
    zeroes.set_len(FILL_BYTES.min(size as usize));
    let mut at = 0;
    while at < size {
        let length = zeroes.bytes().len().min((size - at) as usize);
        at += rustix::io::pwrite(&file, &zeroes.bytes()[..length], at)? as u64;
    }
    rustix::fs::fsync(&file)?;
    Ok(file)
}

/// A log's folder on a real filesystem. Blocking; for start-up.
pub struct DiskFolder {
    folder: OwnedFd,
}

impl DiskFolder {
    /// Opens an existing folder.
    ///
    /// # Errors
    /// What the filesystem said.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(Self { folder: rustix::fs::open(path, flags, Mode::empty())? })
    }

    fn file(&self, slot: FileSlot) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, slot.name(), flags, Mode::empty())?)
    }

    fn settle_all(&self) -> io::Result<Listing> {
        let names = list(&self.folder)?;
        for name in &names.unfinished {
            rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?;
        }
        let mut listing = Listing { slots: Vec::new(), strangers: names.strangers };
        for slot in names.slots {
            let file = self.file(slot)?;
            rustix::fs::fsync(&file)?;
            listing.slots.push((slot, ByteOffset(rustix::fs::fstat(&file)?.st_size as u64)));
        }
        rustix::fs::fsync(&self.folder)?;
        Ok(listing)
    }

    fn read_all(&self, slot: FileSlot, mut offset: u64, mut into: &mut [u8]) -> io::Result<()> {
        let file = self.file(slot)?;
        let (start, length) = (offset, into.len() as u64);
        while !into.is_empty() {
            let count = rustix::io::pread(&file, &mut *into, offset)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += count as u64;
            into = &mut into[count..];
        }
        // Direct writes follow; each would have to throw its part of the page cache away.
        let _ = rustix::fs::fadvise(&file, start, std::num::NonZeroU64::new(length), Advice::DontNeed);
        Ok(())
    }

    fn write_all(&self, slot: FileSlot, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        let file = self.file(slot)?;
        while !bytes.is_empty() {
            let count = rustix::io::pwrite(&file, bytes, offset)?;
            offset += count as u64;
            bytes = &bytes[count..];
        }
        Ok(rustix::fs::fdatasync(&file)?)
    }
}

impl Folder for DiskFolder {
    fn settle(&mut self) -> Result<Listing, Failure> {
        self.settle_all().map_err(|e| failure(&e))
    }

    fn read(&mut self, slot: FileSlot, offset: ByteOffset, into: &mut [u8]) -> Result<(), Failure> {
        self.read_all(slot, offset.0, into).map_err(|e| failure(&e))
    }

    fn write_durable(&mut self, slot: FileSlot, offset: ByteOffset, blocks: &[u8]) -> Result<(), Failure> {
        self.write_all(slot, offset.0, blocks).map_err(|e| failure(&e))
    }

    fn prepare(&mut self, slot: FileSlot, size: ByteOffset) -> Result<(), Failure> {
        prepare(&self.folder, slot, size, Extents::Written)
    }
}
