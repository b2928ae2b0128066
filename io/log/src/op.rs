//! Disk operations: what the pure logs ask for, and how the answer comes back.
//!
//! A log never touches a file. It pushes [`Op`]s, some backend of `windlass-io-disk` executes them (io_uring, glommio
//! or the simulator), and hands back one [`Completion`] for each. Operations on different tickets may complete in
//! any order; a log that needs an order waits for the completion.

use std::fmt;

use windlass_types::ByteOffset;

use crate::buffer::Buffer;

/// Identifies an operation until its completion; chosen by the log, unique among those in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A file of fixed size within the log's folder, known by its slot number. The backend maps it to a name with
/// [`FileSlot::name`] and keeps it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileSlot(pub u32);

impl FileSlot {
    /// File name of this slot.
    #[must_use]
    pub fn name(self) -> String {
        format!("{:06}.seg", self.0)
    }

    /// The slot whose file has this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let slot = name.strip_suffix(".seg")?.parse().ok().map(Self)?;
        (slot.name() == name).then_some(slot)
    }
}

/// One request to the disk.
#[derive(Debug)]
pub enum Op {
    /// Create the slot's file at its full size, every byte reading as zero, file and folder synced. Runs in the
    /// background and may take long; fails with [`Failure::NoSpace`] leaving no file behind.
    Prepare {
        /// For the completion.
        ticket: Ticket,
        /// Must not exist yet.
        slot: FileSlot,
        /// A multiple of the block size.
        size: ByteOffset,
    },
    /// Write `buffer` at `offset`; complete only when the bytes would survive a power failure.
    WriteDurable {
        /// For the completion.
        ticket: Ticket,
        /// A prepared file.
        slot: FileSlot,
        /// A multiple of the block size; the write lies within the file's size.
        offset: ByteOffset,
        /// Comes back with the completion.
        buffer: Buffer,
    },
    /// Remove the slot's file and sync the folder.
    Remove {
        /// For the completion.
        ticket: Ticket,
        /// An existing file that no operation in flight uses.
        slot: FileSlot,
    },
}

/// The end of one operation.
#[derive(Debug)]
pub struct Completion {
    /// Of the operation.
    pub ticket: Ticket,
    /// The buffer of a write, whatever the outcome.
    pub buffer: Option<Buffer>,
    /// What happened.
    pub result: Result<(), Failure>,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The filesystem or quota has no room (`ENOSPC`, `EDQUOT`). Nothing changed; worth trying again.
    NoSpace,
    /// Anything else. What is on the disk is unknown; the process must end.
    Io(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => f.write_str("no space left on device"),
            Self::Io(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}
