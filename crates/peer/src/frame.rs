//! The frame around every record: what is proven before a length is believed. Drawn in `docs/formats/peer.md`.

use std::fmt;

use bytes::Bytes;

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 24;
/// Where a part of a body may begin: entries are flatbuffers that are verified in place.
pub(crate) const PART_ALIGN: usize = 8;
const MAGIC: [u8; 4] = *b"WLpf";

/// What a frame is, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Hello = 1,
    HelloReply = 2,
    Raft = 3,
    Forward = 4,
    ForwardRefused = 5,
    Ask = 6,
    Answer = 7,
    Ping = 8,
    Pong = 9,
    BulkOpen = 10,
    BulkOpened = 11,
    BulkChunk = 12,
    BulkCredit = 13,
    BulkEnd = 14,
    BulkDone = 15,
    BulkAbort = 16,
}

const KINDS: [Kind; 16] = [
    Kind::Hello,
    Kind::HelloReply,
    Kind::Raft,
    Kind::Forward,
    Kind::ForwardRefused,
    Kind::Ask,
    Kind::Answer,
    Kind::Ping,
    Kind::Pong,
    Kind::BulkOpen,
    Kind::BulkOpened,
    Kind::BulkChunk,
    Kind::BulkCredit,
    Kind::BulkEnd,
    Kind::BulkDone,
    Kind::BulkAbort,
];

impl Kind {
    fn from_wire(number: u8) -> Option<Self> {
        KINDS.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// What is wrong with what a peer sent. Its connection ends with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No frame of this protocol begins here.
    Magic,
    /// A frame of a kind that this version does not know.
    UnknownKind(u8),
    /// The header's checksum is wrong.
    HeaderChecksum,
    /// The body's checksum is wrong.
    BodyChecksum,
    /// Larger than what is taken on this connection.
    TooLarge {
        /// Of the body.
        bytes: usize,
        /// Taken.
        bytes_max: usize,
    },
    /// The parts of the frame do not fit together.
    Layout,
    /// The record cannot be read; says why.
    Record(String),
    /// A sound frame that has no place here; says why.
    Unexpected(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a frame of this protocol"),
            Self::UnknownKind(kind) => write!(f, "frame of unknown kind {kind}"),
            Self::HeaderChecksum => f.write_str("checksum of a frame's header is wrong"),
            Self::BodyChecksum => f.write_str("checksum of a frame's body is wrong"),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "frame of {bytes} bytes, at most {bytes_max} are taken")
            }
            Self::Layout => f.write_str("parts of a frame do not fit together"),
            Self::Record(why) => f.write_str(why),
            Self::Unexpected(what) => write!(f, "unexpected frame: {what}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<windlass_records::Error> for Fault {
    fn from(error: windlass_records::Error) -> Self {
        Self::Record(error.to_string())
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    /// Bytes of the record, the first part of the body.
    pub record_len: u32,
    /// Bytes of the body.
    pub body_len: u32,
    pub body_crc: u32,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind as u8;
        bytes[8..12].copy_from_slice(&self.record_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Fault> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..4] != MAGIC {
            return Err(Fault::Magic);
        }
        if crc32fast::hash(&bytes[..20]) != word(20) {
            return Err(Fault::HeaderChecksum);
        }
        let kind = Kind::from_wire(bytes[4]).ok_or(Fault::UnknownKind(bytes[4]))?;
        let header = Self { kind, record_len: word(8), body_len: word(12), body_crc: word(16) };
        let has_parts = header.body_len > header.record_len;
        let is_aligned = (header.record_len as usize).is_multiple_of(PART_ALIGN);
        if header.record_len > header.body_len || (has_parts && !is_aligned) || bytes[5..8] != [0; 3] {
            return Err(Fault::Layout);
        }
        Ok(header)
    }
}

/// A whole frame as it came: its checksums are right, its record is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub kind: Kind,
    pub record_len: usize,
    /// An allocation of its own: a slice of it that is kept pins this frame and nothing else.
    pub body: Bytes,
}

impl RawFrame {
    pub fn record(&self) -> &[u8] {
        &self.body[..self.record_len]
    }

    /// What follows the record.
    pub fn payload(&self) -> Bytes {
        self.body.slice(self.record_len..)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_round_trip(kind in 0..16_usize, record in 0_u32..1000, payload: u32, body_crc: u32) {
            let record_len = record * PART_ALIGN as u32;
            let body_len = record_len.saturating_add(payload);
            let header = Header { kind: KINDS[kind], record_len, body_len, body_crc };
            prop_assert_eq!(Header::parse(&header.encode()), Ok(header));
        }

        #[test]
        fn a_damaged_header_is_never_taken(at in 0..HEADER_BYTES, with: u8) {
            let header = Header { kind: Kind::Raft, record_len: 64, body_len: 200, body_crc: 7 };
            let mut bytes = header.encode();
            let was = std::mem::replace(&mut bytes[at], with);
            prop_assert_eq!(Header::parse(&bytes).is_ok(), was == with);
        }

        #[test]
        fn no_header_can_panic(bytes: [u8; HEADER_BYTES]) {
            let _ = Header::parse(&bytes);
        }
    }

    #[test]
    fn version_1_is_these_bytes() {
        let header = Header { kind: Kind::Raft, record_len: 0x40, body_len: 0x0102, body_crc: 0x0a0b_0c0d };
        let bytes = header.encode();
        assert_eq!(&bytes[..20], b"WLpf\x03\0\0\0\x40\0\0\0\x02\x01\0\0\x0d\x0c\x0b\x0a");
        assert_eq!(bytes[20..], crc32fast::hash(&bytes[..20]).to_le_bytes());
    }

    #[test]
    fn kinds_have_their_numbers() {
        for (place, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, place + 1);
            assert_eq!(Kind::from_wire(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_wire(0), None);
        assert_eq!(Kind::from_wire(17), None);
    }
}
