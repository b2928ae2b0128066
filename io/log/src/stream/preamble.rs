//! What every frame of a stream says before its record: where it belongs and what recovery may skip.

use windlass_types::LogIndex;

use crate::header::{u32_at, u64_at};

/// Size in bytes; a multiple of 16, so that the record behind it is aligned as the frame's body is.
pub(super) const PREAMBLE_BYTES: usize = 48;

const _: () = assert!(PREAMBLE_BYTES.is_multiple_of(16));

/// Position of a frame in its stream, from 1; goes on over starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ordinal(pub u64);

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first frame of a start: everything above its index in earlier frames is void.
    Boot,
    /// What was appended.
    Data,
    /// A piece of a checkpoint. Its index says nothing new.
    Chunk,
}

/// Where recovery may begin: with the checkpoint that was started at `frame`, if it cuts at or above `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// No earlier frame is needed.
    pub frame: Ordinal,
    /// The checkpoint holds everything up to here, and what a compaction later than this took away.
    pub index: LogIndex,
}

impl Base {
    /// No checkpoint: the whole stream.
    pub const START: Self = Self { frame: Ordinal(1), index: LogIndex::ZERO };
}

/// The preamble of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preamble {
    pub kind: Kind,
    /// Its own position.
    pub ordinal: Ordinal,
    /// Every effect up to here is in this frame or an earlier one. In a boot frame: where the stream was cut.
    pub index: LogIndex,
    /// The newest complete checkpoint.
    pub base: Base,
}

impl Preamble {
    pub fn encode(&self) -> [u8; PREAMBLE_BYTES] {
        let kind: u32 = match self.kind {
            Kind::Boot => 1,
            Kind::Data => 2,
            Kind::Chunk => 3,
        };
        let mut out = [0; PREAMBLE_BYTES];
        out[..8].copy_from_slice(&self.ordinal.0.to_le_bytes());
        out[8..16].copy_from_slice(&self.index.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.base.frame.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.base.index.0.to_le_bytes());
        out[32..36].copy_from_slice(&kind.to_le_bytes());
        out
    }

    /// Reads the preamble at the start of a frame's body; says what is wrong with it.
    pub fn decode(body: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; PREAMBLE_BYTES] = body.first_chunk().ok_or("shorter than a preamble")?;
        let kind = match u32_at(bytes, 32) {
            1 => Kind::Boot,
            2 => Kind::Data,
            3 => Kind::Chunk,
            _ => return Err("unknown kind of frame"),
        };
        let base = Base { frame: Ordinal(u64_at(bytes, 16)), index: LogIndex(u64_at(bytes, 24)) };
        let preamble =
            Self { kind, ordinal: Ordinal(u64_at(bytes, 0)), index: LogIndex(u64_at(bytes, 8)), base };
        if base.frame == Ordinal(0) || preamble.ordinal < base.frame {
            return Err("a checkpoint from the future");
        }
        if preamble.encode() != *bytes {
            return Err("reserved bytes are not zero");
        }
        Ok(preamble)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(index: u64, frame in 1_u64..1 << 60, behind in 0_u64..1 << 60, base: u64, kind in 0..3_usize) {
            let want = Preamble {
                kind: [Kind::Boot, Kind::Data, Kind::Chunk][kind],
                ordinal: Ordinal(frame + behind),
                index: LogIndex(index),
                base: Base { frame: Ordinal(frame), index: LogIndex(base) },
            };
            prop_assert_eq!(Preamble::decode(&want.encode()), Ok(want));
        }

        #[test]
        fn noise_never_panics(noise: Vec<u8>) {
            let _ = Preamble::decode(&noise);
        }
    }

    #[test]
    fn what_no_writer_makes_is_refused() {
        assert!(Preamble::decode(&[0; PREAMBLE_BYTES]).is_err());
        let good = Preamble { kind: Kind::Data, ordinal: Ordinal(1), index: LogIndex(1), base: Base::START };
        let mut bytes = good.encode();
        assert_eq!(Preamble::decode(&bytes), Ok(good));
        bytes[PREAMBLE_BYTES - 1] = 1;
        assert!(Preamble::decode(&bytes).is_err());
        let early = Preamble { base: Base { frame: Ordinal(2), index: LogIndex(1) }, ..good };
        assert!(Preamble::decode(&early.encode()).is_err());
    }
}
