//! The keys of a shard with their versions, in slots that never move.
//!
//! A slot's id stands for its key in the tree, the revision log and the lease index, at four bytes. Slots lie in
//! chunks, so that growing never copies them and never needs twice the memory.

use crate::key::Key;
use crate::versions::Chain;

/// Slots of one chunk.
const CHUNK_SLOTS: usize = 1024;

/// Stands for a key while the key has any version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyId(pub(crate) u32);

/// A key and its versions.
pub(crate) struct Slot {
    pub(crate) key: Key,
    pub(crate) chain: Chain,
}

const _: () = assert!(size_of::<Slot>() <= 96);
// A free slot costs no more than a used one: `None` hides in the key's tag.
const _: () = assert!(size_of::<Option<Slot>>() == size_of::<Slot>());

/// All slots of a shard.
#[derive(Default)]
pub(crate) struct Slots {
    chunks: Vec<Vec<Option<Slot>>>,
    free: Vec<KeyId>,
    used: usize,
}

impl Slots {
    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Takes a slot. Panics beyond 2^32 keys, which no memory holds.
    pub(crate) fn insert(&mut self, slot: Slot) -> KeyId {
        self.used += 1;
        if let Some(id) = self.free.pop() {
            *self.place(id) = Some(slot);
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_SLOTS) {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        let chunk = self.chunks.len() - 1;
        let id = chunk * CHUNK_SLOTS + self.chunks[chunk].len();
        self.chunks[chunk].push(Some(slot));
        KeyId(u32::try_from(id).expect("fewer than 2^32 keys"))
    }

    /// Frees a slot. Its id must stand nowhere any more.
    pub(crate) fn remove(&mut self, id: KeyId) -> Slot {
        let slot = self.place(id).take().expect("a used slot");
        self.free.push(id);
        self.used -= 1;
        slot
    }

    /// The slot of `id`.
    pub(crate) fn get(&self, id: KeyId) -> &Slot {
        self.find(id).expect("a used slot")
    }

    /// The slot of `id`, if it is used.
    pub(crate) fn find(&self, id: KeyId) -> Option<&Slot> {
        let at = id.0 as usize;
        self.chunks[at / CHUNK_SLOTS][at % CHUNK_SLOTS].as_ref()
    }

    /// The slot of `id`.
    pub(crate) fn get_mut(&mut self, id: KeyId) -> &mut Slot {
        self.place(id).as_mut().expect("a used slot")
    }

    /// The key of `id`.
    pub(crate) fn key(&self, id: KeyId) -> &[u8] {
        self.get(id).key.as_slice()
    }

    fn place(&mut self, id: KeyId) -> &mut Option<Slot> {
        let at = id.0 as usize;
        &mut self.chunks[at / CHUNK_SLOTS][at % CHUNK_SLOTS]
    }
}
