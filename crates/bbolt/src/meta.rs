//! The meta page: where the root is, and how far the file goes.

use crate::page::{self, HEAD_BYTES, u32_at, u64_at};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// Bytes that the checksum covers.
const CHECKED_BYTES: usize = 56;

/// Bytes of a meta page that say something.
pub const META_BYTES: usize = HEAD_BYTES + CHECKED_BYTES + 8;

/// What a meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of a page.
    pub page_bytes: u32,
    /// The page of the tree of buckets.
    pub root: u64,
    /// The page of the list of unused pages.
    pub freelist: u64,
    /// The first page number that was never used.
    pub end: u64,
    /// The transaction that wrote it; the greater one of the two counts.
    pub transaction: u64,
}

impl Meta {
    /// The page with this number, 0 or 1, without the zeros that fill it.
    pub fn encode(&self, id: u64) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        let head = page::Head { id, flags: page::META, count: 0, overflow: 0 };
        bytes[..HEAD_BYTES].copy_from_slice(&head.encode());
        let body = &mut bytes[HEAD_BYTES..];
        body[..4].copy_from_slice(&MAGIC.to_le_bytes());
        body[4..8].copy_from_slice(&VERSION.to_le_bytes());
        body[8..12].copy_from_slice(&self.page_bytes.to_le_bytes());
        // Flags, at 12, and the root bucket's sequence, at 24, are zero.
        body[16..24].copy_from_slice(&self.root.to_le_bytes());
        body[32..40].copy_from_slice(&self.freelist.to_le_bytes());
        body[40..48].copy_from_slice(&self.end.to_le_bytes());
        body[48..56].copy_from_slice(&self.transaction.to_le_bytes());
        let checksum = fnv1a(&body[..CHECKED_BYTES]);
        body[CHECKED_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a meta page; none if it is not sound.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let body = bytes.get(HEAD_BYTES..META_BYTES)?;
        let is_sound = u32_at(body, 0)? == MAGIC
            && u32_at(body, 4)? == VERSION
            && u64_at(body, CHECKED_BYTES)? == fnv1a(&body[..CHECKED_BYTES]);
        let meta = Self {
            page_bytes: u32_at(body, 8)?,
            root: u64_at(body, 16)?,
            freelist: u64_at(body, 32)?,
            end: u64_at(body, 40)?,
            transaction: u64_at(body, 48)?,
        };
        is_sound.then_some(meta)
    }
}

/// FNV-1a of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let meta = Meta { page_bytes: 4096, root: 3, freelist: 2, end: 9, transaction: 1 };
        let page = meta.encode(1);
        assert_eq!(Meta::decode(&page), Some(meta));
        for at in HEAD_BYTES..META_BYTES {
            let mut changed = page;
            changed[at] ^= 0x40;
            assert_eq!(Meta::decode(&changed), None, "byte {at}");
        }
    }
}
