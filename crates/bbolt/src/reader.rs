//! Reads what may be anything. Every number is checked before it is used, keys must ascend and pages must not be empty, so
//! that a page that leads to itself is found after one round.

use std::io;

use crate::Error;
use crate::element::{BUCKET, BUCKET_BYTES, branch, leaf};
use crate::meta::{META_BYTES, Meta};
use crate::page::{BRANCH, HEAD_BYTES, Head, LEAF, u64_at};

/// Levels of a tree; one with more is damaged. A tree of two children a page would hold 2^40 pages.
const LEVELS_MAX: usize = 40;

/// Page sizes that are looked for when the first meta page is damaged, as bbolt does: 1 KiB to 64 KiB.
const PAGE_SHIFTS: std::ops::RangeInclusive<u32> = 10..=16;

/// Where bytes come from.
pub trait Source {
    /// Number of bytes.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// If that cannot be read, or goes beyond the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let from = from.and_then(|rest| rest.get(..into.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(from);
        Ok(())
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A file.
pub struct Reader<'a, S: ?Sized> {
    source: &'a S,
    meta: Meta,
}

impl<'a, S: Source + ?Sized> Reader<'a, S> {
    /// Finds the newest sound meta page.
    ///
    /// # Errors
    /// If there is none, or the file is too short for it.
    pub fn open(source: &'a S) -> Result<Self, Error> {
        let meta_at = |offset: u64| {
            let mut bytes = [0; META_BYTES];
            source.read_at(offset, &mut bytes).ok()?;
            Meta::decode(&bytes).filter(|meta| is_page_size(meta.page_bytes))
        };
        let first = meta_at(0);
        let second = match first {
            Some(meta) => meta_at(u64::from(meta.page_bytes)),
            None => PAGE_SHIFTS.map(|shift| 1_u64 << shift).find_map(meta_at),
        };
        let metas = [first, second].into_iter().flatten();
        let meta = metas.max_by_key(|meta| meta.transaction).ok_or(Error::NoMeta)?;
        let wanted = meta.end.checked_mul(u64::from(meta.page_bytes)).ok_or(Error::NoMeta)?;
        if source.len() < wanted {
            return Err(Error::Short { found: source.len(), wanted });
        }
        Ok(Self { source, meta })
    }

    /// Bytes that belong to the file, as its meta page says.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.meta.end * u64::from(self.meta.page_bytes)
    }

    /// The names of the buckets, ascending.
    ///
    /// # Errors
    /// If a page is damaged.
    pub fn buckets(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut names = Vec::new();
        let mut cursor = self.cursor_at(self.meta.root)?;
        while let Some(found) = cursor.step()? {
            if found.is_bucket {
                names.push(found.key);
            }
        }
        Ok(names)
    }

    /// Goes through the keys of a bucket; none if there is no such bucket.
    ///
    /// # Errors
    /// If a page is damaged.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Cursor<'_, 'a, S>>, Error> {
        let mut cursor = self.cursor_at(self.meta.root)?;
        while let Some(found) = cursor.step()? {
            if found.is_bucket && found.key == name {
                return self.open_bucket(&found.value).map(Some);
            }
        }
        Ok(None)
    }

    fn open_bucket(&self, value: &[u8]) -> Result<Cursor<'_, 'a, S>, Error> {
        match u64_at(value, 0).filter(|_| value.len() >= BUCKET_BYTES) {
            None => Err(damaged(0, "a bucket has no root")),
            Some(0) => {
                let page = Page::inline(value[BUCKET_BYTES..].to_vec())?;
                Ok(Cursor { reader: self, stack: vec![page], last_key: None })
            }
            Some(root) => self.cursor_at(root),
        }
    }

    fn cursor_at(&self, root: u64) -> Result<Cursor<'_, 'a, S>, Error> {
        Ok(Cursor { reader: self, stack: vec![self.page(root, true)?], last_key: None })
    }

    /// Reads a page whole. Only a root may be empty.
    fn page(&self, id: u64, is_root: bool) -> Result<Page, Error> {
        let page_bytes = u64::from(self.meta.page_bytes);
        if id >= self.meta.end {
            return Err(damaged(id, "it lies beyond the end"));
        }
        let mut head = [0; HEAD_BYTES];
        self.source.read_at(id * page_bytes, &mut head)?;
        let head = Head::decode(&head).ok_or_else(|| damaged(id, "it has no head"))?;
        let pages = u64::from(head.overflow) + 1;
        if head.id != id || pages > self.meta.end - id {
            return Err(damaged(id, "its head is another page's"));
        }
        let len = usize::try_from(pages * page_bytes).map_err(|_| damaged(id, "it is too large"))?;
        let mut bytes = vec![0; len];
        self.source.read_at(id * page_bytes, &mut bytes)?;
        Page::new(id, head, bytes, is_root)
    }
}

