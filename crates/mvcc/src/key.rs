//! An owned key that needs no allocation of its own while it is short.
//!
//! Most of a lookup is comparing keys; a short key lies in the same cache line as its slot.

/// Longest key in bytes that is kept inline; with tag and length it fills the size of the other form.
const INLINE_BYTES: usize = 22;

/// An owned key.
#[derive(Clone)]
pub(crate) enum Key {
    /// The first `len` bytes.
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    /// A longer key.
    Heap(Box<[u8]>),
}

const _: () = assert!(size_of::<Key>() == 24);

impl Key {
    /// Copies `key`.
    pub(crate) fn new(key: &[u8]) -> Self {
        if key.len() > INLINE_BYTES {
            return Self::Heap(key.into());
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        Self::Inline { len: key.len() as u8, bytes }
    }

    /// The key.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_comes_back() {
        for len in 0..100 {
            let key: Vec<u8> = (0..len).collect();
            assert_eq!(Key::new(&key).as_slice(), key);
        }
    }
}
