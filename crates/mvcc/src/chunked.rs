//! A queue in chunks: what is in it is never moved because more comes.
//!
//! A `VecDeque` that doubles copies everything it holds, which for the history of a key that is written all the time,
//! or for the log of all changes, is a pause and twice the memory. Small queues are one plain `VecDeque`.

use std::cmp::Ordering;
use std::collections::VecDeque;

/// Items in one chunk: large enough that chunks cost nothing, small enough that making one is not seen.
const CHUNK: usize = 512;

/// Items in order, from the oldest.
///
/// Invariant: every chunk of `sealed` but the first holds exactly [`CHUNK`] items, the first at least one and at most
/// as many; `tail` holds at most as many, and is empty only if `sealed` is.
pub(crate) struct Chunked<T> {
    sealed: VecDeque<VecDeque<T>>,
    tail: VecDeque<T>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { sealed: VecDeque::new(), tail: VecDeque::new() }
    }
}

impl<T> Chunked<T> {
    /// Room for `count` items, at most a chunk of them, is allocated at once.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { sealed: VecDeque::new(), tail: VecDeque::with_capacity(count.min(CHUNK)) }
    }

    pub(crate) fn len(&self) -> usize {
        match self.sealed.front() {
            Some(first) => first.len() + (self.sealed.len() - 1) * CHUNK + self.tail.len(),
            None => self.tail.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let (chunk, within) = self.place(at);
        self.sealed.get(chunk).unwrap_or(&self.tail).get(within)
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.tail.back()
    }

    pub(crate) fn push_back(&mut self, item: T) {
        if self.tail.len() == CHUNK {
            let full = std::mem::replace(&mut self.tail, VecDeque::with_capacity(CHUNK));
            self.sealed.push_back(full);
        }
        self.tail.push_back(item);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let Some(first) = self.sealed.front_mut() else { return self.tail.pop_front() };
        let popped = first.pop_front();
        if first.is_empty() {
            self.sealed.pop_front();
        }
        popped
    }

    /// Inserts before what is at `at`, which is at most the length. Moves one item of each later chunk.
    pub(crate) fn insert(&mut self, at: usize, item: T) {
        let (mut chunk, within) = self.place(at);
        let (mut item, mut within) = (Some(item), within);
        while let Some(moved) = item.take() {
            let sealed = self.sealed.get_mut(chunk);
            let is_tail = sealed.is_none();
            let into = sealed.unwrap_or(&mut self.tail);
            into.insert(within, moved);
            if into.len() > CHUNK {
                item = into.pop_back();
            }
            if is_tail {
                item.take().into_iter().for_each(|last| self.push_back(last));
            }
            (chunk, within) = (chunk + 1, 0);
        }
    }

    /// Items from `start` on, which is at most the length.
    pub(crate) fn range_from(
        &self,
        start: usize,
    ) -> impl ExactSizeIterator<Item = &T> + DoubleEndedIterator + '_ {
        (start..self.len()).map(|at| self.get(at).expect("within the length"))
    }

    /// Number of leading items for which `holds`; it holds for none behind the first for which it does not.
    pub(crate) fn partition_point(&self, mut holds: impl FnMut(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self.get(middle).expect("within the length")) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where the item with this key is, or would be. The items are in order of their keys.
    pub(crate) fn search_by_key<K: Ord>(&self, key: &K, of: impl Fn(&T) -> K) -> Result<usize, usize> {
        let at = self.partition_point(|item| of(item) < *key);
        match self.get(at) {
            Some(item) if of(item) == *key => Ok(at),
            _ => Err(at),
        }
    }

    /// Puts everything in order.
    pub(crate) fn sort_by(&mut self, compare: impl FnMut(&T, &T) -> Ordering) {
        let Self { sealed, tail } = std::mem::take(self);
        let mut all: Vec<T> = sealed.into_iter().flatten().chain(tail).collect();
        all.sort_by(compare);
        all.into_iter().for_each(|item| self.push_back(item));
    }

    /// The chunk that holds position `at`, and where it is within; the tail is the one behind the sealed ones.
    fn place(&self, at: usize) -> (usize, usize) {
        let Some(first) = self.sealed.front().map(VecDeque::len) else { return (0, at) };
        if at < first {
            return (0, at);
        }
        let behind = at - first;
        let chunk = (1 + behind / CHUNK).min(self.sealed.len());
        (chunk, behind - (chunk - 1) * CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_queue(ops: Vec<(u8, u16, u16)>) {
            let (mut queue, mut model) = (Chunked::default(), VecDeque::new());
            for (op, a, b) in ops {
                match op % 4 {
                    // Runs, so that many chunks come and go.
                    0 | 1 => (0..a % 1500).for_each(|i| {
                        queue.push_back(u32::from(i));
                        model.push_back(u32::from(i));
                    }),
                    2 => (0..a % 1200).for_each(|_| assert_eq!(queue.pop_front(), model.pop_front())),
                    _ => {
                        let at = usize::from(a) % (model.len() + 1);
                        queue.insert(at, u32::from(b));
                        model.insert(at, u32::from(b));
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert_eq!(queue.back(), model.back());
                let start = usize::from(b) % (model.len() + 1);
                prop_assert!(queue.range_from(start).eq(model.range(start..)));
                prop_assert!(queue.range_from(start).rev().eq(model.range(start..).rev()));
                prop_assert_eq!(queue.get(model.len()), None);
            }
            queue.sort_by(Ord::cmp);
            model.make_contiguous().sort();
            prop_assert!(queue.range_from(0).eq(&model));
            let key = 700_u32;
            prop_assert_eq!(queue.partition_point(|&x| x < key), model.partition_point(|&x| x < key));
            let found = queue.search_by_key(&key, |&x| x);
            prop_assert_eq!(found.is_ok(), model.binary_search(&key).is_ok());
        }
    }
}