fn is_page_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && PAGE_SHIFTS.contains(&bytes.ilog2())
}

fn damaged(page: u64, what: &'static str) -> Error {
    Error::Page { page, what }
}

/// A page that is being gone through.
struct Page {
    id: u64,
    is_leaf: bool,
    count: usize,
    /// The next element.
    next: usize,
    bytes: Vec<u8>,
}

impl Page {
    fn new(id: u64, head: Head, bytes: Vec<u8>, is_root: bool) -> Result<Self, Error> {
        let is_leaf = match head.flags {
            LEAF => true,
            BRANCH => false,
            _ => return Err(damaged(id, "it is no page of a tree")),
        };
        if head.count == 0 && !(is_root && is_leaf) {
            return Err(damaged(id, "it is empty"));
        }
        Ok(Self { id, is_leaf, count: usize::from(head.count), next: 0, bytes })
    }

    /// The page of a bucket that lies within its value.
    fn inline(bytes: Vec<u8>) -> Result<Self, Error> {
        let head = Head::decode(&bytes).ok_or_else(|| damaged(0, "a bucket has no page"))?;
        if head.flags != LEAF {
            return Err(damaged(0, "a bucket has no leaf"));
        }
        Self::new(0, head, bytes, true)
    }
}

/// Goes through a tree in order.
pub struct Cursor<'r, 'a, S: ?Sized> {
    reader: &'r Reader<'a, S>,
    /// From the root to the page under way.
    stack: Vec<Page>,
    last_key: Option<Vec<u8>>,
}

struct Found {
    is_bucket: bool,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<S: Source + ?Sized> Cursor<'_, '_, S> {
    /// The next key and its value.
    ///
    /// # Errors
    /// If a page is damaged. Nothing can be read behind that.
    pub fn next_pair(&mut self) -> Result<Option<Pair>, Error> {
        while let Some(found) = self.step()? {
            // etcd has no buckets in buckets.
            if !found.is_bucket {
                return Ok(Some((found.key, found.value)));
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<Option<Found>, Error> {
        while let Some(page) = self.stack.last_mut() {
            if page.next == page.count {
                self.stack.pop();
                continue;
            }
            let (id, at) = (page.id, page.next);
            page.next += 1;
            if !page.is_leaf {
                let child = branch(&page.bytes, at).ok_or_else(|| damaged(id, "an element is cut off"))?;
                if self.stack.len() >= LEVELS_MAX {
                    return Err(damaged(id, "its tree is too high"));
                }
                let child = self.reader.page(child, false)?;
                self.stack.push(child);
                continue;
            }
            let element = leaf(&page.bytes, at).ok_or_else(|| damaged(id, "an element is cut off"))?;
            if self.last_key.as_deref().is_some_and(|last| last >= element.key) {
                return Err(damaged(id, "its keys do not ascend"));
            }
            let key = element.key.to_vec();
            let found = Found { is_bucket: element.flags & BUCKET != 0, key, value: element.value.to_vec() };
            self.last_key = Some(found.key.clone());
            return Ok(Some(found));
        }
        Ok(None)
    }
}
