//! One tree, built from ascending keys: pages leave as soon as they are full, so only one page of each level is held.

use crate::element::{ENTRY_BYTES, push_branch, push_leaf};
use crate::page::{BRANCH, HEAD_BYTES, Head, LEAF};
use crate::writer::{PAGE_BYTES, Pages};

/// Children that a branch page has at least: bbolt takes one with fewer for damage when it deletes from it.
const CHILDREN_MIN: usize = 2;

/// A leaf ends when what is left of its last page is at most this part of it. Until then it goes on in a further page, as
/// large values would leave much of a page empty otherwise.
const SPARE_PART_MAX: usize = 16;

/// A leaf ends with the page that takes it to so many bytes, whatever is left of it: whoever changes an element writes its
/// whole leaf.
const LEAF_BYTES_MAX: usize = 8 * PAGE_BYTES;

/// A tree in the making.
#[derive(Debug, Default)]
pub struct Tree {
    leaf: LeafPage,
    /// From the leaves upwards.
    branches: Vec<BranchPage>,
}

#[derive(Debug, Default)]
struct LeafPage {
    /// Flags and lengths of key and value.
    elements: Vec<(u32, usize, usize)>,
    /// Keys and values.
    data: Vec<u8>,
    last_key: Vec<u8>,
}

#[derive(Debug, Default)]
struct BranchPage {
    /// First key of each child, and its page.
    children: Vec<(Vec<u8>, u64)>,
    key_bytes: usize,
}

impl LeafPage {
    fn len_bytes(&self) -> usize {
        HEAD_BYTES + self.elements.len() * ENTRY_BYTES + self.data.len()
    }

    /// Whether an element of `more` bytes belongs to the next leaf.
    fn ends_before(&self, more: usize) -> bool {
        let used = self.len_bytes();
        let end = used.next_multiple_of(PAGE_BYTES);
        let is_dense = (end - used) * SPARE_PART_MAX <= end;
        used + more > end && (is_dense || end >= LEAF_BYTES_MAX)
    }

    /// Empties it; its bytes but for the head, and its first key.
    fn take(&mut self) -> (Vec<u8>, Vec<u8>, usize) {
        let count = self.elements.len();
        let mut body = Vec::with_capacity(self.len_bytes());
        let mut before = 0;
        for (index, &(flags, key_len, value_len)) in self.elements.iter().enumerate() {
            push_leaf(&mut body, (index, count), before, flags, (key_len, value_len));
            before += key_len + value_len;
        }
        body.extend_from_slice(&self.data);
        let first_key = self.elements.first().map_or(&[][..], |&(_, len, _)| &self.data[..len]).to_vec();
        self.elements.clear();
        self.data.clear();
        (body, first_key, count)
    }
}

impl BranchPage {
    fn len_bytes(&self) -> usize {
        HEAD_BYTES + self.children.len() * ENTRY_BYTES + self.key_bytes
    }

    fn push(&mut self, key: Vec<u8>, child: u64) {
        self.key_bytes += key.len();
        self.children.push((key, child));
    }

    /// Takes all children but the last `kept` out; their bytes but for the head, and the first key.
    fn take(&mut self, kept: usize) -> (Vec<u8>, Vec<u8>, usize) {
        let count = self.children.len() - kept;
        let taken: Vec<_> = self.children.drain(..count).collect();
        let mut body = Vec::with_capacity(PAGE_BYTES);
        let mut before = 0;
        for (index, (key, child)) in taken.iter().enumerate() {
            push_branch(&mut body, (index, count), before, key.len(), *child);
            before += key.len();
        }
        taken.iter().for_each(|(key, _)| body.extend_from_slice(key));
        self.key_bytes -= before;
        let first_key = taken.into_iter().next().map(|(key, _)| key).unwrap_or_default();
        (body, first_key, count)
    }
}

impl Tree {
    /// Adds a key above all others.
    pub fn put(&mut self, flags: u32, key: &[u8], value: &[u8], pages: &mut Pages, out: &mut Vec<u8>) {
        let is_first = self.leaf.elements.is_empty() && self.branches.is_empty();
        assert!(is_first || self.leaf.last_key.as_slice() < key, "keys are put in ascending order");
        if !self.leaf.elements.is_empty() && self.leaf.ends_before(ENTRY_BYTES + key.len() + value.len()) {
            self.flush_leaf(pages, out);
        }
        self.leaf.elements.push((flags, key.len(), value.len()));
        self.leaf.data.extend_from_slice(key);
        self.leaf.data.extend_from_slice(value);
        self.leaf.last_key.clear();
        self.leaf.last_key.extend_from_slice(key);
    }

    /// Writes what is left; the root's page.
    pub fn finish(mut self, pages: &mut Pages, out: &mut Vec<u8>) -> u64 {
        if !self.leaf.elements.is_empty() || self.branches.is_empty() {
            self.flush_leaf(pages, out);
        }
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.branches.len();
            if let ([(_, root)], true) = (&self.branches[level].children[..], is_top) {
                return *root;
            }
            self.flush_branch(level, 0, pages, out);
            level += 1;
        }
    }

    fn flush_leaf(&mut self, pages: &mut Pages, out: &mut Vec<u8>) {
        let (body, first_key, count) = self.leaf.take();
        let id = write_page(LEAF, count, &body, pages, out);
        self.add_child(0, first_key, id, pages, out);
    }

    fn flush_branch(&mut self, level: usize, kept: usize, pages: &mut Pages, out: &mut Vec<u8>) {
        let (body, first_key, count) = self.branches[level].take(kept);
        assert!(count >= CHILDREN_MIN, "a branch page of {count} children");
        let id = write_page(BRANCH, count, &body, pages, out);
        self.add_child(level + 1, first_key, id, pages, out);
    }

    fn add_child(&mut self, level: usize, key: Vec<u8>, id: u64, pages: &mut Pages, out: &mut Vec<u8>) {
        if self.branches.len() == level {
            self.branches.push(BranchPage::default());
        }
        let branch = &self.branches[level];
        let is_full = branch.len_bytes() + ENTRY_BYTES + key.len() > PAGE_BYTES;
        // One stays behind, so that the page after it has enough too.
        if is_full && branch.children.len() > CHILDREN_MIN {
            self.flush_branch(level, 1, pages, out);
        }
        self.branches[level].push(key, id);
    }
}

/// Writes one page, and those that it overflows into.
fn write_page(flags: u16, count: usize, body: &[u8], pages: &mut Pages, out: &mut Vec<u8>) -> u64 {
    let used = (HEAD_BYTES + body.len()).div_ceil(PAGE_BYTES);
    let id = pages.take(used);
    let count = u16::try_from(count).expect("elements of 16 bytes and more in some pages of 4096");
    let overflow = u32::try_from(used - 1).expect("a value is far below 16 TiB");
    let end = out.len() + used * PAGE_BYTES;
    out.extend_from_slice(&Head { id, flags, count, overflow }.encode());
    out.extend_from_slice(body);
    out.resize(end, 0);
    id
}
