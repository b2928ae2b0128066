//! The frame: what one flush writes. A checksummed header, an opaque body, zeroes up to the block.
//!
//! Used by every log (Raft log and shard streams); what the body means is its owner's business. Reading never
//! panics on any input and never trusts a length before its checksum.

use crate::buffer::BLOCK_BYTES;
use crate::header::{self, u16_at, u32_at, u64_at};
use crate::ids::{Epoch, Nonce, SegmentNumber, Sequence};

// The body follows the header at once, so it is aligned for flatbuffers.
pub use crate::header::HEADER_BYTES;

/// Largest body in bytes. Keeps a damaged-but-checksummed length from meaning gigabytes; no writer comes near.
pub const BODY_BYTES_MAX: usize = 256 << 20;
/// The layout that this code writes and reads.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"WLfr";
const FLAG_BOOT: u16 = 1;

const _: () = assert!(BODY_BYTES_MAX <= u32::MAX as usize);

/// What a frame says about itself and its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Of the segment that the frame lies in.
    pub nonce: Nonce,
    /// Position in the log.
    pub sequence: Sequence,
    /// When this frame was submitted, every frame below this sequence was known to be durable. At most `sequence`.
    pub durable_below: Sequence,
    /// Segments below this number hold nothing that is needed.
    pub oldest_segment: SegmentNumber,
    /// The start of the log that wrote it.
    pub epoch: Epoch,
    /// Whether it is the first frame of its epoch, written and durable before the second is submitted.
    pub boot: bool,
}

/// The header of a frame whose header checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame says.
    pub stamp: Stamp,
    body_bytes: u32,
    body_checksum: u32,
}

/// Why a block does not begin with a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The magic number is absent: zeroes, the inside of a frame, or damage.
    NotAHeader,
    /// The magic number is there, but the checksum does not hold.
    Checksum,
    /// A sound header of another version of this software.
    Version(u16),
    /// A sound checksum over values that no writer produces.
    Impossible,
}

/// Bytes on disk of a frame with a body of `body_bytes`: a multiple of the block size.
#[must_use]
pub const fn frame_bytes(body_bytes: usize) -> usize {
    (HEADER_BYTES + body_bytes).next_multiple_of(BLOCK_BYTES)
}

/// Completes the frame at the start of `memory`, whose body already lies at [`HEADER_BYTES`]. Returns the frame's
/// length in bytes on disk; what lies between the body and that length is zeroed.
///
/// # Panics
/// If the frame does not fit into `memory`, or the stamp is one that [`Header::read`] would refuse.
pub fn seal(memory: &mut [u8], stamp: &Stamp, body_bytes: usize) -> usize {
    assert!(body_bytes <= BODY_BYTES_MAX, "frame body of {body_bytes} bytes");
    let end = HEADER_BYTES + body_bytes;
    let length = frame_bytes(body_bytes);
    memory[end..length].fill(0);
    let body_checksum = crc32fast::hash(&memory[HEADER_BYTES..end]);
    let header = Header { stamp: *stamp, body_bytes: body_bytes as u32, body_checksum };
    assert!(header.is_possible(), "impossible stamp {stamp:?}");
    memory[..HEADER_BYTES].copy_from_slice(&header.encode());
    length
}

impl Header {
    /// Reads the header at the start of `block`.
    ///
    /// # Errors
    /// See [`Fault`]; a block shorter than a header is [`Fault::NotAHeader`].
    pub fn read(block: &[u8]) -> Result<Self, Fault> {
        let bytes = header::open(block, MAGIC, VERSION)?;
        let header = Self::decode(bytes);
        // Unknown flags and reserved bytes are caught by encoding again.
        if header.is_possible() && header.encode() == *bytes { Ok(header) } else { Err(Fault::Impossible) }
    }

