//! A whole file from sorted input.

use crate::element::{BUCKET, BUCKET_BYTES};
use crate::meta::Meta;
use crate::page::{FREELIST, Head as PageHead};
use crate::tree::Tree;

/// Bytes of a page: bbolt takes the size of the machine's, and reads any.
pub const PAGE_BYTES: usize = 4096;

/// Pages before the first of a tree: two meta pages and the list of unused pages.
const FIRST_PAGES: usize = 3;

/// The page of the list of unused pages.
const FREELIST_PAGE: u64 = 2;

/// Hands out page numbers.
#[derive(Debug)]
pub struct Pages(u64);

impl Pages {
    /// The first of `count` pages that follow each other.
    pub fn take(&mut self, count: usize) -> u64 {
        let id = self.0;
        self.0 += count as u64;
        id
    }
}

/// Writes a file. What it appends to `out` belongs behind the first [`Head::BYTES`] of the file, which are known at the
/// end.
#[derive(Debug)]
pub struct Writer {
    pages: Pages,
    root: Tree,
    bucket: Option<(Vec<u8>, Tree)>,
}

/// The beginning of a finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head(Vec<u8>);

impl Head {
    /// Its size.
    pub const BYTES: usize = FIRST_PAGES * PAGE_BYTES;

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A file without buckets.
    #[must_use]
    pub fn new() -> Self {
        Self { pages: Pages(FIRST_PAGES as u64), root: Tree::default(), bucket: None }
    }

    /// Begins a bucket; its name must be above those before.
    ///
    /// # Panics
    /// If a bucket is open.
    pub fn begin_bucket(&mut self, name: &[u8]) {
        assert!(self.bucket.is_none(), "one bucket at a time");
        self.bucket = Some((name.to_vec(), Tree::default()));
    }

    /// Puts a key into the open bucket; it must be above those before.
    ///
    /// # Panics
    /// If no bucket is open, or the order is wrong.
    pub fn put(&mut self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let (_, tree) = self.bucket.as_mut().expect("a bucket is open");
        tree.put(0, key, value, &mut self.pages, out);
    }

    /// Ends the open bucket.
    ///
    /// # Panics
    /// If no bucket is open.
    pub fn end_bucket(&mut self, out: &mut Vec<u8>) {
        let (name, tree) = self.bucket.take().expect("a bucket is open");
        let mut value = [0; BUCKET_BYTES];
        value[..8].copy_from_slice(&tree.finish(&mut self.pages, out).to_le_bytes());
        self.root.put(BUCKET, &name, &value, &mut self.pages, out);
    }

    /// Ends the file; what belongs to its beginning.
    ///
    /// # Panics
    /// If a bucket is open.
    #[must_use]
    pub fn finish(mut self, out: &mut Vec<u8>) -> Head {
        assert!(self.bucket.is_none(), "every bucket is ended");
        let root = self.root.finish(&mut self.pages, out);
        let page_bytes = u32::try_from(PAGE_BYTES).expect("a small number");
        let meta =
            |transaction| Meta { page_bytes, root, freelist: FREELIST_PAGE, end: self.pages.0, transaction };
        let mut head = Vec::with_capacity(Head::BYTES);
        for id in [0, 1] {
            head.extend_from_slice(&meta(id).encode(id));
            head.resize((id as usize + 1) * PAGE_BYTES, 0);
        }
        let unused = PageHead { id: FREELIST_PAGE, flags: FREELIST, count: 0, overflow: 0 };
        head.extend_from_slice(&unused.encode());
        head.resize(Head::BYTES, 0);
        Head(head)
    }
}
