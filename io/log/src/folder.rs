//! The blocking view of a log's folder that start-up needs, before any backend runs.

use windlass_types::ByteOffset;

use crate::op::{Failure, FileSlot};

/// What lies in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Segment files with their sizes in bytes, in any order. Files of an interrupted [`Folder::prepare`] are not
    /// among them.
    pub slots: Vec<(FileSlot, ByteOffset)>,
    /// Names that no log makes.
    pub strangers: Vec<String>,
}

/// A log's folder. Every method blocks until it is done; used at start-up only.
pub trait Folder {
    /// Lists the folder, after making sure (by syncing each file and the folder) that what is read from now on is
    /// what a power failure would leave.
    ///
    /// # Errors
    /// What the filesystem said.
    fn settle(&mut self) -> Result<Listing, Failure>;

    /// Fills `into` from the slot's bytes at `offset`, which lie within the file.
    ///
    /// # Errors
    /// What the filesystem said.
    fn read(&mut self, slot: FileSlot, offset: ByteOffset, into: &mut [u8]) -> Result<(), Failure>;

    /// Writes whole blocks at `offset`; they would survive a power failure when it returns.
    ///
    /// # Errors
    /// What the filesystem said. What is on the disk is unknown then.
    fn write_durable(&mut self, slot: FileSlot, offset: ByteOffset, blocks: &[u8]) -> Result<(), Failure>;

    /// As [`Op::Prepare`](crate::op::Op::Prepare).
    ///
    /// # Errors
    /// What the filesystem said; [`Failure::NoSpace`] leaves no file behind.
    fn prepare(&mut self, slot: FileSlot, size: ByteOffset) -> Result<(), Failure>;
}

/// A folder that is not there: empty, and nothing can be written to it.
pub struct Absent;

impl Absent {
    fn refuse() -> Failure {
        Failure::Io("the folder is not there".to_owned())
    }
}

impl Folder for Absent {
    fn settle(&mut self) -> Result<Listing, Failure> {
        Ok(Listing::default())
    }

    fn read(&mut self, _: FileSlot, _: ByteOffset, _: &mut [u8]) -> Result<(), Failure> {
        Err(Self::refuse())
    }

    fn write_durable(&mut self, _: FileSlot, _: ByteOffset, _: &[u8]) -> Result<(), Failure> {
        Err(Self::refuse())
    }

    fn prepare(&mut self, _: FileSlot, _: ByteOffset) -> Result<(), Failure> {
        Err(Self::refuse())
    }
}
