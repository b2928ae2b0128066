//! A header block as one flat run of bytes: for each field the two lengths, then name and value.
//!
//! Flat, so that keeping a block costs no allocation when its buffer is used again, and so that two equal blocks can be
//! recognised with one comparison. Blocks come only from [`Block::push`]; nothing here parses a peer's bytes.

/// The fields that were received in one header block, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

/// Bytes of the two lengths before each field.
const LENGTHS_BYTES: usize = 8;

impl<'a> Headers<'a> {
    /// The value of the first field called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value)
    }

    /// The fields as (name, value), names in lower case as HTTP/2 has them.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (lengths, fields) = rest.split_first_chunk::<LENGTHS_BYTES>()?;
            let lengths = u64::from_le_bytes(*lengths);
            let (name_len, value_len) = ((lengths & u64::from(u32::MAX)) as usize, (lengths >> 32) as usize);
            let (name, fields) = fields.split_at(name_len);
            let (value, fields) = fields.split_at(value_len);
            rest = fields;
            Some((name, value))
        })
    }

    /// The block's own encoding. Equal encodings mean equal fields in equal order; it says nothing else.
    #[must_use]
    pub fn as_key(&self) -> &'a [u8] {
        self.0
    }
}

/// The growing form of [`Headers`].
#[derive(Debug, Default)]
pub(crate) struct Block(Vec<u8>);

impl Block {
    /// Appends a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.reserve(LENGTHS_BYTES + name.len() + value.len());
        self.0.extend_from_slice(&lengths(name, value));
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(value);
    }

    /// Where the field after the one at byte `at` begins, if that one is `name` and `value`.
    pub fn match_at(&self, at: usize, name: &[u8], value: &[u8]) -> Option<usize> {
        let rest = self.0[at..].strip_prefix(&lengths(name, value))?;
        let rest = rest.strip_prefix(name)?.strip_prefix(value)?;
        Some(self.0.len() - rest.len())
    }

    /// Appends the first `len` bytes of another block, which are whole fields.
    pub fn extend_from(&mut self, other: &Self, len: usize) {
        self.0.extend_from_slice(&other.0[..len]);
    }

    /// The fields so far.
    pub fn headers(&self) -> Headers<'_> {
        Headers(&self.0)
    }

    /// Size of the encoding, in bytes: what the bound on a header list is compared with.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Empties the block and keeps its memory unless that exceeds `keep_bytes`.
    pub fn clear(&mut self, keep_bytes: usize) {
        empty(&mut self.0, keep_bytes);
    }
}

/// Empties a buffer and keeps its memory unless that exceeds `keep_bytes`. To shrink it would copy what it held.
pub(crate) fn empty(buffer: &mut Vec<u8>, keep_bytes: usize) {
    buffer.clear();
    if buffer.capacity() > keep_bytes {
        *buffer = Vec::new();
    }
}

fn lengths(name: &[u8], value: &[u8]) -> [u8; LENGTHS_BYTES] {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("nghttp2 bounds a field at 64 KiB");
    (u64::from(len(name)) | u64::from(len(value)) << 32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gives_back_what_was_pushed(fields: Vec<(Vec<u8>, Vec<u8>)>) {
            let mut block = Block::default();
            for (name, value) in &fields {
                block.push(name, value);
            }
            let got: Vec<_> = block.headers().iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(got, fields);
        }
    }

    #[test]
    fn get_finds_the_first_of_a_name() {
        let mut block = Block::default();
        block.push(b"a", b"1");
        block.push(b"b", b"2");
        block.push(b"b", b"3");
        assert_eq!(block.headers().get("b"), Some(&b"2"[..]));
        assert_eq!(block.headers().get("c"), None);
        block.clear(0);
        assert_eq!(block.headers().iter().count(), 0);
    }
}
