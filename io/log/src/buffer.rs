//! Block-aligned memory for direct I/O.

use bytemuck::{Pod, Zeroable, cast_slice, cast_slice_mut};

/// The unit of direct I/O, in bytes: offsets, lengths and memory are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

const _: () = assert!(size_of::<Block>() == BLOCK_BYTES && align_of::<Block>() == BLOCK_BYTES);

/// Whole blocks of memory, aligned to the block size. Its memory never moves or grows, so a backend may register it.
pub struct Buffer {
    blocks: Box<[Block]>,
    /// Length in blocks of the part that a write covers.
    used: usize,
    /// Index among the backend's registered buffers, if it is one of those.
    registered: Option<u16>,
}

impl Buffer {
    /// Zeroed memory of at least `bytes`, rounded up to whole blocks.
    #[must_use]
    pub fn zeroed(bytes: usize, registered: Option<u16>) -> Self {
        let blocks = vec![Block::zeroed(); bytes.div_ceil(BLOCK_BYTES)].into_boxed_slice();
        Self { blocks, used: 0, registered }
    }

    /// All of the memory, to be filled.
    #[must_use]
    pub fn memory(&mut self) -> &mut [u8] {
        cast_slice_mut(&mut self.blocks)
    }

    /// Declares the first `bytes` as what a write covers, rounded up to whole blocks; zeroes the rest of the last one.
    pub fn set_len(&mut self, bytes: usize) {
        self.used = bytes.div_ceil(BLOCK_BYTES);
        let end = self.used * BLOCK_BYTES;
        self.memory()[bytes..end].fill(0);
    }

    /// What a write covers: whole blocks.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        cast_slice(&self.blocks[..self.used])
    }

    /// Size of the memory in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Index among the backend's registered buffers.
    #[must_use]
    pub fn registered(&self) -> Option<u16> {
        self.registered
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("used_blocks", &self.used)
            .field("registered", &self.registered)
            .finish()
    }
}
