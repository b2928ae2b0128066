//! Block 0 of a segment: which logical segment this slot holds now.
//!
//! A slot is recycled by writing a new block 0, so files are never renamed in steady state. Reading never panics
//! on any input.

use crate::buffer::BLOCK_BYTES;
use crate::frame::Fault;
use crate::header::{self, HEADER_BYTES, u32_at, u64_at};
use crate::ids::{Epoch, Identity, Nonce, SegmentNumber, Sequence};

/// The layout that this code writes and reads.
pub const VERSION: u16 = 1;
/// Where the first frame of every segment lies, in bytes.
pub const FIRST_FRAME_AT: usize = BLOCK_BYTES;

const MAGIC: [u8; 4] = *b"WLsg";

/// What block 0 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose log it belongs to.
    pub identity: Identity,
    /// Its place among the segments.
    pub number: SegmentNumber,
    /// Sequence of its first frame: the segment before ends just below it.
    pub first: Sequence,
    /// The newest frame before this segment says that segments below this number are not needed.
    pub oldest_segment: SegmentNumber,
    /// The start of the log that wrote it.
    pub epoch: Epoch,
    /// Size of the file in blocks.
    pub blocks: u32,
}

/// What block 0 of a slot turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockZero {
    /// All zeroes: prepared and never used.
    Unused,
    /// A sound header.
    Header(SegmentHeader),
    /// Anything else.
    Bad(Fault),
}

impl SegmentHeader {
    /// The nonce that the frames of this segment carry.
    #[must_use]
    pub fn nonce(&self) -> Nonce {
        Nonce::of(self.identity, self.number)
    }

    /// Writes block 0 into the start of `memory`.
    ///
    /// # Panics
    /// If `memory` is shorter than a block.
    pub fn seal(&self, memory: &mut [u8]) {
        memory[..BLOCK_BYTES].fill(0);
        memory[..HEADER_BYTES].copy_from_slice(&self.encode());
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = header::begin(MAGIC, VERSION);
        out[8..16].copy_from_slice(&self.identity.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.nonce().0.to_le_bytes());
        out[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        out[40..48].copy_from_slice(&self.oldest_segment.0.to_le_bytes());
        out[48..52].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[52..56].copy_from_slice(&self.blocks.to_le_bytes());
        header::seal(&mut out);
        out
    }

    fn is_possible(&self) -> bool {
        self.number > SegmentNumber(0)
            && self.oldest_segment <= self.number
            && self.first > Sequence(0)
            && self.epoch > Epoch(0)
            && self.blocks > 1
    }
}

impl BlockZero {
    /// Reads block 0.
    #[must_use]
    pub fn read(block: &[u8]) -> Self {
        if block.iter().all(|&b| b == 0) {
            return Self::Unused;
        }
        read_header(block).map_or_else(Self::Bad, Self::Header)
    }
}

fn read_header(block: &[u8]) -> Result<SegmentHeader, Fault> {
    let bytes = header::open(block, MAGIC, VERSION)?;
    let header = SegmentHeader {
        identity: Identity(u64_at(bytes, 8)),
        number: SegmentNumber(u64_at(bytes, 16)),
        first: Sequence(u64_at(bytes, 32)),
        oldest_segment: SegmentNumber(u64_at(bytes, 40)),
        epoch: Epoch(u32_at(bytes, 48)),
        blocks: u32_at(bytes, 52),
    };
    // Encoding again checks the nonce and the reserved bytes.
    if header.is_possible() && header.encode() == *bytes { Ok(header) } else { Err(Fault::Impossible) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn headers()(
            identity: u64, number in 1_u64.., oldest: u64, first in 1_u64.., epoch in 1_u32.., blocks in 2_u32..,
        ) -> SegmentHeader {
            SegmentHeader {
                identity: Identity(identity), number: SegmentNumber(number), first: Sequence(first),
                oldest_segment: SegmentNumber(oldest % number), epoch: Epoch(epoch), blocks,
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(header in headers()) {
            let mut block = vec![0x55; BLOCK_BYTES];
            header.seal(&mut block);
            prop_assert_eq!(BlockZero::read(&block), BlockZero::Header(header));
        }

        #[test]
        fn a_flipped_bit_is_seen(header in headers(), bit in 0..HEADER_BYTES * 8) {
            let mut block = vec![0; BLOCK_BYTES];
            header.seal(&mut block);
            block[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(matches!(BlockZero::read(&block), BlockZero::Bad(_)));
        }

        #[test]
        fn no_bytes_can_panic(mut noise: Vec<u8>) {
            let _ = BlockZero::read(&noise);
            noise.splice(..0, MAGIC);
            prop_assert!(matches!(BlockZero::read(&noise), BlockZero::Bad(_)));
        }
    }

    /// The layout of version 1 as `docs/formats/log.md` draws it. Never change this: add another version.
    #[test]
    fn version_1_on_disk() {
        let header = SegmentHeader {
            identity: Identity(0x0807_0605_0403_0201),
            number: SegmentNumber(6),
            first: Sequence(0x20),
            oldest_segment: SegmentNumber(5),
            epoch: Epoch(3),
            blocks: 16384,
        };
        #[rustfmt::skip]
        let want: [u8; HEADER_BYTES] = [
            0x57, 0x4c, 0x73, 0x67, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
            6, 0, 0, 0, 0, 0, 0, 0, 0x48, 0xa3, 0x8b, 0x44, 0xf2, 0xda, 0xec, 0x78,
            0x20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
            3, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0x96, 0x20, 0x57, 0xd3,
        ];
        assert_eq!(header.encode(), want);
    }

    #[test]
    fn zeroes_are_unused_and_other_versions_are_named() {
        assert_eq!(BlockZero::read(&[0; BLOCK_BYTES]), BlockZero::Unused);
        let mut block = vec![0; BLOCK_BYTES];
        let header = SegmentHeader {
            identity: Identity(1),
            number: SegmentNumber(1),
            first: Sequence(1),
            oldest_segment: SegmentNumber(1),
            epoch: Epoch(1),
            blocks: 8,
        };
        header.seal(&mut block);
        block[4] = 7;
        header::seal(block.first_chunk_mut().unwrap());
        assert_eq!(BlockZero::read(&block), BlockZero::Bad(Fault::Version(7)));
    }
}
