//! A leaf: slot ids in key order, and which of their keys are live.
//!
//! Looking at a key means a cache miss, so a leaf keeps the few bytes of each key that tell it from its neighbours,
//! its *head*, beside the ids. A search looks at keys only where heads are equal.

use crate::slots::{KeyId, Slots};

/// Keys of a full leaf: as many as a word has bits.
pub(super) const LEAF_KEYS: usize = u64::BITS as usize;

/// A leaf with fewer keys looks for a neighbour to merge with.
const LEAF_KEYS_SMALL: usize = LEAF_KEYS / 4;

/// "No leaf follows."
pub(super) const NO_LEAF: u32 = u32::MAX;

/// A leaf.
pub(super) struct Leaf {
    ids: [KeyId; LEAF_KEYS],
    /// The bytes of each key after the first `skip`, as a big-endian number.
    heads: [u64; LEAF_KEYS],
    /// Length of what all keys that belong into this leaf begin with: of what its bounds have in common.
    skip: u32,
    len: u8,
    /// Bit i: the i-th key is live.
    live: u64,
    next: u32,
}

impl Default for Leaf {
    fn default() -> Self {
        let (ids, heads) = ([KeyId(0); LEAF_KEYS], [0; LEAF_KEYS]);
        Self { ids, heads, skip: 0, len: 0, live: 0, next: NO_LEAF }
    }
}

impl Leaf {
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == LEAF_KEYS
    }

    pub(super) fn is_small(&self) -> bool {
        self.len() < LEAF_KEYS_SMALL
    }

    /// The leaf that follows in key order, or [`NO_LEAF`].
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    pub(super) fn set_next(&mut self, next: u32) {
        self.next = next;
    }

    pub(super) fn id(&self, position: usize) -> KeyId {
        self.ids[..self.len()][position]
    }

    /// The place of `key`, and its id if it is here.
    pub(super) fn search(&self, slots: &Slots, key: &[u8]) -> (usize, Option<KeyId>) {
        let head = head_of(key, self.skip);
        let (ids, heads) = (&self.ids[..self.len()], &self.heads[..self.len()]);
        let start = heads.partition_point(|&other| other < head);
        let equal = heads[start..].partition_point(|&other| other == head);
        match ids[start..start + equal].binary_search_by(|&id| slots.key(id).cmp(key)) {
            Ok(at) => (start + at, Some(ids[start + at])),
            Err(at) => (start + at, None),
        }
    }

    /// Tells the leaf what all its keys begin with, by length in bytes.
    pub(super) fn set_skip(&mut self, slots: &Slots, skip: usize) {
        self.skip = u32::try_from(skip).expect("keys are far below 4 GiB");
        for at in 0..self.len() {
            self.heads[at] = head_of(slots.key(self.ids[at]), self.skip);
        }
    }

    /// Inserts at `position`. The leaf must not be full.
    pub(super) fn insert(&mut self, slots: &Slots, position: usize, id: KeyId, live: bool) {
        let len = self.len();
        self.ids.copy_within(position..len, position + 1);
        self.ids[position] = id;
        self.heads.copy_within(position..len, position + 1);
        self.heads[position] = head_of(slots.key(id), self.skip);
        self.len += 1;
        let low = self.live & below(position);
        self.live = low | (u64::from(live) << position) | ((self.live & !below(position)) << 1);
    }

    /// Removes the key at `position`; says whether it was live.
    pub(super) fn remove(&mut self, position: usize) -> bool {
        let len = self.len();
        self.ids.copy_within(position + 1..len, position);
        self.heads.copy_within(position + 1..len, position);
        self.len -= 1;
        let was_live = self.live >> position & 1 == 1;
        let high = self.live & !below(position) & !(1 << position);
        self.live = (self.live & below(position)) | (high >> 1);
        was_live
    }

    /// Says whether that changed anything.
    pub(super) fn set_live(&mut self, position: usize, live: bool) -> bool {
        let before = self.live;
        self.live = (before & !(1 << position)) | (u64::from(live) << position);
        self.live != before
    }

    /// Moves the keys from `at` on into a new leaf. Both halves must be told what their keys begin with.
    pub(super) fn split(&mut self, at: usize) -> Self {
        let mut right = Self::default();
        let moved = self.len() - at;
        right.ids[..moved].copy_from_slice(&self.ids[at..self.len()]);
        right.len = moved as u8;
        right.live = if at == LEAF_KEYS { 0 } else { self.live >> at };
        self.len = at as u8;
        self.live &= below(at);
        right
    }

    /// Takes the keys of the leaf that follows; they must fit. It must be told what its keys begin with.
    pub(super) fn append(&mut self, right: &Self) {
        let len = self.len();
        self.ids[len..len + right.len()].copy_from_slice(&right.ids[..right.len()]);
        if right.len > 0 {
            self.live |= right.live << len;
        }
        self.len += right.len;
        self.next = right.next;
    }

    pub(super) fn live(&self) -> u64 {
        u64::from(self.live.count_ones())
    }

    /// Number of live keys before `position`.
    pub(super) fn live_before(&self, position: usize) -> u64 {
        u64::from((self.live & below(position)).count_ones())
    }
}

fn head_of(key: &[u8], skip: u32) -> u64 {
    let rest = &key[skip as usize..];
    let mut head = [0; 8];
    let len = rest.len().min(8);
    head[..len].copy_from_slice(&rest[..len]);
    u64::from_be_bytes(head)
}

/// The bits below `position`, which may be the word's length.
fn below(position: usize) -> u64 {
    if position == LEAF_KEYS { u64::MAX } else { (1 << position) - 1 }
}
