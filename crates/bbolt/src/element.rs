//! The elements of branch and leaf pages: a table of fixed entries, then the keys and values that they point to.

use crate::page::{HEAD_BYTES, u32_at, u64_at};

/// Bytes of an element's entry, in either kind of page.
pub const ENTRY_BYTES: usize = 16;

/// In a leaf: the value is a bucket.
pub const BUCKET: u32 = 0x01;

/// Bytes of the value of a bucket: its root page, and its sequence. Root 0 has the page follow within the value.
pub const BUCKET_BYTES: usize = 16;

/// An element of a leaf page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// [`BUCKET`], or nothing.
    pub flags: u32,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// The element of a leaf page at a place; none if it does not lie within the page.
pub fn leaf(page: &[u8], index: usize) -> Option<Leaf<'_>> {
    let entry = HEAD_BYTES + index * ENTRY_BYTES;
    let [flags, offset, key_len, value_len] = [0, 4, 8, 12].map(|at| u32_at(page, entry + at));
    let rest = page.get(entry.checked_add(offset? as usize)?..)?;
    let (key, rest) = rest.split_at_checked(key_len? as usize)?;
    let (value, _) = rest.split_at_checked(value_len? as usize)?;
    Some(Leaf { flags: flags?, key, value })
}

/// The page that the element of a branch page leads to; none if it does not lie within the page.
pub fn branch(page: &[u8], index: usize) -> Option<u64> {
    u64_at(page, HEAD_BYTES + index * ENTRY_BYTES + 8)
}

/// Offset of bytes from the entry that points to them, with all entries of a page before all bytes.
fn offset(index: usize, count: usize, bytes_before: usize) -> u32 {
    u32::try_from((count - index) * ENTRY_BYTES + bytes_before).expect("a page is far below 4 GiB")
}

fn u32_len(len: usize) -> u32 {
    u32::try_from(len).expect("keys and values are far below 4 GiB")
}

/// Appends the entry of a leaf page.
pub fn push_leaf(
    out: &mut Vec<u8>,
    at: (usize, usize),
    bytes_before: usize,
    flags: u32,
    lens: (usize, usize),
) {
    let (index, count) = at;
    for word in [flags, offset(index, count, bytes_before), u32_len(lens.0), u32_len(lens.1)] {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

/// Appends the entry of a branch page.
pub fn push_branch(out: &mut Vec<u8>, at: (usize, usize), bytes_before: usize, key_len: usize, child: u64) {
    let (index, count) = at;
    for word in [offset(index, count, bytes_before), u32_len(key_len)] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&child.to_le_bytes());
}
