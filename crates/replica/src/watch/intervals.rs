//! Ranges of keys, and which of them a key lies in: a treap by start in which each node knows the furthest end below it.
//!
//! Finding the `n` ranges that hold a key costs `O(n log m)` among `m`, and changing them `O(log m)`.

use windlass_types::splitmix::mix;

/// A range and what it stands for.
#[derive(Debug)]
struct Node {
    start: Box<[u8]>,
    /// `None` is open.
    end: Option<Box<[u8]>>,
    value: u32,
    priority: u64,
    left: Link,
    right: Link,
    /// The node of this subtree whose end is furthest.
    furthest: u32,
}

type Link = Option<u32>;

/// Different ranges with a value each.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: Link,
    made: u64,
}

impl Intervals {
    /// The value of exactly this range.
    pub fn get(&self, start: &[u8], end: Option<&[u8]>) -> Option<u32> {
        let mut at = self.root;
        while let Some(id) = at {
            let node = self.node(id);
            at = match order(start, end).cmp(&node.order()) {
                std::cmp::Ordering::Equal => return Some(node.value),
                std::cmp::Ordering::Less => node.left,
                std::cmp::Ordering::Greater => node.right,
            };
        }
        None
    }

    /// Adds a range that is not there.
    pub fn insert(&mut self, start: &[u8], end: Option<&[u8]>, value: u32) {
        self.made += 1;
        let node = Node {
            start: start.into(),
            end: end.map(Into::into),
            value,
            // No order of insertion makes the tree lopsided.
            priority: mix(self.made),
            left: None,
            right: None,
            furthest: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("watchers are bounded")
            }
        };
        self.nodes[id as usize].furthest = id;
        self.root = Some(self.insert_below(self.root, id));
    }

    /// Removes a range that is there.
    pub fn remove(&mut self, start: &[u8], end: Option<&[u8]>) {
        self.root = self.remove_below(self.root, start, end);
    }

    /// Calls `found` with the value of each range that holds `key`.
    pub fn holding(&self, key: &[u8], found: &mut impl FnMut(u32)) {
        self.holding_below(self.root, key, found);
    }

    fn holding_below(&self, at: Link, key: &[u8], found: &mut impl FnMut(u32)) {
        let Some(node) = at.map(|id| self.node(id)) else { return };
        if !self.node(node.furthest).ends_after(key) {
            return;
        }
        self.holding_below(node.left, key, found);
        if *node.start > *key {
            return;
        }
        if node.ends_after(key) {
            found(node.value);
        }
        self.holding_below(node.right, key, found);
    }

    fn insert_below(&mut self, at: Link, new: u32) -> u32 {
        let Some(top) = at else { return new };
        let goes_left = self.node(new).order() < self.node(top).order();
        let child = if goes_left { self.node(top).left } else { self.node(top).right };
        let child = self.insert_below(child, new);
        let lifted = self.node(child).priority > self.node(top).priority;
        // A child of higher priority becomes the top of both; the middle subtree changes sides.
        let below = match (goes_left, lifted) {
            (true, false) => return self.link(top, Some(child), self.node(top).right),
            (false, false) => return self.link(top, self.node(top).left, Some(child)),
            (true, true) => self.link(top, self.node(child).right, self.node(top).right),
            (false, true) => self.link(top, self.node(top).left, self.node(child).left),
        };
        if goes_left {
            self.link(child, self.node(child).left, Some(below))
        } else {
            self.link(child, Some(below), self.node(child).right)
        }
    }

    fn remove_below(&mut self, at: Link, start: &[u8], end: Option<&[u8]>) -> Link {
        let top = at.expect("the range is there");
        let (left, right) = (self.node(top).left, self.node(top).right);
        match order(start, end).cmp(&self.node(top).order()) {
            std::cmp::Ordering::Less => {
                let left = self.remove_below(left, start, end);
                Some(self.link(top, left, right))
            }
            std::cmp::Ordering::Greater => {
                let right = self.remove_below(right, start, end);
                Some(self.link(top, left, right))
            }
            std::cmp::Ordering::Equal => {
                self.free.push(top);
                self.join(left, right)
            }
        }
    }

    /// One tree of two, all of the first before all of the second.
    fn join(&mut self, a: Link, b: Link) -> Link {
        let (Some(left), Some(right)) = (a, b) else { return a.or(b) };
        if self.node(left).priority > self.node(right).priority {
            let below = self.join(self.node(left).right, b);
            Some(self.link(left, self.node(left).left, below))
        } else {
            let below = self.join(a, self.node(right).left);
            Some(self.link(right, below, self.node(right).right))
        }
    }

    fn link(&mut self, top: u32, left: Link, right: Link) -> u32 {
        let mut furthest = top;
        for child in [left, right].into_iter().flatten() {
            let other = self.node(child).furthest;
            if self.node(other).end_order() > self.node(furthest).end_order() {
                furthest = other;
            }
        }
        let node = &mut self.nodes[top as usize];
        (node.left, node.right, node.furthest) = (left, right, furthest);
        top
    }

    fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }
}

impl Node {
    fn order(&self) -> (&[u8], bool, &[u8]) {
        order(&self.start, self.end.as_deref())
    }

    fn end_order(&self) -> (bool, &[u8]) {
        (self.end.is_none(), self.end.as_deref().unwrap_or_default())
    }

    fn ends_after(&self, key: &[u8]) -> bool {
        self.end.as_deref().is_none_or(|end| key < end)
    }
}

fn order<'a>(start: &'a [u8], end: Option<&'a [u8]>) -> (&'a [u8], bool, &'a [u8]) {
    (start, end.is_none(), end.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_list_finds(ops: Vec<(bool, u8, Option<u8>, u8)>) {
            let (mut tree, mut list) = (Intervals::default(), BTreeMap::new());
            for (n, (add, start, end, key)) in (0..).zip(ops) {
                let end = end.map(|e| [e]);
                let range = ([start], end);
                let as_slices = (&range.0[..], range.1.as_ref().map(|e| &e[..]));
                prop_assert_eq!(tree.get(as_slices.0, as_slices.1), list.get(&range).copied());
                if add && !list.contains_key(&range) {
                    tree.insert(as_slices.0, as_slices.1, n);
                    list.insert(range, n);
                } else if list.remove(&range).is_some() {
                    tree.remove(as_slices.0, as_slices.1);
                }
                let mut got = Vec::new();
                tree.holding(&[key], &mut |value| got.push(value));
                got.sort_unstable();
                let holds = |r: &([u8; 1], Option<[u8; 1]>)| r.0[0] <= key && r.1.is_none_or(|e| key < e[0]);
                let mut want: Vec<_> = list.iter().filter(|(r, _)| holds(r)).map(|(_, &v)| v).collect();
                want.sort_unstable();
                prop_assert_eq!(got, want);
            }
        }
    }

    #[test]
    fn ascending_ranges_do_not_make_it_deep() {
        let mut tree = Intervals::default();
        for n in 0..10_000_u32 {
            tree.insert(&n.to_be_bytes(), Some(&(n + 1).to_be_bytes()), n);
        }
        fn depth(tree: &Intervals, at: Link) -> usize {
            at.map_or(0, |id| 1 + depth(tree, tree.node(id).left).max(depth(tree, tree.node(id).right)))
        }
        assert!(depth(&tree, tree.root) < 60);
        let mut found = Vec::new();
        tree.holding(&77_u32.to_be_bytes(), &mut |value| found.push(value));
        assert_eq!(found, [77]);
    }
}
