//! The memory of finished batches.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Memory of finished batches, used again when the last view of a batch is gone, on whatever thread that is. Fresh
/// memory is dear: the kernel clears each page.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    spare: Arc<Mutex<Spare>>,
}

/// Buffers kept for later.
#[derive(Debug, Default)]
struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// Buffers kept for later, and their bytes. A batch is held until every stream has it, so what comes back at once is
/// what was written between two flushes of a shard; more is given back to the allocator.
pub(super) const SPARE_MAX: usize = 512;
const SPARE_BYTES_MAX: usize = 16 << 20;

/// Larger buffers are given back: they are those of a single large request.
const BUFFER_BYTES_MAX: usize = 2 << 20;

impl Pool {
    /// A buffer of at least `len` bytes, whose content is of no meaning.
    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = spare.take(len);
        drop(spare);
        // In powers of two, so that buffers of batches that grow are soon large enough for the next.
        buffer.unwrap_or_else(|| vec![0; len.next_power_of_two()])
    }

    /// `buffer` for everyone to read; it comes back when nobody does any more.
    pub(super) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Pooled { buffer, pool: self.clone() })
    }

    /// How many buffers are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).buffers.len()
    }

    fn give(&self, buffer: Vec<u8>) {
        if buffer.len() <= BUFFER_BYTES_MAX {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            let dropped = spare.give(buffer);
            drop(spare);
            drop(dropped);
        }
    }
}

impl Spare {
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let fits = self.buffers.iter().rposition(|buffer| buffer.len() >= len)?;
        let buffer = self.buffers.swap_remove(fits);
        self.bytes -= buffer.len();
        Some(buffer)
    }

    /// Keeps a buffer; returns the one that is not kept for it, if that is so.
    fn give(&mut self, buffer: Vec<u8>) -> Option<Vec<u8>> {
        if self.bytes + buffer.len() > SPARE_BYTES_MAX {
            return Some(buffer);
        }
        let mut dropped = None;
        if self.buffers.len() == SPARE_MAX {
            // Many small batches must not keep out the large ones that come with load: those are what is dear.
            let smallest = self.buffers.iter_mut().min_by_key(|kept| kept.len())?;
            if smallest.len() >= buffer.len() {
                return Some(buffer);
            }
            self.bytes = self.bytes - smallest.len() + buffer.len();
            dropped = Some(std::mem::replace(smallest, buffer));
        } else {
            self.bytes += buffer.len();
            self.buffers.push(buffer);
        }
        dropped
    }
}

/// A buffer that goes back to its pool.
struct Pooled {
    buffer: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_pool_keeps_what_is_large_within_its_bounds(
            sizes in prop::collection::vec(1_usize..20_000, 0..3 * SPARE_MAX),
        ) {
            let pool = Pool::default();
            sizes.iter().for_each(|&size| pool.give(vec![0; size]));
            let spare = pool.spare.lock().unwrap();
            let mut kept: Vec<_> = spare.buffers.iter().map(Vec::len).collect();
            prop_assert_eq!(spare.bytes, kept.iter().sum::<usize>());
            prop_assert!(spare.bytes <= SPARE_BYTES_MAX);
            kept.sort_unstable_by(|a, b| b.cmp(a));
            let mut want = sizes;
            want.sort_unstable_by(|a, b| b.cmp(a));
            want.truncate(SPARE_MAX);
            prop_assert_eq!(kept, want);
        }
    }
}
