//! The head that every page begins with.

/// Bytes of the head: number, flags, count, overflow.
pub const HEAD_BYTES: usize = 16;

/// A page of a tree's inner nodes.
pub const BRANCH: u16 = 0x01;
/// A page of keys and values.
pub const LEAF: u16 = 0x02;
/// One of the first two pages.
pub const META: u16 = 0x04;
/// The list of unused pages.
pub const FREELIST: u16 = 0x10;

/// What a page begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 in a bucket that lies within a value.
    pub id: u64,
    /// What it holds.
    pub flags: u16,
    /// Number of elements.
    pub count: u16,
    /// Further pages that belong to it.
    pub overflow: u32,
}

impl Head {
    /// The bytes.
    pub fn encode(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.flags.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.overflow.to_le_bytes());
        bytes
    }

    /// The head of these bytes, if they are long enough for one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(bytes, 0)?,
            flags: u16::from_le_bytes(array_at(bytes, 8)?),
            count: u16::from_le_bytes(array_at(bytes, 10)?),
            overflow: u32_at(bytes, 12)?,
        })
    }
}

/// The little-endian number at a place, if it lies within the bytes.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// As [`u64_at`].
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
