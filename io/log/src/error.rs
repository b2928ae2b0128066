//! Why a log cannot be opened. Each says where, what, and what the operator can do.

use windlass_types::{ByteOffset, LogIndex};

use crate::frame::Fault;
use crate::ids::{Identity, SegmentNumber};
use crate::op::Failure;

/// Why a log cannot be opened. Nothing was changed on the disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filesystem refused.
    #[error("{doing} of the log failed")]
    Disk {
        /// The operation.
        doing: &'static str,
        /// What it said.
        source: Failure,
    },
    /// There is no room for the first segment, or for the record of this start.
    #[error("no room for the log: {bytes} bytes are needed; free space on its filesystem and start again")]
    NoSpace {
        /// Needed at least.
        bytes: u64,
    },
    /// A file that no log makes.
    #[error(
        "{name:?} in the log's folder is not a log segment; move it away, or check the data folder's path"
    )]
    Stranger {
        /// Its name.
        name: String,
    },
    /// A segment of another version of this software.
    #[error(
        "{file} has log format {found}, this version reads {}; start the version that wrote it",
        crate::segment::VERSION
    )]
    Version {
        /// The segment.
        file: String,
        /// Its format.
        found: u16,
    },
    /// A segment of another member, cluster or stream.
    #[error(
        "{file} belongs to log {found}, not {expected}; a file was copied between data folders: put it back"
    )]
    Identity {
        /// The segment.
        file: String,
        /// Whose it is.
        found: Identity,
        /// Whose it should be.
        expected: Identity,
    },
    /// A segment that must be there is not.
    #[error("segment {number} of the log is missing (it runs to {last}); put its file back, or {repair}")]
    Missing {
        /// Of the missing segment.
        number: SegmentNumber,
        /// Of the last segment.
        last: SegmentNumber,
        /// What else helps.
        repair: Repair,
    },
    /// Entries between the log's start and its first entry are in no segment.
    #[error(
        "the log starts after entry {start}, but its first entry is {first}; restore the data folder as a whole"
    )]
    Gap {
        /// Entries at or below were cut.
        start: LogIndex,
        /// The first that is there.
        first: LogIndex,
    },
    /// A stream does not reach back to what is needed of it.
    #[error("frames from {needed} on are needed, and the first that is there is {first}; {repair}")]
    Beheaded {
        /// The first frame that is needed.
        needed: u64,
        /// The first that is there.
        first: u64,
        /// What helps.
        repair: Repair,
    },
    /// Bytes that were acknowledged, or that no crash explains, are damaged.
    #[error("{file} at byte {offset}: {what}; {repair}")]
    Damaged {
        /// The segment's file name.
        file: String,
        /// Where in it.
        offset: ByteOffset,
        /// What is wrong.
        what: Damage,
        /// What helps.
        repair: Repair,
    },
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Block 0 is neither zero nor a header.
    #[error("the segment header is damaged ({0:?})")]
    SegmentHeader(Fault),
    /// Acknowledged frames lie in a slot whose segment header is gone.
    #[error("the segment header of segment {0} was lost, its frames are there")]
    SegmentHeaderLost(SegmentNumber),
    /// Two slots claim one number.
    #[error("segment {0} is there twice")]
    SegmentTwice(SegmentNumber),
    /// The file is not as long as its header says.
    #[error("the file has {found} bytes instead of {expected}")]
    FileLength {
        /// Its length.
        found: u64,
        /// What the header says.
        expected: u64,
    },
    /// No frame where an acknowledged one was.
    #[error("an acknowledged frame is gone")]
    FrameHeader,
    /// The checksum of an acknowledged body does not hold.
    #[error("an acknowledged frame is damaged")]
    FrameBody,
    /// A sound frame that does not belong there.
    #[error("a frame is out of order")]
    FrameOrder,
    /// A sound frame whose content the log's owner refuses.
    #[error("a frame cannot be read: {0}")]
    FrameContent(String),
}

/// What an operator can do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The other members have what is lost, but not what this one promised them.
    FromPeers,
    /// The other members have all of it.
    ByPeers,
    /// Nobody else has it.
    FromBackup,
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FromPeers => "remove this member and add it again, the others will fill it",
            Self::ByPeers => "the others have what it held, and repair it",
            Self::FromBackup => "this is the only member: restore it from a snapshot, or bring back the file",
        })
    }
}