    /// The body, if it lies wholly within `frame` (which begins with this header) and its checksum holds.
    #[must_use]
    pub fn body<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let body = frame.get(HEADER_BYTES..HEADER_BYTES + self.body_bytes as usize)?;
        (crc32fast::hash(body) == self.body_checksum).then_some(body)
    }

    /// Length of the body in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body_bytes as usize
    }

    /// Length on disk in bytes.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        frame_bytes(self.body_bytes())
    }

    fn is_possible(&self) -> bool {
        let s = &self.stamp;
        self.body_bytes() <= BODY_BYTES_MAX
            && s.durable_below <= s.sequence
            && s.sequence > Sequence(0)
            && s.epoch > Epoch(0)
            // A boot frame is written when everything before it is durable.
            && (!s.boot || s.durable_below == s.sequence)
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let s = &self.stamp;
        let mut out = header::begin(MAGIC, VERSION);
        out[6..8].copy_from_slice(&(if s.boot { FLAG_BOOT } else { 0 }).to_le_bytes());
        out[8..16].copy_from_slice(&s.nonce.0.to_le_bytes());
        out[16..24].copy_from_slice(&s.sequence.0.to_le_bytes());
        out[24..32].copy_from_slice(&s.durable_below.0.to_le_bytes());
        out[32..40].copy_from_slice(&s.oldest_segment.0.to_le_bytes());
        out[40..44].copy_from_slice(&s.epoch.0.to_le_bytes());
        out[44..48].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[48..52].copy_from_slice(&self.body_checksum.to_le_bytes());
        header::seal(&mut out);
        out
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let stamp = Stamp {
            nonce: Nonce(u64_at(bytes, 8)),
            sequence: Sequence(u64_at(bytes, 16)),
            durable_below: Sequence(u64_at(bytes, 24)),
            oldest_segment: SegmentNumber(u64_at(bytes, 32)),
            epoch: Epoch(u32_at(bytes, 40)),
            boot: u16_at(bytes, 6) & FLAG_BOOT != 0,
        };
        Self { stamp, body_bytes: u32_at(bytes, 44), body_checksum: u32_at(bytes, 48) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(body: &[u8], stamp: &Stamp) -> Vec<u8> {
        let mut memory = vec![0xaa; frame_bytes(body.len())];
        memory[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(body);
        assert_eq!(seal(&mut memory, stamp, body.len()), memory.len());
        memory
    }

    prop_compose! {
        fn stamps()(nonce: u64, sequence in 1_u64.., below: u64, oldest: u64, epoch in 1_u32.., boot: bool) -> Stamp {
            let durable_below = Sequence(if boot { sequence } else { below % sequence });
            Stamp {
                nonce: Nonce(nonce), sequence: Sequence(sequence), durable_below,
                oldest_segment: SegmentNumber(oldest), epoch: Epoch(epoch), boot,
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(body: Vec<u8>, stamp in stamps()) {
            let bytes = sealed(&body, &stamp);
            let header = Header::read(&bytes).unwrap();
            prop_assert_eq!(header.stamp, stamp);
            prop_assert_eq!(header.frame_bytes(), bytes.len());
            prop_assert_eq!(header.body(&bytes), Some(&body[..]));
            prop_assert!(bytes[HEADER_BYTES + body.len()..].iter().all(|&b| b == 0));
        }

        #[test]
        fn a_flipped_bit_is_seen(body in prop::collection::vec(any::<u8>(), 1..9000), stamp in stamps(), at: prop::sample::Index) {
            let mut bytes = sealed(&body, &stamp);
            let bit = at.index((HEADER_BYTES + body.len()) * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = Header::read(&bytes).ok().and_then(|h| h.body(&bytes).map(<[u8]>::to_vec));
            prop_assert_eq!(read, None);
        }

        #[test]
        fn a_short_frame_has_no_body(body in prop::collection::vec(any::<u8>(), 1..9000), stamp in stamps(), at: prop::sample::Index) {
            let bytes = sealed(&body, &stamp);
            let cut = &bytes[..HEADER_BYTES + at.index(body.len())];
            prop_assert_eq!(Header::read(cut).unwrap().body(cut), None);
        }

        #[test]
        fn no_bytes_can_panic(mut noise: Vec<u8>) {
            let _ = Header::read(&noise);
            noise.splice(..0, MAGIC);
            prop_assert!(Header::read(&noise).is_err());
        }
    }

    /// The layout of version 1 as `docs/formats/log.md` draws it. Never change this: add another version.
    #[test]
    fn version_1_on_disk() {
        let stamp = Stamp {
            nonce: Nonce(0x0807_0605_0403_0201),
            sequence: Sequence(0x20),
            durable_below: Sequence(0x1f),
            oldest_segment: SegmentNumber(5),
            epoch: Epoch(3),
            boot: false,
        };
        #[rustfmt::skip]
        let want: [u8; HEADER_BYTES] = [
            b'W', b'L', b'f', b'r', 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
            0x20, 0, 0, 0, 0, 0, 0, 0, 0x1f, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0,
            0xb2, 0xb, 0xa8, 0xdb, 0, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0xd0, 0xf9, 0x33,
        ];
        assert_eq!(sealed(b"body", &stamp)[..HEADER_BYTES], want);
    }

    #[test]
    fn another_version_is_named() {
        let stamp = Stamp {
            nonce: Nonce(1),
            sequence: Sequence(1),
            durable_below: Sequence(1),
            oldest_segment: SegmentNumber(1),
            epoch: Epoch(1),
            boot: true,
        };
        let mut bytes = sealed(b"x", &stamp);
        bytes[4] = 9;
        header::seal(bytes.first_chunk_mut().unwrap());
        assert_eq!(Header::read(&bytes), Err(Fault::Version(9)));
    }
}
